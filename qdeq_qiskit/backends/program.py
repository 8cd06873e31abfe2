r"""Circuits as the exact engines read them: fixed unitaries, and rotations with one free angle each.

Every parameterised gate occurrence becomes a *slot* of its own, \(U = \exp(-i φ H / 2)\) with a generator H whose
eigenvalues are −1, 0 and 1, so that

.. math:: U(φ) = (1 - H^2) + \cos(φ/2)\, H^2 - i \sin(φ/2)\, H .

The angles φ are torch functions of the circuit's parameters, so expressions such as 2·θ or (π − x₀)(π − x₁) are
differentiated by autograd, and no engine ever binds an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ControlledGate, Gate, Instruction, Parameter, ParameterExpression
from qiskit.quantum_info import Operator
from torch import Tensor

from qdeq_qiskit.backends.constant import Constant

PAULIS = {
    "i": np.eye(2, dtype=complex),
    "x": np.array([[0, 1], [1, 0]], dtype=complex),
    "y": np.array([[0, -1j], [1j, 0]]),
    "z": np.diag([1.0 + 0j, -1.0]),
}

# Qiskit's rzx(θ) = exp(−iθ/2 Z⊗X) acts with Z on its first qubit; a controlled rotation's generator is |1⟩⟨1| ⊗ P.
_PAULI_ROTATIONS = {"rx": "x", "ry": "y", "rz": "z", "rxx": "xx", "ryy": "yy", "rzz": "zz", "rzx": "zx"}
_CONTROLLED_ROTATIONS = {"crx": "x", "cry": "y", "crz": "z"}
# A phase gate is an RZ up to a global phase, which no expectation value sees.
_RENAMED = {"p": "rz", "u1": "rz"}
_FIXED_BASIS = ["id", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx", "sxdg", "cx", "cy", "cz", "swap"]
_BASIS = [*_PAULI_ROTATIONS, *_CONTROLLED_ROTATIONS, *_FIXED_BASIS]


@cache
def generator(name: str) -> np.ndarray:
    """H of the rotation `name`, wires in the order of the gate's qubits, the first one most significant.

    Raises:
        KeyError: `name` is not a rotation that programs use.
    """
    if name in _CONTROLLED_ROTATIONS:
        return np.kron(np.diag([0.0, 1.0]), PAULIS[_CONTROLLED_ROTATIONS[name]])
    matrix = np.eye(1)
    for pauli in _PAULI_ROTATIONS[_RENAMED.get(name, name)]:
        matrix = np.kron(matrix, PAULIS[pauli])
    return matrix


@dataclass(frozen=True)
class Operation:
    """One unitary on some wires; `wires[0]` is the most significant factor of its matrix.

    Attributes:
        name: gate name, as in Qiskit; "delay" for a wire that waits.
        wires: the wires it acts on.
        slot: index of its angle, for a rotation; None for a fixed unitary.
        matrix: the fixed unitary (the identity for a delay), or None for a rotation.
        duration: how long it takes, in seconds, where a noise model must be told: for a delay. None for a gate, whose
            duration its name and qubits say.
    """

    name: str
    wires: tuple[int, ...]
    slot: int | None = None
    matrix: np.ndarray | None = field(default=None, compare=False)
    duration: float | None = None

    @property
    def qubits(self) -> tuple[int, ...]:
        """Its wires in the order in which Qiskit gives the gate its qubits."""
        return self.wires if self.slot is not None else self.wires[::-1]

    @property
    def num_shifts(self) -> int:
        """How many shifted circuits give the derivative by its angle: two a difference of generator eigenvalues."""
        if self.slot is None:
            return 0
        return 4 if self.name in _CONTROLLED_ROTATIONS else 2


@dataclass(frozen=True)
class AngleMap:
    """The angles φ (one a slot) as a torch function of the values of `parameters`.

    Attributes:
        parameters: in the order of the values' last axis, P of them.
        expressions: one a slot, each in some of `parameters`.
    """

    parameters: tuple[Parameter, ...]
    expressions: tuple[ParameterExpression, ...]

    @property
    def plain_indices(self) -> list[int] | None:
        """For each slot the parameter that it is, or None if any slot is an expression of parameters."""
        position = {parameter: index for index, parameter in enumerate(self.parameters)}
        indices = [position.get(expression) for expression in self.expressions]
        return None if any(index is None for index in indices) else indices  # type: ignore[return-value]

    def affine(self) -> tuple[np.ndarray, np.ndarray] | None:
        """A, (G, P), and b, (G,), such that φ = A·values + b; None if any angle is no affine function."""
        position = {parameter: index for index, parameter in enumerate(self.parameters)}
        matrix, offset = np.zeros((len(self.expressions), len(self.parameters))), np.zeros(len(self.expressions))
        for row, expression in enumerate(self.expressions):
            terms = _affine_terms(expression)
            if terms is None:
                return None
            offset[row] = terms[1]
            for parameter, slope in terms[0].items():
                matrix[row, position[parameter]] = slope
        return matrix, offset

    def compile(self) -> Callable[[Tensor], Tensor]:
        """A differentiable function from parameter values, (..., P), to angles, (..., G)."""
        plain = self.plain_indices
        if plain == list(range(len(self.parameters))):
            return _Same()
        if plain is not None:
            return _Picked(Constant(torch.tensor(plain, dtype=torch.long)))
        affine = self.affine()
        if affine is not None:
            return affine_function(*affine)
        return _Evaluated(tuple(_TorchFunction(expression, self.parameters) for expression in self.expressions))


def affine_function(matrix: np.ndarray, offset: np.ndarray) -> Callable[[Tensor], Tensor]:
    """values, (..., P) → values·Aᵀ + b, (..., G), differentiable; `matrix` is A, (G, P), `offset` b, (G,)."""
    if matrix.shape[1] and (np.count_nonzero(matrix, axis=1) <= 1).all():
        # Usually an angle has one parameter: to pick it is faster, and exact where a sum of products is not.
        column = np.abs(matrix).argmax(axis=1)
        slopes = np.take_along_axis(matrix, column[:, None], axis=1)[:, 0]
        return _Stretched(*(Constant(torch.from_numpy(each)) for each in (column, slopes, offset.copy())))
    return _Affine(*(Constant(torch.from_numpy(each.copy())) for each in (matrix.T, offset)))


# Functions of parameter values, (..., P), to angles, (..., G): classes, so that layers that hold them can be pickled.


class _Same:
    def __call__(self, values: Tensor) -> Tensor:
        return values


@dataclass(frozen=True, eq=False)
class _Picked:
    index: Constant

    def __call__(self, values: Tensor) -> Tensor:
        return values.index_select(-1, self.index.on(values.device))


@dataclass(frozen=True, eq=False)
class _Stretched:
    """One parameter an angle."""

    index: Constant
    slopes: Constant
    shift: Constant

    def __call__(self, values: Tensor) -> Tensor:
        picked = values.index_select(-1, self.index.on(values.device))
        return picked * self.slopes.like(values) + self.shift.like(values)


@dataclass(frozen=True, eq=False)
class _Affine:
    transposed: Constant
    shift: Constant

    def __call__(self, values: Tensor) -> Tensor:
        return values @ self.transposed.like(values) + self.shift.like(values)


@dataclass(frozen=True, eq=False)
class _Evaluated:
    """Each angle by a function of its own, from values, (..., P), to (...)."""

    functions: tuple[_TorchFunction, ...]

    def __call__(self, values: Tensor) -> Tensor:
        return torch.stack([function(values) for function in self.functions], dim=-1)


@dataclass(frozen=True)
class GateProgram:
    """A circuit on `num_qubits` wires: `operations` in the order they act, angles given by `angle_map`."""

    num_qubits: int
    operations: tuple[Operation, ...]
    angle_map: AngleMap

    @property
    def num_slots(self) -> int:
        """Number of parameterised gate occurrences, G."""
        return len(self.angle_map.expressions)

    @property
    def slots(self) -> list[Operation]:
        """The parameterised operations, in the order of their slots."""
        return [operation for operation in self.operations if operation.slot is not None]


def program_of(circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> GateProgram:
    """Translates a circuit.

    Args:
        circuit: unitary gates, parameterised or not; barriers are dropped, the global phase is ignored.
        parameters: all of the circuit's parameters, in the order in which values will be given.

    Raises:
        ValueError: the circuit measures, resets or branches, or has a parameter that is not in `parameters`.
    """
    missing = [parameter.name for parameter in circuit.parameters if parameter not in set(parameters)]
    if missing:
        raise ValueError(
            f"circuit {circuit.name!r} has parameters {missing} that are neither inputs nor weights; "
            "name each of them in input_params or weight_params"
        )
    operations: list[Operation] = []
    expressions: list[ParameterExpression] = []
    for name, angle, qubits, gate in instructions_of(in_basis(circuit)):
        if angle is None:
            # Qiskit's matrices count the first qubit as the least significant one.
            operations.append(Operation(name, tuple(reversed(qubits)), matrix=Operator(gate).data))
        else:
            operations.append(Operation(name, qubits, slot=len(expressions)))
            expressions.append(angle)
    return GateProgram(circuit.num_qubits, tuple(operations), AngleMap(tuple(parameters), tuple(expressions)))


def instructions_of(
    circuit: QuantumCircuit,
) -> Iterator[tuple[str, ParameterExpression | None, tuple[int, ...], Instruction]]:
    """(name, angle or None, qubit indices, gate) of every instruction but barriers."""
    for instruction in circuit.data:
        gate = instruction.operation
        name = _RENAMED.get(gate.name, gate.name)
        if name == "barrier":
            continue
        qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        yield name, angle_of(gate), qubits, gate


def angle_of(gate: Instruction) -> ParameterExpression | None:
    free = [value for value in gate.params if isinstance(value, ParameterExpression) and value.parameters]
    return free[0] if free else None


def in_basis(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit with every parameterised gate a rotation that has a generator here."""
    if not all(_is_ready(name, angle, gate) for name, angle, _, gate in instructions_of(circuit)):
        circuit = transpile(circuit, basis_gates=_BASIS, optimization_level=0)
    for _, _, _, gate in instructions_of(circuit):
        if not isinstance(gate, Gate):
            raise ValueError(
                f"circuit {circuit.name!r} has a {gate.name!r}, which is not a unitary gate; "
                "exact backends take circuits without measurements, resets and classical control"
            )
    return circuit


