"""The equilibrium of a layer as a torch module."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from . import _looks
from ._backward_report import ON_FAILURE, NotConvergedWarning
from ._differentiation import Differentiated, differentiate
from ._layer_map import LayerMap, bind_layer
from ._map import Bindable, FixedPointMap, MapCost
from ._module_checks import check_pair, check_type, effective, refuse_hidden_parameters, state_size_of
from ._options import check_count, check_name
from ._reason import SUCCESSES, Reason
from ._root import Root, checked_value
from ._solution import Solution
from ._solve import solve
from ._spread import spread
from ._warm_start import WarmStart
from .adjoints import Adjoint
from .adjoints.implicit import ImplicitAdjoint
from .penalties import JacobianPenalty
from .solvers import Solver
from .solvers.newton import Newton
from .solvers.sampled import SampledSolver

MODES = ("implicit", "direct", "coherent")


class NotConvergedError(RuntimeError):
    """Some samples of a batch have no fixed point within the tolerance, and that was asked to be an error.

    Attributes:
        solution: what was found.
    """

    def __init__(self, message: str, solution: Solution) -> None:
        super().__init__(message)
        self.solution = solution


class Equilibrium(nn.Module):
    """The fixed point w* = q(R w* + x) of a layer, differentiable with respect to x and the layer's parameters.

    Args:
        layer: q, mapping v (B, d) to (B, n): a `Bindable` layer, which knows its own fast map; or any torch module or
            function. Without a lift: f(w, x), mapping w (B, n) and x (B, ...) to (B, n). Row by row, and without
            randomness of its own. The parameters of a torch module receive gradients.
        lift: R, (d, n), for z = R w; see `nearest_lift`. None for a layer f(w, x).
        state_size: n; needed without a lift only.
        solver: how the fixed point is found; for a sampled layer `SampledSolver` knows its noise.
        test_solver: how it is found in evaluation mode (`module.eval()`); None for the same way.
        adjoint: how it is differentiated.
        penalty: the Jacobian penalty in `Solution.penalty`, or None. Most are differentiated through the layer's
            Jacobian, so the layer must be twice differentiable.
        mode: "implicit" solves for the fixed point; "direct" applies the layer `layers` times to w₀ (weight-tied,
            differentiated by autograd); "coherent" applies it once, to w₀: a layer whose circuit is itself as deep as
            wanted, such as that of `QNNCircuit.repeated`.
        layers: of the direct mode.
        warmup_steps: the first so many forward passes in training (with gradients) use the direct mode with
            `warmup_layers` layers; evaluation is implicit always. The count is `warmup_count`, in the state dict.
        warmup_layers: layers during the warm-up.
        on_failure: what happens if a sample does not converge: "warn" (NotConvergedWarning), "raise"
            (NotConvergedError), or "record" (in the solution only).
        trace: whether `Solution.trace` is wanted.
        warm_start: the fixed points of earlier passes, from which samples are started that `forward` is told the
            numbers of, and which it brings up to date; None to start at w₀ always, so that a solution depends on
            nothing but the arguments.
        cost: circuits of one sample's evaluation, for a layer that runs circuits and is no `Bindable`.

    Raises:
        ValueError: an option out of range, shapes that do not fit, or a solver that cannot work on the layer.
        NotConvergedError: see `on_failure`.
    """

    lift: Tensor | None

    def __init__(
        self,
        layer: Callable[..., Tensor] | Bindable,
        *,
        lift: Tensor | None = None,
        state_size: int | None = None,
        solver: Solver | None = None,
        test_solver: Solver | None = None,
        adjoint: Adjoint | None = None,
        penalty: JacobianPenalty | None = None,
        mode: Literal["implicit", "direct", "coherent"] = "implicit",
        layers: int = 1,
        warmup_steps: int = 0,
        warmup_layers: int = 5,
        on_failure: Literal["warn", "raise", "record"] = "warn",
        trace: bool = False,
        warm_start: WarmStart | None = None,
        cost: MapCost | None = None,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("lift", lift, persistent=False)
        self.state_size = state_size_of(layer, lift, state_size)
        self.solver = Newton() if solver is None else solver
        self.test_solver = test_solver
        self.adjoint = ImplicitAdjoint() if adjoint is None else adjoint
        self.penalty = penalty
        self.mode = mode
        self.layers = layers
        self.warmup_steps = warmup_steps
        self.warmup_layers = warmup_layers
        self.warmup_count = 0
        self.on_failure = on_failure
        self.trace = trace
        self.warm_start = warm_start
        self.cost = cost or MapCost()
        self._hidden_parameters_checked = isinstance(layer, nn.Module | Bindable)
        solvers = [self.solver] if test_solver is None else [self.solver, test_solver]
        for each in solvers:
            check_type("solver" if each is self.solver else "test_solver", each, Solver)
        check_type("adjoint", self.adjoint, Adjoint)
        if penalty is not None:
            check_type("penalty", penalty, JacobianPenalty)
            penalty.check(lift)
        if mode == "implicit":
            for each in solvers:
                check_pair(each, self.adjoint)
        check_name("mode", mode, MODES)
        check_name("on_failure", on_failure, ON_FAILURE)
        check_count("layers", layers, least=1)
        if mode == "coherent" and layers != 1:
            raise ValueError(
                f"mode 'coherent' applies its layer once, but layers={layers}: deepen the layer's circuit."
            )
        if mode == "implicit" and isinstance(layer, Bindable):
            for each in solvers:
                layer.check_solver(each, self.state_size)
        check_count("warmup_steps", warmup_steps, least=0)
        check_count("warmup_layers", warmup_layers, least=1)

    @property
    def current_solver(self) -> Solver:
        """The solver of the mode that the module is in: training or evaluation."""
        return self.solver if self.training or self.test_solver is None else self.test_solver

    def forward(self, x: Tensor, w0: Tensor | None = None, *, index: Tensor | None = None) -> Solution:
        """The equilibria of a batch.

        Args:
            x: features, (B, d); without a lift (B, ...).
            w0: where to start, (B, n); zeros if None.
            index: the samples' numbers, (B,), in `warm_start`, whose known fixed points come before w₀.

        Returns:
            The solution. Samples whose features are not finite are not evaluated, contribute to no gradient, and
            have w₀ as their value and NOT_FINITE as their reason.
        """
        if torch.is_inference_mode_enabled():
            # A Jacobian by autograd needs tensors that can be recorded.
            with torch.inference_mode(False), torch.no_grad():
                return self.forward(x.clone(), None if w0 is None else w0.clone(), index=index)
        self._check_batch(x, w0)
        start = x.new_zeros(x.shape[0], self.state_size) if w0 is None else w0.detach().to(x)
        index = self._checked_index(index, len(x))
        if index is not None and self.warm_start is not None:
            start = self.warm_start.start(index, start)
        layers = self._layers_of_this_pass()
        found = self._equilibrium(x, start, layers) if self._tells_late(x, layers) or _is_finite(x) else None
        if found is None:
            rows = x.detach().flatten(1).isfinite().all(dim=1).nonzero().squeeze(1)
            found = self._equilibrium(x.index_select(0, rows), start.index_select(0, rows), layers)
            assert found is not None
            solution = found.solution
            if solution.backward is not None:
                solution.backward.of_rows(rows, len(x))
            solution, failed = spread(solution, rows, start, self.lift), True
        else:
            solution, failed = found.solution, found.failed
        if index is not None and self.warm_start is not None and solution.mode == "implicit":
            self.warm_start.keep(index, solution.value, solution.converged)
        if failed and solution.mode == "implicit" and self.on_failure != "record":
            self._report(solution)
        return solution

    def map(self, x: Tensor) -> FixedPointMap:
        """The map w ↦ f(w) of a batch, (B, d), as the solver and the adjoint see it."""
        if self.lift is None:
            assert not isinstance(self.layer, Bindable)
            return LayerMap(self.layer, x, None, cost=self.cost)
        return bind_layer(self.layer, x, self.lift, cost=self.cost)

    def get_extra_state(self) -> Tensor:
        """How many warm-up passes were made; a tensor, so that a state dict holds nothing else."""
        return torch.tensor(self.warmup_count)

    def set_extra_state(self, state: Any) -> None:
        """Puts the count of warm-up passes back."""
        self.warmup_count = int(state)

    def extra_repr(self) -> str:
        """Options, for `print(module)`."""
        warmup = f", warmup_steps={self.warmup_steps}" if self.warmup_steps else ""
        testing = "" if self.test_solver is None else f", test_solver={self.test_solver}"
        options = f"mode={self.mode!r}, solver={self.solver}{testing}, adjoint={self.adjoint}, penalty={self.penalty}"
        return f"{options}{warmup}"

    def _checked_index(self, index: Tensor | None, batch: int) -> Tensor | None:
        if self.warm_start is not None:
            return self.warm_start.check(index, batch, self.state_size)
        if index is not None:
            raise ValueError("index is for an equilibrium with a warm start: give one, or leave the index out.")
        return None

    def _layers_of_this_pass(self) -> int | None:
        """How often to apply the layer, or None to solve for the fixed point; counts the warm-up."""
        if self.mode != "implicit":
            return self.layers
        if not (self.training and torch.is_grad_enabled()) or self.warmup_count >= self.warmup_steps:
            return None
        self.warmup_count += 1
        return self.warmup_layers

    def _tells_late(self, x: Tensor, layers: int | None) -> bool:
        """Whether features that are not finite are found out by the solve, for which the host waits anyhow.

        Only closed forms may be given such features: others may refuse them, or have them paid for.
        """
        return layers is None and _looks.on_accelerator(x) and isinstance(self.layer, Bindable)

    def _equilibrium(self, x: Tensor, start: Tensor, layers: int | None) -> _Found | None:
        """The solution, or None if features turn out not to be finite."""
        fixed_point_map = self.map(x)
        if not self._hidden_parameters_checked and torch.is_grad_enabled() and len(x):
            refuse_hidden_parameters(fixed_point_map, start)
            self._hidden_parameters_checked = True
        if layers is not None:
            return _Found(self._direct(fixed_point_map, start, layers), failed=False)
        return self._implicit(fixed_point_map, x, start)

    def _direct(self, fixed_point_map: FixedPointMap, start: Tensor, layers: int) -> Solution:
        w = start
        for _ in range(layers):
            w = checked_value(fixed_point_map.value(w), start)
        count = torch.full((len(start),), layers, dtype=torch.int64, device=start.device)
        unknown = start.new_full((len(start),), torch.nan)
        return Solution(
            value=w,
            state=self._lifted(w),
            residual=unknown,
            relative_residual=unknown,
            iterations=count,
            evaluations=count,
            jacobian_evaluations=torch.zeros_like(count),
            converged=torch.zeros_like(count, dtype=torch.bool),
            reason=torch.full_like(count, int(Reason.NOT_SOUGHT)),
            trace=None,
            jacobian=None,
            penalty=None,
            cost=fixed_point_map.cost,
            solver="none",
            adjoint="autograd" if w.requires_grad else "none",
            mode="coherent" if self.mode == "coherent" else "direct",
        )

    def _implicit(self, fixed_point_map: FixedPointMap, x: Tensor, start: Tensor) -> _Found | None:
        differentiable = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in fixed_point_map.inputs)
        penalty = effective(self.penalty, fixed_point_map) if differentiable else None
        # A penalty may need a Jacobian that autograd has recorded, for which the solver's last one may serve.
        records = penalty is not None and penalty.uses_jacobian
        keep_jacobian = not records or self._keeps_jacobian_for_penalty(fixed_point_map)
        root = self._solve(fixed_point_map, start, differentiable=differentiable, keep_jacobian=keep_jacobian)
        if root.unconverged and self._tells_late(x, None) and not _is_finite(x):
            return None
        found = Differentiated(root.w, root.jacobian)
        if differentiable:
            found = differentiate(
                fixed_point_map,
                root,
                self.adjoint,
                penalty,
                self.lift,
                use_jacobian=keep_jacobian,
                on_failure=self.on_failure,
            )
        evaluations, jacobian_evaluations, shots = self._spent(root, found, fixed_point_map.cost)
        solution = Solution(
            value=found.value,
            state=self._lifted(found.value),
            residual=root.residual.detach(),
            relative_residual=root.relative_residual.detach(),
            iterations=root.iterations,
            evaluations=evaluations,
            jacobian_evaluations=jacobian_evaluations,
            converged=root.converged,
            reason=root.reason,
            trace=root.trace,
            jacobian=found.jacobian,
            penalty=found.penalty,
            cost=fixed_point_map.cost,
            solver=self.current_solver.kind,
            adjoint=self.adjoint.kind if differentiable else "none",
            mode="implicit",
            covariance=root.covariance,
            sample_shots=shots,
            floored=_either(root.floored, found.floored),
            backward=found.report,
        )
        return _Found(solution, failed=root.unconverged > 0)

    def _spent(self, root: Root, found: Differentiated, cost: MapCost) -> tuple[Tensor, Tensor, Tensor | None]:
        """Evaluations of f and ∂f/∂w and, if the solver counts them, shots; (B,) each, the gradient's included."""
        evaluations, jacobians, shots = root.evaluations, root.jacobian_evaluations, root.shots
        if isinstance(found.evaluations, Tensor) or found.evaluations:  # to add nothing takes an operator
            evaluations = evaluations + found.evaluations
        if isinstance(found.jacobian_evaluations, Tensor) or found.jacobian_evaluations:
            jacobians = jacobians + found.jacobian_evaluations
        if shots is not None:
            shots = shots + found.evaluations * cost.circuits_per_value * cost.shots_per_circuit
            shots = shots + found.jacobian_evaluations * cost.jacobian_shots
        return evaluations, jacobians, shots

    def _keeps_jacobian_for_penalty(self, fixed_point_map: FixedPointMap) -> bool:
        # The statistical solver may have no Jacobian of some samples.
        return fixed_point_map.records_known_jacobian and not isinstance(self.current_solver, SampledSolver)

    def _solve(
        self, fixed_point_map: FixedPointMap, start: Tensor, *, differentiable: bool, keep_jacobian: bool
    ) -> Root:
        if differentiable and self.adjoint.records_solver:
            return solve(fixed_point_map, start, self.current_solver, trace=self.trace)
        with torch.no_grad():
            frozen = fixed_point_map.frozen()
            return solve(
                frozen,
                start,
                self.current_solver,
                keep_jacobian=keep_jacobian,
                keep_inverse=differentiable and self.adjoint.uses_inverse,
                trace=self.trace,
            )

    def _lifted(self, w: Tensor) -> Tensor:
        return w if self.lift is None else w @ self.lift.mT

    def _check_batch(self, x: Tensor, w0: Tensor | None) -> None:
        if not isinstance(x, Tensor):
            raise ValueError(
                f"x must be a torch tensor, as torch.as_tensor(x) gives; it is of type {type(x).__name__}."
            )
        if not x.dtype.is_floating_point:
            raise ValueError(f"x must be of a real floating-point type; it is {x.dtype}.")
        if self.lift is not None and (x.ndim != 2 or x.shape[1] != self.lift.shape[0]):
            raise ValueError(f"x must be of shape (B, {self.lift.shape[0]}), as R has it; it is {tuple(x.shape)}.")
        if self.lift is not None and self.lift.dtype != x.dtype:
            raise ValueError(
                f"x is {x.dtype}, but the lift is {self.lift.dtype}: convert one of them, as with equilibrium.double()."
            )
        if w0 is not None and w0.shape != (x.shape[0], self.state_size):
            raise ValueError(f"w0 must be of shape ({x.shape[0]}, {self.state_size}); it is {tuple(w0.shape)}.")

    def _report(self, solution: Solution) -> None:
        failed = int((~solution.converged).sum())
        if not failed:
            return
        why = " ".join(
            f"{count}: {reason}" for reason, count in solution.reason_counts().items() if reason not in SUCCESSES
        )
        message = f"{failed} of {len(solution.converged)} samples did not converge to {self.current_solver.goal}. {why}"
        if self.on_failure == "raise":
            raise NotConvergedError(message, solution)
        warnings.warn(message, NotConvergedWarning, stacklevel=5)


class _Found(NamedTuple):
    """What a batch's passes give.

    Attributes:
        solution: of the batch.
        failed: whether a fixed point was sought and not found, of any sample.
    """

    solution: Solution
    failed: bool


def _is_finite(x: Tensor) -> bool:
    """Whether all features are finite."""
    if _looks.on_accelerator(x):
        return _looks.holds(x.detach().isfinite().all())
    # One number to look at; wrong only if a sum of finite ones overflows.
    return math.isfinite(float(x.detach().sum()))


def _either(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Sample by sample whether one of the two holds, as far as they are there."""
    if first is None or second is None:
        return second if first is None else first
    return first | second
