r"""The sampled layer: expectation values from a machine that runs circuits, few of them, exact difference rules.

All samples of a batch go to the machine in one call. Derivatives are differences of values at *finite* shifts that are
exact without shot noise:

- gates' angles: the shift rules of `machine`;
- amplitude-encoded features: without noise in the encoder N(v) = ‖v‖² f(v) is quadratic, so that
  [N(v + s d) − N(v − s d)] / 2s is its derivative along d for every s. With a noisy encoder it is not, and the shift
  rule on the encoder's own angles is used, which stays exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from qdeq_qiskit.backends.amplitude import AmplitudeAngles
from qdeq_qiskit.backends.analysis import Factorisation, factorise
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.machine import Machine
from qdeq_qiskit.backends.maps.sampled import SampledMap
from qdeq_qiskit.backends.measurement import Measurement
from qdeq_qiskit.backends.noiseless_reach import check_reach
from qdeq_qiskit.backends.program import GateProgram, program_of
from qdeq_qiskit.backends.quadratic_form import probes, slope_of_form
from qdeq_qiskit.backends.spsa import SPSA, WeightGradient, chosen
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import (
    Bindable,
    FixedPointMap,
    MapCost,
    MeasuredJacobian,
    PlannedCall,
    SampledSolver,
    Solver,
)


class SampledLayer(nn.Module, Bindable):
    """q(v; θ) of a QNN circuit as a machine measures it; differentiable once, by difference rules.

    Every evaluation draws anew. With a seeded machine the sequence of all of a layer's evaluations is reproduced.

    Args:
        qnn: circuit, inputs, weights and observables.
        machine: runs that circuit; its rows of angles are those of the slots of `program_of` this circuit, the
            inputs before the weights.
        noisy_encoder: whether gates of the encoder err, which decides the rule for amplitude-encoded features.
        weight_gradient: how gradients of the weights are measured: "parameter_shift", the exact rule for every gate, or
            "spsa", two circuits a sample; `SPSA(...)` for other options than its defaults.
        weight: the weights, (P,), to share with another layer; if None they start uniform in (−π, π), drawn from
            torch's generator.

    Attributes:
        weight: θ, (P,).
        machine: as given.
    """

    def __init__(
        self,
        qnn: QNNCircuit,
        machine: Machine,
        *,
        noisy_encoder: bool = False,
        weight_gradient: WeightGradient = "parameter_shift",
        weight: nn.Parameter | None = None,
    ) -> None:
        super().__init__()
        if weight is None:
            weight = nn.Parameter(torch.empty(qnn.num_weights).uniform_(-torch.pi, torch.pi))
        if weight.shape != (qnn.num_weights,):
            raise ValueError(f"weight has shape {tuple(weight.shape)}; this circuit has {qnn.num_weights} weights")
        self.qnn = qnn
        self.weight = weight
        self.machine = machine
        program = program_of(qnn.circuit, [*qnn.input_parameters, *qnn.weight_parameters])
        self._angle_map = program.angle_map.compile()
        self._amplitudes = None if qnn.num_amplitudes is None else AmplitudeAngles(qnn.num_amplitudes)
        self._quadratic = qnn.num_amplitudes is not None and not noisy_encoder
        self._spsa = chosen(weight_gradient)
        self._signs = torch.Generator().manual_seed(self._spsa.seed if self._spsa else 0)
        self._input_slots = _slots_with(program, qnn.input_parameters)
        self._weight_slots = _slots_with(program, qnn.weight_parameters)

    @property
    def compiled(self) -> QuantumCircuit:
        """The circuit that runs, a copy."""
        return self.machine.circuit.copy()

    @property
    def is_sampled(self) -> bool:
        """Whether values are means over shots."""
        return self.machine.shots is not None

    @property
    def circuits_run(self) -> int:
        """Circuits run so far: one for each measurement basis of each sample and shift."""
        return self.machine.rows_run * self.machine.circuits_per_row

    def restart(self, stream: int) -> None:
        """Draws from here on what the seeds and `stream`, at least 0, say: shots, and signs of SPSA.

        So that what follows is the same, whatever was drawn before: an epoch of a run that was interrupted, say.
        """
        self.machine.restart(stream)
        if self._spsa is not None:
            (seed,) = np.random.SeedSequence(self._spsa.seed, spawn_key=(stream,)).generate_state(1, np.uint64)
            self._signs.manual_seed(int(seed) >> 1)

    def forward(self, features: Tensor) -> Tensor:
        """q(v), (B, K), of features, (B, d).

        Raises:
            ValueError: features of another number than the circuit takes.
        """
        return self.value(self._checked(features), self.weight)

    def bind(self, x: Tensor, lift: Tensor) -> FixedPointMap:
        """The map w ↦ q(R w + x); see `Bindable`.

        Raises:
            ValueError: features of another number than the circuit takes.
        """
        return SampledMap(self, self._checked(x), self.weight, lift)

    def cost(self, num_directions: int) -> MapCost:
        """What one sample costs, its Jacobian being wanted along so many directions."""
        machine, circuits = self.machine, self.machine.circuits_per_row
        rows = self._rows_per_jacobian(num_directions)
        return MapCost(circuits, rows * circuits, machine.shots or 0, machine.shots_per_call)

    def affords(self, calls: Sequence[PlannedCall], num_directions: int) -> bool:
        """Whether the machine can still be paid for these evaluations, Jacobians being along so many directions."""
        further = self._rows_per_jacobian(num_directions)
        return self.machine.affords(
            [(call.samples * (call.value + further * call.jacobian), call.shots) for call in calls]
        )

    def check_solver(self, solver: Solver, size: int) -> None:
        """Refuses a solver that cannot work here, before anything is measured.

        Raises:
            ValueError: its shots do not pay the least estimate, or it wants the noiseless circuit, which is too large.
        """
        if not self.is_sampled or not isinstance(solver, SampledSolver):
            return
        solver.check_price(self.cost(size))
        if solver.jacobian == "noiseless":
            check_reach(self._parts)

    @cached_property
    def noiseless(self) -> ExactLayer:
        """The circuit without errors and shots, in double precision; weights are to be given to it.

        Raises:
            ValueError: it is too large for that.
        """
        check_reach(self._parts)
        nowhere = torch.zeros(self.qnn.num_weights, dtype=torch.double)
        return ExactLayer(self.qnn, precision="double", weight=nn.Parameter(nowhere, requires_grad=False))

    def check_reach(self, samples: int) -> None:
        """Refuses batches of which `noiseless` could not be evaluated at once.

        Raises:
            ValueError: there are too many samples.
        """
        check_reach(self._parts, samples)

    @cached_property
    def _parts(self) -> Factorisation:
        qnn = self.qnn
        return factorise(qnn.circuit, qnn.input_parameters, qnn.weight_parameters)

    @property
    def circuits_per_weight_gradient(self) -> int:
        """Circuits for the gradient of the weights at one sample."""
        if self._spsa is not None:
            return 2 * self._spsa.repetitions * self.machine.circuits_per_row
        return sum(len(self.machine.rules[slot]) for slot in self._weight_slots) * self.machine.circuits_per_row

    def value(self, v: Tensor, weight: Tensor, measured: Tensor | None = None, *, near: Tensor | None = None) -> Tensor:
        """q(v; θ), (B, K); differentiable once.

        Args:
            v: (B, d).
            weight: θ, (P,).
            measured: q as it was measured there already, (B, K), to be given a gradient; None to measure now.
            near: features near whose angles those of amplitudes are taken, (B, d), as in all methods here; see
                `AmplitudeAngles`. A noisy encoder tells the difference.
        """
        if torch.is_grad_enabled() and (v.requires_grad or weight.requires_grad):
            return _Measured.apply(v, weight, near, self, measured)
        return self.measure(v, weight, near=near).values.to(v) if measured is None else measured

    def measure(
        self, v: Tensor, weight: Tensor, *, shots: int | None = None, near: Tensor | None = None
    ) -> Measurement:
        """q(v; θ) with its covariance, B rows, from as many shots a circuit as given, or as the machine takes."""
        return self.machine.run(self._angles(v.detach(), weight.detach(), near), shots=shots)

    def value_and_jacobian(
        self, v: Tensor, weight: Tensor, directions: Tensor, *, near: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """q, (B, K), and its derivatives along the columns of `directions`, (d, m): (B, K, m); nothing is recorded."""
        with torch.no_grad():
            point, weight, directions = v.detach().double(), weight.detach(), directions.detach().double()
            if self._quadratic:
                value, jacobian = self._along_features(point, weight, directions)
            else:
                value, jacobian = self._along_angles(point, weight, directions, near)
        return value.to(v), jacobian.to(v)

    def vjp(
        self,
        v: Tensor,
        weight: Tensor,
        cotangent: Tensor,
        *,
        of_v: bool,
        of_weight: bool,
        near: Tensor | None = None,
        measured: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """cotangentᵀ ∂q/∂v, (B, d), and cotangentᵀ ∂q/∂θ, (P,); None where not wanted.

        Derivatives along amplitudes take q itself, (B, K), `measured` again if it is not given.
        """
        by_shifts = of_weight and self._spsa is None
        slots = self._weight_slots if by_shifts else []
        if of_v and not self._quadratic:
            slots = sorted({*slots, *self._input_slots})
        v_leaf = v.detach().double().requires_grad_(of_v and not self._quadratic)
        weight_leaf = weight.detach().double().requires_grad_(by_shifts)
        gradients: dict[str, Tensor] = {}
        if slots:
            with torch.enable_grad():
                angles = self._angles(v_leaf, weight_leaf, near)
            jacobian, _ = self.machine.differentiate(angles.detach(), slots)
            pulled = torch.zeros_like(angles).index_copy(
                1, torch.tensor(slots), torch.einsum("bk,bkg->bg", cotangent.detach().double().cpu(), jacobian)
            )
            leaves = {"v": v_leaf, "weight": weight_leaf}
            wanted = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
            found = torch.autograd.grad(
                angles, list(wanted.values()), pulled, allow_unused=True, materialize_grads=True
            )
            gradients = dict(zip(wanted, found, strict=True))
        if of_weight and self._spsa is not None:
            gradients["weight"] = self._by_spsa(self._spsa, v.detach(), weight.detach(), cotangent.detach(), near)
        if of_v and self._quadratic:
            identity = torch.eye(v.shape[1], dtype=torch.double, device=v.device)
            if measured is None:
                jacobian = self.value_and_jacobian(v, weight, identity)[1]
            else:
                jacobian = self.measure_jacobian(v, weight, identity, measured).jacobian
            gradients["v"] = torch.einsum("bk,bkd->bd", cotangent.detach().to(jacobian), jacobian)
        of_v_gradient, of_weight_gradient = gradients.get("v"), gradients.get("weight")
        return (
            None if of_v_gradient is None else of_v_gradient.to(v),
            None if of_weight_gradient is None else of_weight_gradient.to(weight),
        )

    def _by_spsa(self, options: SPSA, v: Tensor, weight: Tensor, cotangent: Tensor, near: Tensor | None) -> Tensor:
        """cotangentᵀ ∂q/∂θ, (P,), estimated from simultaneous perturbations of all weights."""
        signs = options.signs(len(v), len(weight), self._signs)  # (B, r, P)
        moves = options.perturbation * torch.stack((signs, -signs), dim=1)  # (B, 2, r, P)
        weights = (weight.double().cpu() + moves).flatten(0, 2)
        rows, places = (
            None if each is None else each.cpu().repeat_interleave(2 * options.repetitions, dim=0) for each in (v, near)
        )
        assert rows is not None
        values = self.machine.run(self._angles(rows, weights, places)).values.unflatten(0, moves.shape[:3])
        loss = torch.einsum("bk,bsrk->bsr", cotangent.double().cpu(), values)
        slope = (loss[:, 0] - loss[:, 1]) / (2 * options.perturbation)
        return torch.einsum("br,brp->p", slope, signs) / options.repetitions

    def _rows_per_jacobian(self, num_directions: int) -> int:
        """Rows of angles for one sample's Jacobian, its value being known."""
        if self._quadratic:
            return 2 * num_directions
        return sum(len(self.machine.rules[slot]) for slot in self._input_slots)

    def _checked(self, features: Tensor) -> Tensor:
        """Features of the right shape, in floating point."""
        if features.ndim != 2 or features.shape[1] != self.qnn.num_features:
            raise ValueError(
                f"features have shape {tuple(features.shape)}; this circuit takes (B, {self.qnn.num_features})"
            )
        return features if features.is_floating_point() else features.to(torch.get_default_dtype())

    def _angles(self, v: Tensor, weight: Tensor, near: Tensor | None = None) -> Tensor:
        """The angles of all slots, (B, G), double precision, on the CPU."""
        inputs = v.double().cpu()
        if self._amplitudes is not None:
            inputs = self._amplitudes(inputs, None if near is None else near.double().cpu())
        return self._angle_map(torch.cat((inputs, weight.double().cpu().expand(len(inputs), -1)), dim=-1))

    def measure_jacobian(
        self,
        v: Tensor,
        weight: Tensor,
        directions: Tensor,
        value: Tensor,
        *,
        shots: int | None = None,
        near: Tensor | None = None,
    ) -> MeasuredJacobian:
        """The derivatives along the columns of `directions`, (d, m), with their error; `value`, (B, K), is known."""
        v, weight, directions = v.detach().double(), weight.detach(), directions.detach().double()
        if not self._quadratic:
            derivatives, covariance = self.machine.differentiate(
                self._angles(v, weight, near), self._input_slots, shots=shots
            )
            chain = self._chain(v, weight, directions, near)
            return MeasuredJacobian(torch.bmm(derivatives, chain), chain, covariance)
        points, steps = probes(v, directions)
        measured = self.machine.run(self._angles(points.flatten(0, 2), weight), shots=shots)
        jacobian = slope_of_form(v, directions, points, steps, value.detach().double(), measured.values.to(v))
        # By the square of each of the two values' factors in the difference.
        factors = points.square().sum(-1) / (2 * steps * v.square().sum(-1, keepdim=True))  # (2, B, m)
        factors = torch.where(factors.isfinite(), factors, 0.0)
        covariance = measured.covariance.to(v).unflatten(0, points.shape[:3])
        covariance = (factors.square()[..., None, None] * covariance).sum(0)  # (B, m, K, K)
        along = torch.eye(directions.shape[1], dtype=v.dtype, device=v.device).expand(len(v), -1, -1)
        return MeasuredJacobian(jacobian, along, covariance)

    def _along_features(self, v: Tensor, weight: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """By the two-point rule on N(v) = ‖v‖² q(v)."""
        points, steps = probes(v, directions)
        values = self.machine.run(self._angles(torch.cat((v, points.flatten(0, 2))), weight)).values.to(v)
        value = values[: len(v)]
        return value, slope_of_form(v, directions, points, steps, value, values[len(v) :])

    def _along_angles(
        self, v: Tensor, weight: Tensor, directions: Tensor, near: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """By the shift rules on the angles that depend on the inputs, and the chain rule."""
        measured = self.machine.run_shifted(self._angles(v, weight, near), self._input_slots)
        return measured.at.values, torch.bmm(measured.derivatives, self._chain(v, weight, directions, near))

    def _chain(self, v: Tensor, weight: Tensor, directions: Tensor, near: Tensor | None) -> Tensor:
        """Derivatives of the input slots' angles along the columns of `directions`, (B, S, m)."""
        tangents = [
            torch.func.jvp(lambda point: self._angles(point, weight, near), (v,), (direction.expand_as(v),))[1]
            for direction in directions.T
        ]
        if not tangents:
            return v.new_zeros(len(v), len(self._input_slots), 0).cpu()
        return torch.stack(tangents, dim=-1)[:, self._input_slots]


class _Measured(torch.autograd.Function):
    """A measured value; its gradient is measured when it is asked for."""

    @staticmethod
    def forward(
        ctx: Any, v: Tensor, weight: Tensor, near: Tensor | None, layer: SampledLayer, measured: Tensor | None
    ) -> Tensor:
        out = layer.value(v, weight, near=near) if measured is None else measured.clone()
        ctx.layer = layer
        ctx.save_for_backward(v, weight, near, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        v, weight, near, measured = ctx.saved_tensors
        of_v, of_weight = ctx.needs_input_grad[:2]
        gradients = ctx.layer.vjp(
            v, weight, cotangent, of_v=of_v, of_weight=of_weight, near=near, measured=measured.detach()
        )
        return (*gradients, None, None, None)


def _slots_with(program: GateProgram, parameters: Sequence[Parameter]) -> list[int]:
    """The slots whose angles depend on any of the parameters."""
    chosen = set(parameters)
    return [slot for slot, angle in enumerate(program.angle_map.expressions) if chosen & set(angle.parameters)]
