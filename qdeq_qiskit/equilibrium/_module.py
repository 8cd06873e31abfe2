"""The equilibrium of a layer as a torch module."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ._layer_map import LayerMap, bind_layer
from ._map import Bindable, FixedPointMap, MapCost
from ._options import check_count, check_name
from ._reason import SUCCESSES, Reason
from ._root import Root, checked_value
from ._solution import Solution
from ._solve import solve
from ._spread import finite_rows, spread, spread_rows
from .adjoints import Adjoint
from .adjoints.implicit import ImplicitAdjoint
from .penalties import JacobianPenalty
from .solvers import Solver
from .solvers.newton import Newton
from .solvers.sampled import SampledSolver

MODES = ("implicit", "direct", "coherent")
ON_FAILURE = ("warn", "raise", "record")


class NotConvergedWarning(UserWarning):
    """Some samples of a batch have no fixed point within the tolerance."""


class NotConvergedError(RuntimeError):
    """The same, where it was asked to be an error.

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
        adjoint: how it is differentiated.
        penalty: the Jacobian penalty in `Solution.penalty`, or None. It is differentiated through the layer's
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
        adjoint: Adjoint | None = None,
        penalty: JacobianPenalty | None = None,
        mode: Literal["implicit", "direct", "coherent"] = "implicit",
        layers: int = 1,
        warmup_steps: int = 0,
        warmup_layers: int = 5,
        on_failure: Literal["warn", "raise", "record"] = "warn",
        trace: bool = False,
        cost: MapCost | None = None,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("lift", lift, persistent=False)
        self.state_size = _state_size(layer, lift, state_size)
        self.solver = Newton() if solver is None else solver
        self.adjoint = ImplicitAdjoint() if adjoint is None else adjoint
        self.penalty = penalty
        self.mode = mode
        self.layers = layers
        self.warmup_steps = warmup_steps
        self.warmup_layers = warmup_layers
        self.warmup_count = 0
        self.on_failure = on_failure
        self.trace = trace
        self.cost = cost or MapCost()
        self._hidden_parameters_checked = isinstance(layer, nn.Module | Bindable)
        _check_type("solver", self.solver, Solver)
        _check_type("adjoint", self.adjoint, Adjoint)
        if penalty is not None:
            _check_type("penalty", penalty, JacobianPenalty)
        if isinstance(self.solver, SampledSolver) and self.adjoint.records_solver:
            raise ValueError(
                f"the solver {self.solver.kind!r} gives an estimate, whose iterations cannot be differentiated "
                f"through: it needs another adjoint than {self.adjoint.kind!r}, such as 'implicit'."
            )
        check_name("mode", mode, MODES)
        check_name("on_failure", on_failure, ON_FAILURE)
        check_count("layers", layers, least=1)
        if mode == "coherent" and layers != 1:
            raise ValueError(
                f"mode 'coherent' applies its layer once, but layers={layers}: deepen the layer's circuit."
            )
        if mode == "implicit" and isinstance(layer, Bindable):
            layer.check_solver(self.solver, self.state_size)
        check_count("warmup_steps", warmup_steps, least=0)
        check_count("warmup_layers", warmup_layers, least=1)

    def forward(self, x: Tensor, w0: Tensor | None = None) -> Solution:
        """The equilibria of a batch.

        Args:
            x: features, (B, d); without a lift (B, ...).
            w0: where to start, (B, n); zeros if None.

        Returns:
            The solution. Samples whose features are not finite are not evaluated, contribute to no gradient, and
            have w₀ as their value and NOT_FINITE as their reason.
        """
        if torch.is_inference_mode_enabled():
            # A Jacobian by autograd needs tensors that can be recorded.
            with torch.inference_mode(False), torch.no_grad():
                return self.forward(x.clone(), None if w0 is None else w0.clone())
        self._check_batch(x, w0)
        start = x.new_zeros(x.shape[0], self.state_size) if w0 is None else w0.detach().to(x)
        layers = self._layers_of_this_pass()
        if math.isfinite(
            float(x.detach().sum())
        ):  # one number to look at; wrong only if a sum of finite ones overflows
            solution = self._equilibrium(x, start, layers)
        else:
            rows = x.detach().flatten(1).isfinite().all(dim=1).nonzero().squeeze(1)
            solution = self._equilibrium(x.index_select(0, rows), start.index_select(0, rows), layers)
            solution = spread(solution, rows, start, self.lift)
        if solution.mode == "implicit" and self.on_failure != "record":
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
        return f"mode={self.mode!r}, solver={self.solver}, adjoint={self.adjoint}, penalty={self.penalty}{warmup}"

    def _layers_of_this_pass(self) -> int | None:
        """How often to apply the layer, or None to solve for the fixed point; counts the warm-up."""
        if self.mode != "implicit":
            return self.layers
        if not (self.training and torch.is_grad_enabled()) or self.warmup_count >= self.warmup_steps:
            return None
        self.warmup_count += 1
        return self.warmup_layers

    def _equilibrium(self, x: Tensor, start: Tensor, layers: int | None) -> Solution:
        fixed_point_map = self.map(x)
        if not self._hidden_parameters_checked and torch.is_grad_enabled() and len(x):
            _refuse_hidden_parameters(fixed_point_map, start)
            self._hidden_parameters_checked = True
        if layers is not None:
            return self._direct(fixed_point_map, start, layers)
        return self._implicit(fixed_point_map, start)

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

    def _implicit(self, fixed_point_map: FixedPointMap, start: Tensor) -> Solution:
        differentiable = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in fixed_point_map.inputs)
        penalty = self.penalty if differentiable else None
        # A penalty needs a Jacobian that autograd has recorded, for which the solver's last one may serve.
        keep_jacobian = penalty is None or self._keeps_jacobian_for_penalty(fixed_point_map)
        root = self._solve(fixed_point_map, start, differentiable=differentiable, keep_jacobian=keep_jacobian)
        value, jacobian, penalised = root.w, root.jacobian, None
        further = torch.zeros_like(root.evaluations)  # Jacobians for the gradient
        if differentiable:
            # The rows of a sample without any finite value would make NaN of every gradient of the weights.
            rows = finite_rows(root)
            some = fixed_point_map if rows is None else fixed_point_map.select(rows)
            w = root.w if rows is None else root.w.index_select(0, rows)
            some_jacobian = jacobian if rows is None or jacobian is None else jacobian.index_select(0, rows)
            some_value = None
            if penalty is not None:
                if keep_jacobian and some_jacobian is not None:
                    some_value, recorded = some.recorded_at_root(w.detach(), some_jacobian)
                else:
                    some_value, recorded = some.value_and_jacobian(w.detach())
                    further = further + 1
                penalised = penalty.measure(some, w.detach(), recorded, self.lift)
                _warn_of_lost_penalty(penalised)
                some_jacobian = recorded.detach()
            elif self.adjoint.uses_jacobian:
                some_jacobian, missing = _completed(some_jacobian, some, w)
                further = further + (
                    missing if rows is None else torch.zeros_like(further).index_copy(0, rows, missing)
                )
            attached = self.adjoint.attach(some, w, some_jacobian, some_value)
            value = attached if rows is None else root.w.index_copy(0, rows, attached)
            jacobian = (
                some_jacobian if rows is None or some_jacobian is None else spread_rows(some_jacobian, rows, root)
            )
        return Solution(
            value=value,
            state=self._lifted(value),
            residual=root.residual.detach(),
            relative_residual=root.relative_residual.detach(),
            iterations=root.iterations,
            evaluations=root.evaluations,
            jacobian_evaluations=root.jacobian_evaluations + further,
            converged=root.converged,
            reason=root.reason,
            trace=root.trace,
            jacobian=jacobian,
            penalty=penalised,
            cost=fixed_point_map.cost,
            solver=self.solver.kind,
            adjoint=self.adjoint.kind if differentiable else "none",
            mode="implicit",
            covariance=root.covariance,
            sample_shots=None if root.shots is None else root.shots + further * fixed_point_map.cost.jacobian_shots,
            floored=root.floored,
        )

    def _keeps_jacobian_for_penalty(self, fixed_point_map: FixedPointMap) -> bool:
        # The statistical solver may have no Jacobian of some samples.
        return fixed_point_map.records_known_jacobian and not isinstance(self.solver, SampledSolver)

    def _solve(
        self, fixed_point_map: FixedPointMap, start: Tensor, *, differentiable: bool, keep_jacobian: bool
    ) -> Root:
        if differentiable and self.adjoint.records_solver:
            return solve(fixed_point_map, start, self.solver, trace=self.trace)
        with torch.no_grad():
            frozen = fixed_point_map.frozen()
            return solve(frozen, start, self.solver, keep_jacobian=keep_jacobian, trace=self.trace)

    def _lifted(self, w: Tensor) -> Tensor:
        return w if self.lift is None else w @ self.lift.mT

    def _check_batch(self, x: Tensor, w0: Tensor | None) -> None:
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
        message = f"{failed} of {len(solution.converged)} samples did not converge to {self.solver.goal}. {why}"
        if self.on_failure == "raise":
            raise NotConvergedError(message, solution)
        warnings.warn(message, NotConvergedWarning, stacklevel=5)


