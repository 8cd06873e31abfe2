"""The map whose fixed point is sought: w ↦ f(w), for one batch, everything else bound.

Solvers and adjoints see nothing but this interface, so a quantum circuit, a classical network and a closed
form are solved and differentiated by the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ._root import Root
    from .solvers import Solver
    from .solvers.newton import Newton


@dataclass(frozen=True)
class MapCost:
    """What one sample costs on a machine that only evaluates circuits; all zero for a map that is no circuit.

    An exact simulation of a circuit reports what the circuit would cost, so that its results can be weighed.

    Attributes:
        circuits_per_value: circuits for one f(w) of one sample.
        circuits_per_jacobian: further circuits for ∂f/∂w of one sample, f(w) being known.
        shots_per_circuit: shots spent on each circuit; 0 if the circuit is evaluated exactly.
        shots_per_call: how many shots take as long as a call takes beside its shots, however many samples it has.
    """

    circuits_per_value: int = 0
    circuits_per_jacobian: int = 0
    shots_per_circuit: int = 0
    shots_per_call: int = 0

    @property
    def jacobian_shots(self) -> int:
        """Shots of one ∂f/∂w of one sample, over all its circuits."""
        return self.circuits_per_jacobian * self.shots_per_circuit

    def circuits(self, evaluations: Tensor, jacobian_evaluations: Tensor) -> int:
        """Circuits of a batch, given how often each sample's f and ∂f/∂w were evaluated, (B,) each."""
        values = self.circuits_per_value * int(evaluations.sum())
        return values + self.circuits_per_jacobian * int(jacobian_evaluations.sum())


@dataclass(frozen=True)
class PlannedCall:
    """An evaluation that a solver might ask for.

    Attributes:
        samples: of how many samples.
        value: whether f is wanted.
        jacobian: whether ∂f/∂w is.
        shots: of each circuit; None for as many as the map's cost says.
    """

    samples: int
    value: bool = True
    jacobian: bool = False
    shots: int | None = None


@dataclass(frozen=True, eq=False)
class MeasuredJacobian:
    """∂f/∂w as it was measured: the true one and Σ_s ε_s ⊗ along_s, with independent errors ε_s of mean zero.

    Attributes:
        jacobian: (B, n, n).
        along: the directions, in the state's space, in which the S measured derivatives enter, (B, S, n).
        covariance: of each ε_s, (B, S, n, n).
    """

    jacobian: Tensor
    along: Tensor
    covariance: Tensor

    def error_along(self, direction: Tensor) -> Tensor:
        """The covariance of J · direction, (B, n, n), for a direction (B, n)."""
        share = torch.einsum("bsn,bn->bs", self.along, direction).square()
        return torch.einsum("bs,bskl->bkl", share, self.covariance)

    def select(self, rows: Tensor) -> MeasuredJacobian:
        """That of the samples `rows` only."""
        parts = (part.index_select(0, rows) for part in (self.jacobian, self.along, self.covariance))
        return MeasuredJacobian(*parts)

    def double(self) -> MeasuredJacobian:
        """The same in double precision."""
        return MeasuredJacobian(self.jacobian.double(), self.along.double(), self.covariance.double())

    @staticmethod
    def joined(batches: Sequence[MeasuredJacobian]) -> MeasuredJacobian:
        """Those of several batches, one after another."""
        return MeasuredJacobian(
            torch.cat([each.jacobian for each in batches]),
            torch.cat([each.along for each in batches]),
            torch.cat([each.covariance for each in batches]),
        )