def _is_ready(name: str, angle: ParameterExpression | None, gate: Instruction) -> bool:
    """Whether an instruction can stand in a program as it is."""
    if not isinstance(gate, Gate):
        return gate.definition is None  # a wrapped circuit is unrolled; what cannot be is refused afterwards
    if angle is None:
        return True
    closed = not isinstance(gate, ControlledGate) or gate.ctrl_state == 2**gate.num_ctrl_qubits - 1
    return closed and (name in _PAULI_ROTATIONS or name in _CONTROLLED_ROTATIONS)


def _affine_terms(expression: ParameterExpression) -> tuple[dict[Parameter, float], float] | None:
    """The slopes by parameter and the constant of an affine expression; None if it is not one, or not real."""
    try:
        # The derivative of an affine expression comes out as a plain number.
        slopes = {parameter: expression.gradient(parameter) for parameter in expression.parameters}
        if any(isinstance(slope, ParameterExpression) for slope in slopes.values()):
            return None
        constant = expression.bind(dict.fromkeys(expression.parameters, 0.0)).numeric()
        return {parameter: float(slope) for parameter, slope in slopes.items()}, float(constant)
    except (RuntimeError, TypeError, ValueError):  # sign has no derivative, a complex number is no angle
        return None


class _TorchFunction:
    """An expression as a torch function of parameter values, (..., P); pickled as the expression.

    Args:
        expression: in some of the parameters.
        parameters: in the order of the values.
    """

    def __init__(self, expression: ParameterExpression, parameters: tuple[Parameter, ...]) -> None:
        import sympy

        own = sorted(expression.parameters, key=parameters.index)
        symbols = [parameter.sympify() for parameter in own]
        # sympy writes sign(p) with branches, which a batch cannot take.
        formula = expression.sympify().replace(sympy.sign, sympy.Function("sign_of"))
        self._given = expression, parameters
        self._index = [parameters.index(parameter) for parameter in own]
        self._function = sympy.lambdify(symbols, formula, modules=[_TORCH_NAMES])

    def __call__(self, values: Tensor) -> Tensor:
        result = self._function(*(values[..., i] for i in self._index))
        # What does not depend on its parameters after all, such as 0·p, comes out as a number.
        return result if isinstance(result, Tensor) else values.new_full(values.shape[:-1], float(result))

    def __deepcopy__(self, memo: dict[int, Any]) -> _TorchFunction:
        """Itself, which nothing changes."""
        return self

    def __reduce__(self) -> tuple[type[_TorchFunction], tuple[ParameterExpression, tuple[Parameter, ...]]]:
        return _TorchFunction, self._given


_TORCH_NAMES = {
    **{name: getattr(torch, name) for name in ("sin", "cos", "tan", "exp", "log", "asin", "acos", "atan")},
    "Abs": torch.abs,
    "sign_of": torch.sign,
    "conjugate": lambda value: value,  # parameters are real
    "pi": float(np.pi),
}