def _state_size(layer: object, lift: Tensor | None, state_size: int | None) -> int:
    if lift is None:
        if isinstance(layer, Bindable):
            raise ValueError("This layer maps features v = R w + x: give its lift R, for instance nearest_lift(d, n).")
        if state_size is None:
            raise ValueError("Without a lift, state_size (the number of state entries n) must be given.")
        check_count("state_size", state_size, least=1)
        return state_size
    if lift.ndim != 2:
        raise ValueError(f"lift must be a matrix R of shape (d, n); its shape is {tuple(lift.shape)}.")
    if state_size not in (None, lift.shape[1]):
        raise ValueError(f"state_size is {state_size}, but the lift R has {lift.shape[1]} columns: leave it out.")
    return lift.shape[1]


def _check_type(name: str, value: object, wanted: type) -> None:
    if not isinstance(value, wanted):
        raise ValueError(f"{name} must be of type {wanted.__name__}, as make_{name}(...) gives; it is {value!r}.")


def _refuse_hidden_parameters(fixed_point_map: FixedPointMap, start: Tensor) -> None:
    """A function that closes over trainable tensors would silently leave them without a gradient."""
    row = torch.zeros(1, dtype=torch.int64, device=start.device)
    if fixed_point_map.select(row).frozen().value(start[:1]).requires_grad:
        raise ValueError(
            "The layer is a function that uses tensors which require a gradient but are not its arguments: they would "
            "get none. Make it a torch.nn.Module with these tensors as its parameters."
        )