class FixedPointMap(ABC):
    """One batch's map w ↦ f(w), row by row: sample b of the result depends on sample b of w alone.

    Shapes: B samples, n state entries, d features per sample. A map is immutable; `select`, `with_inputs` and
    `frozen` return new ones.
    """

    @property
    @abstractmethod
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors beside w that f depends on and that gradients flow to (features, weights, operators)."""

    @abstractmethod
    def with_inputs(self, inputs: tuple[Tensor, ...]) -> Self:
        """The same map at other `inputs` (same order and shapes); how autograd puts saved tensors back."""

    @abstractmethod
    def select(self, rows: Tensor) -> FixedPointMap:
        """The map of the samples `rows` (1-D integer tensor) only; differentiable in `inputs`, as the map itself is."""

    @abstractmethod
    def value(self, w: Tensor) -> Tensor:
        """f(w), (B, n); differentiable in w and in `inputs` where grad mode is on."""

    @abstractmethod
    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """f(w), (B, n), and J[b, k, l] = ∂f_k/∂w_l, (B, n, n); differentiable where grad mode is on."""

    @property
    def cost(self) -> MapCost:
        """Circuits and shots of one sample's evaluation."""
        return MapCost()

    @property
    def steers_exactly(self) -> bool:
        """Whether G of `value_and_steering` is ∂f/∂w itself, so that it may serve as the Jacobian at the answer."""
        return True

    @property
    def carries(self) -> bool:
        """Whether an evaluation costs about as much for a few samples as for all, so that none need be dropped."""
        return False

    @property
    def is_compiled(self) -> bool:
        """Whether `compiled_root` has a loop for this map."""
        return False

    def compiled_root(self, start: Tensor, solver: Newton, *, keep_jacobian: bool) -> Root | None:
        """What a compiled loop of this map's own finds in Newton's first attempt.

        Args:
            start: the first iterate, (B, n), with B at least 1.
            solver: the method; its trace is not wanted, and no gradient.
            keep_jacobian: whether `Root.jacobian` is wanted.

        Returns:
            The root of the batch; None if not every sample converges soon: drivers then start anew.
        """
        return None

    @property
    def is_sampled(self) -> bool:
        """Whether values are means over shots, which no two evaluations share."""
        return False

    @property
    def noiseless(self) -> FixedPointMap | None:
        """The same map for a machine without errors, exact, in double precision on the CPU; None if it is not known."""
        return None

    def affords(self, calls: Sequence[PlannedCall]) -> bool:
        """Whether all of these evaluations, one after another, can still be paid; solvers ask between iterations."""
        return True

    def value_and_steering(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """f(w), (B, n), and a matrix G near ∂f/∂w, (B, n, n), to steer Newton's steps by.

        An inexact G costs iterations, never accuracy: steps end where f(w) = w. It counts as a Jacobian evaluation.
        Samples that it fails are tried again with the Jacobian itself.
        """
        return self.value_and_jacobian(w)

    def measure(self, w: Tensor, *, shots: int | None = None) -> tuple[Tensor, Tensor]:
        """f(w), (B, n), as one evaluation finds it, and the covariance of that value, (B, n, n); zero if f is exact.

        Args:
            w: the state, (B, n).
            shots: of each circuit; None for as many as `cost` says. An exact map has no use for them.
        """
        value = self.value(w)
        return value, value.new_zeros(*value.shape, value.shape[1])

    def measure_jacobian(self, w: Tensor, value: Tensor, *, shots: int | None = None) -> MeasuredJacobian:
        """∂f/∂w with its error, f(w) being known.

        Args:
            w: the state, (B, n).
            value: f(w), (B, n), as it was measured.
            shots: of each circuit; None for as many as `cost` says.
        """
        jacobian = self.value_and_jacobian(w)[1]
        nothing = jacobian.new_zeros(len(w), 0, w.shape[1])
        return MeasuredJacobian(jacobian, nothing, nothing.unsqueeze(-1).expand(-1, -1, -1, w.shape[1]))

    def jacobian_at_root(self, w: Tensor) -> Tensor:
        """∂f/∂w, (B, n, n), at fixed points w, where a sampled f need not be measured once more: f(w) = w."""
        return self.measure_jacobian(w, w).jacobian if self.is_sampled else self.value_and_jacobian(w)[1]

    @property
    def jacobian_has_gradient(self) -> bool:
        """Whether autograd can differentiate ∂f/∂w once more; not where it is measured, or a network's backward.

        Jacobian penalties that need it are not taken there, for they would cost evaluations and change nothing.
        """
        return True

    @property
    def shares_products(self) -> bool:
        """Whether all products of a `pullback_at_root` together cost one Jacobian, instead of one each."""
        return False

    @property
    def records_known_jacobian(self) -> bool:
        """Whether `recorded_at_root` spares the evaluation where ∂f/∂w is at hand."""
        return False

    def recorded_at_root(self, w: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
        """What `value_and_jacobian` gives at fixed points w, where ∂f/∂w, (B, n, n), is known and f(w) = w.

        Gradients are those of f(w) and of ∂f/∂w; their values may be those that are known.
        """
        return self.value_and_jacobian(w)

    def frozen(self) -> FixedPointMap:
        """The map to solve with: no gradients are recorded, and whatever can be precomputed once per batch is."""
        return self.with_inputs(tuple(tensor.detach() for tensor in self.inputs))

    def pullback_at_root(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        """u ↦ uᵀ ∂f/∂w, (B, n), at fixed points w; records nothing, and forms no Jacobian if the map can do without.

        On a machine that only evaluates circuits every product costs as many as a Jacobian.
        """
        point = w.detach().requires_grad_()
        with torch.enable_grad():
            value = self.value(point)

        def product(u: Tensor) -> Tensor:
            if not value.requires_grad:  # f does not depend on w
                return torch.zeros_like(u)
            return torch.autograd.grad(value, point, u, retain_graph=True, materialize_grads=True)[0]

        return product

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """v = R w + x, (B, d), and q, where f(w) = q(R w + x); both differentiable where grad mode is on.

        q takes any number of whole batches of such rows, one after another. Wanted by penalties that look about in the
        space of features.

        Raises:
            NotImplementedError: the map has no lift, or does not tell.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not give q(v) of f(w) = q(R w + x) (at_features), which this Jacobian penalty "
            "needs: use the reduced one."
        )

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        """∂q/∂v at v = R w + x, (B, n, d), where f(w) = q(R w + x); without a lift, ∂f/∂w itself.

        Wanted by the paper's full Jacobian penalty alone.
        """
        return self.value_and_jacobian(w)[1]

    def vjp(self, w: Tensor, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """cotangentᵀ ∂f/∂input for each of `inputs`, at fixed w; None for an input that needs no gradient.

        Args:
            w: the state, (B, n).
            cotangent: (B, n).
        """
        wanted = [tensor.requires_grad for tensor in self.inputs]
        leaves = tuple(tensor.detach().requires_grad_(need) for tensor, need in zip(self.inputs, wanted, strict=True))
        with torch.enable_grad():
            value = self.with_inputs(leaves).value(w.detach())
        targets = [leaf for leaf in leaves if leaf.requires_grad]
        if not targets:
            return (None,) * len(leaves)
        grads = iter(torch.autograd.grad(value, targets, cotangent, allow_unused=True))
        return tuple(next(grads) if need else None for need in wanted)


class Bindable(ABC):
    """A layer that knows a better map for a batch than calling itself: operators built once, closed-form Jacobians."""

    @abstractmethod
    def bind(self, x: Tensor, lift: Tensor) -> FixedPointMap:
        """The map w ↦ q(R w + x) of one batch.

        Args:
            x: features, (B, d).
            lift: R, (d, n).
        """

    def check_solver(self, solver: Solver, size: int) -> None:  # noqa: B027 (most layers take every solver)
        """Refuses a solver that cannot work on this layer's maps, of a state of `size` entries; none, by default.

        Raises:
            ValueError: it cannot; the message says what would do.
        """


class FunctionMap(FixedPointMap):
    """f given as a torch function; its Jacobian is taken by autograd, one backward pass per state entry.

    Args:
        function: `function(w, *inputs)` → (B, n), row by row.
        inputs: tensors that the function is called with. `batched` of them, the first ones, carry a sample
            axis; the others (weights) are shared by all samples.
        batched: how many of `inputs` have a leading sample axis.
        cost: circuits of one sample's evaluation, where the function runs circuits.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        inputs: tuple[Tensor, ...],
        *,
        batched: int,
        cost: MapCost | None = None,
    ) -> None:
        self._function = function
        self._inputs = inputs
        self._batched = batched
        self._cost = cost or MapCost()

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._inputs

    @property
    def cost(self) -> MapCost:
        return self._cost

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> FunctionMap:
        return FunctionMap(self._function, inputs, batched=self._batched, cost=self._cost)

    def select(self, rows: Tensor) -> FunctionMap:
        chosen = tuple(tensor.index_select(0, rows) for tensor in self._inputs[: self._batched])
        return self.with_inputs(chosen + self._inputs[self._batched :])

    def value(self, w: Tensor) -> Tensor:
        return self._function(w, *self._inputs)

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            point = w if w.requires_grad else w.detach().requires_grad_()
            value = self.value(point)
            if not value.requires_grad:  # f does not depend on w
                return value, value.new_zeros(*value.shape, w.shape[1])
            rows = [
                torch.autograd.grad(
                    value[:, k].sum(), point, create_graph=create_graph, retain_graph=True, materialize_grads=True
                )[0]
                for k in range(value.shape[1])
            ]
            jacobian = torch.stack(rows, dim=1)
        return (value, jacobian) if create_graph else (value.detach(), jacobian.detach())
