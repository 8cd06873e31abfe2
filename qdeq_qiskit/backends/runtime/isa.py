r"""What a processor's gates can do: checked, or made so, before anything is submitted.

A fractional :math:`R_{zz}(θ)` is calibrated for θ from 0 to π/2. Any other angle is folded into that range:

.. math::
    R_{zz}(θ + π) &≅ R_{zz}(θ)\,(Z ⊗ Z), \\
    R_{zz}(π - θ) &≅ (X ⊗ 1)\,R_{zz}(θ)\,(Z ⊗ Z)\,(X ⊗ 1),

up to a phase. The gates beside it are rotations by 0 or π, row by row, so that all rows stay in one circuit; they are
left out where no row needs them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Parameter, ParameterVector
from qiskit.circuit.library import RXGate, RZGate, RZZGate
from qiskit.transpiler import Target

from qdeq_qiskit.backends.runtime.errors import ProcessorError
from qdeq_qiskit.noise.compiled_gates import Location, circuit_gates

_SHARED = ParameterVector("fold", 0)  # a name that comes after that of other parameters
_INSTRUCTIONS = {"rz": 1, "delay": 1}
_ONE_QUBIT, _TWO_QUBITS, _MEASURE, _INIT = 2, 5, 10, 50
# An angle that is outside by rounding alone is put on the edge, as that costs no gate.
_ROUNDING = 1e-9


def check_gates(circuit: QuantumCircuit, physical: tuple[int, ...], target: Target, name: str) -> None:
    """Raises ProcessorError if the processor has not all of a circuit's gates where they are.

    Args:
        circuit: on n wires.
        physical: the processor's qubit of each wire.
        target: the whole processor.
        name: the processor's.
    """
    missing = sorted(
        f"{gate} on qubits {qubits}"
        for gate, qubits in _on_processor(circuit, physical)
        if not _has(target, gate, qubits)
    )
    if missing:
        raise ProcessorError(
            f"{name} has no {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}, which the compiled circuit "
            "uses: its calibration may have changed since; compile it anew (a solve that was begun waits "
            "until they are back, or is given up by `qdeq cancel`, and submitted anew)"
        )
    if any(gate == "rzz" for gate, _ in circuit_gates(circuit)) and "rx" not in target.operation_names:
        raise ProcessorError(
            f"{name} has rzz, for angles from 0 to π/2, and no rx with which others are folded into that range; set "
            "fractional_gates: false"
        )


def control_instructions(circuit: QuantumCircuit, *, noise_factor: float = 1.0) -> int:
    """The most instructions that the control system has for one qubit in one execution, by IBM's count.

    The count is that of the limits of jobs (https://quantum.cloud.ibm.com/docs/guides/job-limits).

    Args:
        circuit: in native gates, without measurements, which are added to the count.
        noise_factor: how many times two-qubit gates are there, on average over circuits.
    """
    counts = np.full(circuit.num_qubits, float(_INIT + _MEASURE))
    for instruction in circuit.data:
        wires = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        if instruction.operation.name == "barrier":
            continue
        counts[wires] += (
            _INSTRUCTIONS.get(instruction.operation.name, _ONE_QUBIT) if len(wires) == 1 else noise_factor * _TWO_QUBITS
        )
    return math.ceil(counts.max())


def fold_angles(circuit: QuantumCircuit, rows: np.ndarray) -> tuple[QuantumCircuit, np.ndarray]:
    """An equal circuit whose rzz angles are in [0, π/2] at all rows.

    Args:
        circuit: its parameters plain, that of an rzz in no other gate.
        rows: angles of the parameters, (N, G), in radians.

    Returns:
        The circuit, with more parameters after those that were there, and its rows, (N, G + more); what was given where
        no angle is out of the range.
    """
    places = {parameter: column for column, parameter in enumerate(circuit.parameters)}
    rows, more = rows.copy(), list[np.ndarray]()
    folded = circuit.copy_empty_like()
    for instruction in circuit.data:
        if instruction.operation.name != "rzz":
            folded.append(instruction)
            continue
        angle = instruction.operation.params[0]
        column = places.get(angle) if isinstance(angle, Parameter) else None
        around, inside = _fold(np.full(len(rows), float(angle)) if column is None else rows[:, column])
        if column is not None:
            rows[:, column] = inside
        free = [_parameter(len(more) + place) for place in range(len(around))]
        more += around.values()
        _append_folded(
            folded, instruction, angle if column is not None else inside[0], dict(zip(around, free, strict=True))
        )
    return folded, np.column_stack([rows, *more])


def _fold(angles: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Angles of rz and rx beside an rzz, where any row needs them, and the rzz's own; all (N,)."""
    close = np.minimum(np.abs(angles), np.abs(angles - np.pi / 2)) < _ROUNDING
    angles = np.where(close, np.clip(angles, 0, np.pi / 2), angles)
    inside = (angles >= 0) & (angles <= np.pi / 2)
    turned = np.mod(angles + np.pi / 2, 2 * np.pi) >= np.pi
    mirrored = np.mod(angles, np.pi) >= np.pi / 2
    beside = {"rz": np.where(turned & ~inside, np.pi, 0.0), "rx": np.where(mirrored & ~inside, np.pi, 0.0)}
    folded = np.where(inside, angles, np.pi / 2 - np.abs(np.mod(angles, np.pi) - np.pi / 2))
    return {name: values for name, values in beside.items() if values.any()}, folded


def _append_folded(
    circuit: QuantumCircuit, rzz: CircuitInstruction, angle: float | Parameter, around: dict[str, Parameter]
) -> None:
    if "rz" in around:
        for qubit in rzz.qubits:
            circuit.append(RZGate(around["rz"]), [qubit])
    if "rx" in around:
        circuit.append(RXGate(around["rx"]), [rzz.qubits[0]])
    circuit.append(RZZGate(angle), rzz.qubits)
    if "rx" in around:
        circuit.append(RXGate(around["rx"]), [rzz.qubits[0]])


def _parameter(index: int) -> Parameter:
    """One of those that all folded circuits have in common; see `estimation.with_shared_parameters`."""
    if len(_SHARED) <= index:
        _SHARED.resize(index + 1)
    return _SHARED[index]


def _on_processor(circuit: QuantumCircuit, physical: tuple[int, ...]) -> Iterator[Location]:
    for name, wires in circuit_gates(circuit):
        yield name, tuple(physical[wire] for wire in wires)


def _has(target: Target, name: str, qubits: tuple[int, ...]) -> bool:
    return name in target.operation_names and (target[name] is None or qubits in target[name] or None in target[name])
