r"""Expectation values and their derivatives for whole batches of parameter values, in the Heisenberg picture.

A circuit's parameters are divided into *inputs*, which differ from row to row, and *weights*, which do not. With

.. math:: q_k = \sum_i F_i(\text{inputs})\, T_{ki}(\text{weights}),

F the encoder's state in real coordinates and T those of :math:`M_k = W^† O_k W`, a batch costs one matrix product.
Since q is linear in M_k, a derivative with respect to a weight is the value of the operator ∂M_k.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from qiskit import QuantumCircuit
from torch import Tensor

from qdeq_qiskit.backends.amplitude import AmplitudeState
from qdeq_qiskit.backends.analysis import Factorisation, factorise
from qdeq_qiskit.backends.engines import DTYPES, make_engine, resolve_engine
from qdeq_qiskit.backends.evolution import complex_dtype, evolve
from qdeq_qiskit.backends.maps import BlochEncoder, pauli_coefficients
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.backends.recent import Recent

# Intermediate tensors are kept below this many elements, by taking rows or slots in blocks.
_BLOCK_ELEMENTS = 2**22


class CircuitEvaluator(ABC):
    """Values and Jacobians of one circuit for rows of values of all its parameters, (B, P); nothing is recorded.

    Attributes:
        explanation: one sentence on how the circuit is evaluated.
        engine_name: "torch" or "aer".
    """

    explanation: str
    engine_name: str

    @abstractmethod
    def values(self, rows: Tensor, readout: Readout) -> Tensor:
        """⟨O_k⟩ of every row, (K, B)."""

    @abstractmethod
    def jacobian(self, rows: Tensor, readout: Readout, wanted: frozenset[int]) -> Tensor:
        """∂⟨O_k⟩/∂p, (K, B, P); entries of parameters that are not `wanted` may be zero."""


class FactoredCircuit(CircuitEvaluator):
    """A circuit that factors into a known encoder and a weight block; all rows share the values of the weights.

    Args:
        parts: the factors.
        inputs: indices of the inputs among the circuit's parameters, in the order of `parts`.
        weights: indices of the weights.
        engine: "auto", "torch" or "aer".
        device: "cpu" or "cuda".
        precision: "single" or "double".
    """

    def __init__(
        self,
        parts: Factorisation,
        inputs: Sequence[int],
        weights: Sequence[int],
        *,
        engine: str,
        device: str | torch.device,
        precision: str,
    ) -> None:
        self._engine = make_engine(
            engine, parts.suffix, num_columns=parts.num_columns, device=device, precision=precision
        )
        self._encoder = _encoder(parts, len(inputs), self._engine.device, self._engine.dtype)
        self._angles = parts.suffix.angle_map.compile()
        self._inputs, self._weights = indexer(inputs), indexer(weights)
        self._input_set, self._weight_set = frozenset(inputs), frozenset(weights)
        self._operators: Recent[Tensor] = Recent(4)
        self._tangents: Recent[list[Tensor]] = Recent(1)
        self.explanation = parts.explanation
        self.engine_name = self._engine.name

    def values(self, rows: Tensor, readout: Readout) -> Tensor:
        operators = self._coordinates(rows, readout)
        inputs = rows[:, self._inputs]
        return torch.cat([operators @ self._encoder.state(some) for some in self._blocks(inputs)], dim=1)

    def jacobian(self, rows: Tensor, readout: Readout, wanted: frozenset[int]) -> Tensor:
        result = rows.new_zeros(readout.num_outputs, *rows.shape)
        inputs = rows[:, self._inputs]
        if wanted & self._input_set:
            operators = self._coordinates(rows, readout)
            result[:, :, self._inputs] = self._encoder.jacobian(operators, inputs)
        if wanted & self._weight_set:
            result[:, :, self._weights] = self._weight_jacobian(rows, inputs, readout)
        return result

    def _weight_jacobian(self, rows: Tensor, inputs: Tensor, readout: Readout) -> Tensor:
        """(K, B, P'): the values of ∂M_k/∂φ_g, then the chain rule from the angles φ to the weights."""
        states = [self._encoder.state(some) for some in self._blocks(inputs)]
        per_slot = [
            torch.cat([block.flatten(0, 1) @ state for state in states], dim=1).unflatten(0, block.shape[:2]).mT
            for block in self._tangent_blocks(rows, readout)
        ]
        weights = rows[0, self._weights]
        if not per_slot:
            return rows.new_zeros(readout.num_outputs, *rows.shape[:1], len(weights))
        jacobian = per_slot[0] if len(per_slot) == 1 else torch.cat(per_slot, dim=2)
        if self._engine.program.angle_map.plain_indices == list(range(len(weights))):
            return jacobian
        with torch.enable_grad():
            chain = torch.autograd.functional.jacobian(self._angles, weights)
        return jacobian @ chain

    def _coordinates(self, rows: Tensor, readout: Readout) -> Tensor:
        """T at the rows' weights, (K, D); fetched, if the weights and observables are the last ones."""
        weights = rows[0, self._weights]
        key = (weights.cpu().numpy().tobytes(), readout)

        def build() -> Tensor:
            columns = self._engine.evaluate(self._angles(weights))[0]
            return self._encoder.coordinates(readout.hermitian_operators(columns))

        return self._operators.get(key, build)

    def _tangent_blocks(self, rows: Tensor, readout: Readout) -> Iterator[Tensor]:
        """∂T/∂φ_g for blocks of slots, (K, g, D) each; kept if they are few."""
        weights = rows[0, self._weights]
        size = self._engine.program.num_slots * readout.num_outputs * self._encoder.state_size
        if size > 2 * _BLOCK_ELEMENTS:
            return self._built_tangents(weights, readout)
        key = (weights.cpu().numpy().tobytes(), readout)
        return iter(self._tangents.get(key, lambda: list(self._built_tangents(weights, readout))))

    def _built_tangents(self, weights: Tensor, readout: Readout) -> Iterator[Tensor]:
        if not self._engine.program.num_slots:
            return
        columns, tangents = self._engine.derivatives(self._angles(weights))
        applied = readout.applied(columns)
        slots = max(1, _BLOCK_ELEMENTS // (readout.num_outputs * self._encoder.state_size))
        for some in tangents.split(slots):
            # ∂M = ∂W† O W and its adjoint, both of which have the same real coordinates.
            half = torch.matmul(some.mH, applied.unsqueeze(1))
            yield 2 * self._encoder.coordinates(half.flatten(0, 1)).unflatten(0, half.shape[:2])

    def _blocks(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return inputs.split(max(1, _BLOCK_ELEMENTS // self._encoder.state_size))


class EvolvedCircuit(CircuitEvaluator):
    """Any circuit: every row's state is evolved through all of it, gate by gate; derivatives in reverse mode.

    Args:
        circuit: unitary gates only.
        explanation: why it is evaluated so.
        device: "cpu" or "cuda".
        precision: "single" or "double".
    """

    engine_name = "torch"

    def __init__(
        self, circuit: QuantumCircuit, *, explanation: str, device: str | torch.device, precision: str
    ) -> None:
        self._program = program_of(circuit, list(circuit.parameters))
        self._angles = self._program.angle_map.compile()
        self._device, self._dtype = torch.device(device), DTYPES[precision]
        self.explanation = explanation

    def values(self, rows: Tensor, readout: Readout) -> Tensor:
        some = max(1, _BLOCK_ELEMENTS // 2**self._program.num_qubits)
        return torch.cat([self._values(block, readout) for block in rows.split(some)], dim=1)

    def jacobian(self, rows: Tensor, readout: Readout, wanted: frozenset[int]) -> Tensor:
        kept = readout.num_outputs * 2**self._program.num_qubits * len(self._program.operations)
        some = max(1, _BLOCK_ELEMENTS // max(kept, 1))
        return torch.cat([self._jacobian(block, readout) for block in rows.split(some)], dim=1)

    def _values(self, rows: Tensor, readout: Readout) -> Tensor:
        start = torch.zeros(
            len(rows), 2**self._program.num_qubits, dtype=complex_dtype(self._dtype), device=self._device
        )
        start[:, 0] = 1
        return readout.expectations(evolve(self._program, self._angles(rows), start)).T

    def _jacobian(self, rows: Tensor, readout: Readout) -> Tensor:
        """Each observable has its own copy of the rows, so that one reverse pass gives all derivatives."""
        outputs = readout.num_outputs
        with torch.enable_grad():
            copies = rows.repeat(outputs, 1).requires_grad_()
            values = self._values(copies, readout).unflatten(1, (outputs, len(rows)))
            (gradient,) = torch.autograd.grad(values.diagonal(dim1=0, dim2=1).sum(), copies)
        return gradient.view(outputs, *rows.shape)


def evaluator_of(
    circuit: QuantumCircuit,
    inputs: frozenset[int],
    *,
    engine: str,
    device: str | torch.device,
    precision: str,
) -> CircuitEvaluator:
    """The evaluator of a circuit whose parameters with the indices `inputs` differ from row to row.

    Raises:
        ValueError: the circuit is not unitary, or an unknown engine or precision, or a GPU that is not there.
        ImportError: the Aer engine without Aer.
    """
    parameters = list(circuit.parameters)
    varying = sorted(inputs)
    constant = [index for index in range(len(parameters)) if index not in inputs]
    if not varying:
        text = "no parameter varies: the states are evolved one by one"
        return EvolvedCircuit(circuit, explanation=text, device=device, precision=precision)
    parts = factorise(circuit, [parameters[i] for i in varying], [parameters[i] for i in constant])
    if parts.kind == "general":
        instead = "; in torch, not by Aer" if resolve_engine(engine) == "aer" else ""
        return EvolvedCircuit(circuit, explanation=parts.explanation + instead, device=device, precision=precision)
    return FactoredCircuit(parts, varying, constant, engine=engine, device=device, precision=precision)


class _Encoder(ABC):
    """The state that the inputs prepare, and Hermitian operators, in real coordinates: q = F · T.

    Attributes:
        state_size: D, the number of coordinates.
    """

    state_size: int

    @abstractmethod
    def state(self, inputs: Tensor) -> Tensor:
        """F, (D, B)."""

    @abstractmethod
    def coordinates(self, operators: Tensor) -> Tensor:
        """T, (K, D), of the Hermitian parts of operators, (K, d, d)."""

    @abstractmethod
    def jacobian(self, coordinates: Tensor, inputs: Tensor) -> Tensor:
        """∂q/∂inputs, (K, B, I)."""


class _ProductState(_Encoder):
    """A product of single-wire states: F holds the expectation values of all Pauli strings."""

    def __init__(self, parts: Factorisation, num_inputs: int, device: torch.device, dtype: torch.dtype) -> None:
        self._bloch = BlochEncoder.of(parts.prefix, num_inputs, device=device, dtype=dtype)
        self.state_size = 4**parts.prefix.num_qubits

    def state(self, inputs: Tensor) -> Tensor:
        state, *others = self._bloch.bloch(inputs)
        for vector in others:
            state = (state.unsqueeze(1) * vector).flatten(0, 1)
        return state

    def coordinates(self, operators: Tensor) -> Tensor:
        return pauli_coefficients(operators)

    def jacobian(self, coordinates: Tensor, inputs: Tensor) -> Tensor:
        identity = torch.eye(inputs.shape[1], dtype=inputs.dtype, device=inputs.device)
        return self._bloch.value_and_jacobian(inputs, coordinates, identity)[1].transpose(0, 1)


class _TreeState(_Encoder):
    """Real amplitudes ψ from the gate angles of the amplitude tree: F = ψ ψᵀ."""

    def __init__(self, parts: Factorisation, device: torch.device) -> None:
        self._amplitudes = AmplitudeState(parts.num_columns.bit_length() - 1).to(device)
        self._size = parts.num_columns
        self.state_size = parts.num_columns**2

    def state(self, inputs: Tensor) -> Tensor:
        psi = self._amplitudes(inputs).T
        return (psi.unsqueeze(1) * psi).flatten(0, 1)

    def coordinates(self, operators: Tensor) -> Tensor:
        return operators.real.flatten(1)

    def jacobian(self, coordinates: Tensor, inputs: Tensor) -> Tensor:
        # ∂q_k = 2 (T_k ψ)ᵀ ∂ψ; each output has its own copy of the inputs, so that one reverse pass gives them all.
        operators = coordinates.view(-1, self._size, self._size)
        with torch.enable_grad():
            copies = inputs.repeat(len(operators), 1).requires_grad_()
            psi = self._amplitudes(copies)
            cotangent = 2 * torch.bmm(psi.detach().view(len(operators), -1, self._size), operators)
            (gradient,) = torch.autograd.grad(psi, copies, cotangent.flatten(0, 1))
        return gradient.view(len(operators), *inputs.shape)


def _encoder(parts: Factorisation, num_inputs: int, device: torch.device, dtype: torch.dtype) -> _Encoder:
    return _TreeState(parts, device) if parts.kind == "amplitude" else _ProductState(parts, num_inputs, device, dtype)


def indexer(indices: Sequence[int]) -> slice | list[int]:
    """What picks these indices: a slice where they are consecutive, which copies nothing, else a list."""
    if indices and list(indices) == list(range(indices[0], indices[-1] + 1)):
        return slice(indices[0], indices[-1] + 1)
    return list(indices)
