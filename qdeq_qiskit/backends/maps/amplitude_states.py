r"""The amplitude-encoded map without operators: the batch's states, and the lift's, go through W once.

With :math:`φ_b = W x_b^\perp` and :math:`ρ_l = W R_l` the reduced forms of `ReducedQuadraticMap` are overlaps,

.. math:: G_k = \operatorname{Re} ρ^† O_k ρ , \quad g_k = \operatorname{Re} ρ^† O_k φ , \quad c_k = φ^† O_k φ ,

for W is linear and the features are real. However often the map is evaluated, W is applied but once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qdeq_qiskit.backends.engines import Engine
from qdeq_qiskit.backends.evolution import complex_dtype
from qdeq_qiskit.backends.maps.parts import in_parts
from qdeq_qiskit.backends.maps.quadratic import ReducedQuadraticMap
from qdeq_qiskit.backends.maps.quadratic_forms import QuadraticForms, Rest, floor
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost


@dataclass(frozen=True, eq=False)
class AmplitudeStates:
    """q of amplitude-encoded features given the factors of W, the batch in parts of few amplitudes.

    Attributes:
        engine: applies W.
        readout: the observables.
    """

    engine: Engine
    readout: Readout

    def forms(self, factors: Tensor, x: Tensor, lift: Tensor) -> QuadraticForms:
        """The reduced forms of features, (B, d), and a lift R, (d, n); differentiable to every order."""
        rest = Rest.of(x, lift)
        first = torch.eye(len(lift), 1, dtype=lift.dtype, device=lift.device)
        evolved = self._evolved(factors, torch.cat((lift, first), dim=1))
        on_lift, at_zero = evolved.split_with_sizes((lift.shape[1], 1), dim=1)
        applied = self.readout.applied(on_lift)
        left = 2 * _stacked(applied).mT.reshape(-1, 2 * len(evolved))  # (K n, 2·2ⁿ)
        gram = left @ _stacked(on_lift)

        def overlaps(columns: Tensor, given: Tensor, bras: Tensor) -> tuple[Tensor, Tensor]:
            states = self._evolved(given, columns.T)
            return (bras @ _stacked(states)).T, self.readout.expectations(states.T)

        linear, constant = in_parts(overlaps, rest.columns.T, (factors, left), amplitudes=len(evolved))
        # With this term, and that of the norm, v = 0 has the value of the first basis state, and no other v notices.
        constant = constant + floor(x.dtype) * self.readout.expectations(at_zero.T)
        return QuadraticForms.joined(gram, linear.T, constant.T, rest, lift)

    def value(self, v: Tensor, factors: Tensor) -> Tensor:
        """q, (B, K), of features, (B, d)."""
        nowhere = v.new_zeros(v.shape[1], 0)
        return self.forms(factors, v, nowhere).evaluate(v.new_zeros(len(v), 0))[2].T

    def jacobian(self, v: Tensor, factors: Tensor) -> Tensor:
        """∂q/∂v, (B, K, d), of features, (B, d)."""

        def of_some(some: Tensor, given: Tensor) -> tuple[Tensor]:
            states = self._evolved(given, some.T)
            applied = self.readout.applied(states).transpose(0, 1).contiguous()
            pulled = self.engine.apply_adjoint(given, applied)[: v.shape[1]].real.permute(2, 1, 0)  # (B, K, d)
            norm = some.square().sum(1).add(floor(v.dtype)).view(-1, 1, 1)
            value = self.readout.expectations(states.T).unsqueeze(2) / norm
            return (2 * (pulled - value * some.unsqueeze(1)) / norm,)

        amplitudes = self.readout.num_outputs * 2**self.engine.program.num_qubits
        return in_parts(of_some, v, (factors,), amplitudes=amplitudes)[0]

    def _evolved(self, factors: Tensor, columns: Tensor) -> Tensor:
        """W applied to real columns, (d, m): (2ⁿ, m)."""
        more = 2**self.engine.program.num_qubits - len(columns)
        states = torch.nn.functional.pad(columns, (0, 0, 0, more)).to(complex_dtype(columns.dtype))
        return self.engine.apply(factors, states)


class AmplitudeStatesMap(FixedPointMap):
    """w ↦ q(R w + x) by the batch's states.

    Gradients flow through the reduced forms, which are computed when the map is made, back to factors and features.

    Args:
        factors: of W, (F, D, D), complex.
        x: features, (B, d).
        lift: R, (d, n).
        states: computes the forms.
        cost: circuits that a machine would need.
        forms: those of factors, features and lift, if they are known.
    """

    def __init__(
        self,
        factors: Tensor,
        x: Tensor,
        lift: Tensor,
        states: AmplitudeStates,
        cost: MapCost,
        *,
        forms: QuadraticForms | None = None,
    ) -> None:
        self._factors = factors
        self._x = x
        self._lift = lift
        self._states = states
        self._cost = cost
        self._forms = states.forms(factors, x, lift) if forms is None else forms

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._forms

    @property
    def cost(self) -> MapCost:
        return self._cost

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> AmplitudeStatesMap:
        return self._with(self._x, QuadraticForms(*inputs))

    def select(self, rows: Tensor) -> AmplitudeStatesMap:
        gram, samples = self._forms
        return self._with(self._x.index_select(0, rows), QuadraticForms(gram, samples.index_select(1, rows)))

    def frozen(self) -> FixedPointMap:
        gram, samples = self._forms
        return ReducedQuadraticMap(gram.detach(), samples.detach(), self._cost)

    def value(self, w: Tensor) -> Tensor:
        return self._forms.evaluate(w)[2].T

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        slopes, norm, value = self._forms.evaluate(w)
        # of the quotient q_k = N_k / N: (∂N_k − q_k ∂N) / N
        return value.T, ((slopes[:-1] - value.unsqueeze(1) * slopes[-1]) / norm).permute(2, 0, 1)

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        return self._states.jacobian(self._features(w), self._factors)

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self._features(w), lambda v: self._states.value(v, self._factors)

    def _features(self, w: Tensor) -> Tensor:
        """v = R w + x, (B, d)."""
        return torch.addmm(self._x, w, self._lift.T)

    def _with(self, x: Tensor, forms: QuadraticForms) -> AmplitudeStatesMap:
        return AmplitudeStatesMap(self._factors, x, self._lift, self._states, self._cost, forms=forms)


def _stacked(states: Tensor) -> Tensor:
    """Real parts, then imaginary parts, (..., 2·2ⁿ, m), of states, (..., 2ⁿ, m)."""
    return torch.cat((states.real, states.imag), dim=-2)