def _warn_of_lost_penalty(penalty: Tensor) -> None:
    if not penalty.requires_grad:
        warnings.warn(
            "The Jacobian penalty has no gradient: the layer's Jacobian cannot be differentiated (as that of a stock "
            "TorchConnector cannot). Leave the penalty out, or use a layer that is twice differentiable.",
            RuntimeWarning,
            stacklevel=2,
        )


def _completed(jacobian: Tensor | None, fixed_point_map: FixedPointMap, w: Tensor) -> tuple[Tensor, Tensor]:
    """∂f/∂w at the fixed points w, (B, n, n), with what was missing of it, and for which samples that was, (B,)."""
    count = torch.zeros(len(w), dtype=torch.int64, device=w.device)
    if jacobian is None:
        with torch.no_grad():
            return fixed_point_map.frozen().jacobian_at_root(w), count + 1
    if not fixed_point_map.is_sampled:
        return jacobian, count
    # The statistical solver leaves out samples without an estimate.
    rows = jacobian.isnan().flatten(1).any(1).nonzero().squeeze(1)
    if not len(rows):
        return jacobian, count
    with torch.no_grad():
        measured = fixed_point_map.frozen().select(rows).jacobian_at_root(w.index_select(0, rows))
    return jacobian.index_copy(0, rows, measured), count.index_fill(0, rows, 1)
