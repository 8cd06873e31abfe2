"""Splitting a QNN circuit into the part that depends on the input and the largest suffix that does not.

During one solve the weights are frozen, so the suffix and the observables together are one fixed operator each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterExpression

from qdeq_qiskit.backends.program import AngleMap, GateProgram, Operation, program_of
from qdeq_qiskit.circuits import amplitude_encoder

EncoderKind = Literal["amplitude", "product", "general"]

# Dense operators of d reachable amplitudes cost about K·d² memory and K·d²·2ⁿ to build. Product states can do without.
DENSE_LIMIT = 512


@dataclass(frozen=True)
class Factorisation:
    """A circuit as prefix, then suffix; the suffix holds weights only.

    Attributes:
        prefix: its parameters are the inputs and then the weights (only a "general" prefix has any weights in it).
        suffix: its parameters are the weights.
        kind: "amplitude": the prefix is `amplitude_encoder`, the inputs its gate angles; "product": single-qubit gates
            alone, none with a weight; "general": anything else.
        num_columns: d, how many basis states the prefix reaches.
        explanation: one sentence for the user on how the circuit is evaluated.
    """

    prefix: GateProgram
    suffix: GateProgram
    kind: EncoderKind
    num_columns: int
    explanation: str


def factorise(
    circuit: QuantumCircuit,
    input_parameters: Sequence[Parameter],
    weight_parameters: Sequence[Parameter],
    *,
    wide_products: bool = False,
    wide_amplitudes: bool = False,
) -> Factorisation:
    """Splits a circuit and recognises its encoder.

    Args:
        circuit: unitary gates only.
        input_parameters: the parameters that vary from sample to sample.
        weight_parameters: all others.
        wide_products: whether a product-state encoder is wanted as one also where operators would be too large.
        wide_amplitudes: the same of the amplitude encoder.

    Raises:
        ValueError: the circuit is not unitary, or has a parameter that is in neither list.
    """
    whole = program_of(circuit, [*input_parameters, *weight_parameters])
    prefix_operations, suffix_operations = split_at_inputs(whole, set(input_parameters))
    prefix = _restrict(whole, prefix_operations, [*input_parameters, *weight_parameters])
    suffix = _restrict(whole, suffix_operations, list(weight_parameters))
    qubits = circuit.num_qubits
    if (width := _amplitude_width(prefix, len(input_parameters))) is not None:
        if 2**width <= DENSE_LIMIT or wide_amplitudes:
            text = f"amplitude encoder on {width} wires: one {2**width}×{2**width} operator for each observable"
            if 2**width > DENSE_LIMIT:
                text = f"amplitude encoder on {width} wires: every sample's state through the fused weight block, once"
            return Factorisation(prefix, suffix, "amplitude", 2**width, text)
    elif _is_product(prefix, set(weight_parameters)) and (wide_products or 2**qubits <= DENSE_LIMIT):
        text = f"product-state encoder: one operator on {qubits} qubits for each observable"
        if 2**qubits > DENSE_LIMIT:
            text = f"product-state encoder on {qubits} qubits: every sample's state through the fused weight block"
        return Factorisation(prefix, suffix, "product", 2**qubits, text)
    if 2**qubits > DENSE_LIMIT:
        text = (
            f"{qubits} qubits are too many for dense operators (limit: {DENSE_LIMIT} amplitudes): "
            "every sample's state is evolved through the whole circuit, gate by gate, at every evaluation, which takes "
            f"about {8 * 2**qubits * len(whole.operations):.0e} operations each time"
        )
        nothing = GateProgram(qubits, (), AngleMap(tuple(weight_parameters), ()))
        return Factorisation(whole, nothing, "general", 2**qubits, text)
    weighted = any(expression.parameters & set(weight_parameters) for expression in prefix.angle_map.expressions)
    text = (
        f"the circuit does not factor into a known encoder and a weight block: {len(prefix.operations)} of its "
        f"{len(whole.operations)} gates{' (some with weights: data re-uploading)' if weighted else ''} are evolved "
        "for every sample at every evaluation"
    )
    return Factorisation(prefix, suffix, "general", 2**qubits, text)


def split_at_inputs(program: GateProgram, inputs: set[Parameter]) -> tuple[list[Operation], list[Operation]]:
    """Walks back from the end: an operation is in the suffix if nothing that depends on inputs comes after it."""
    blocked: set[int] = set()
    prefix: list[Operation] = []
    suffix: list[Operation] = []
    for operation in reversed(program.operations):
        uses_input = operation.slot is not None and bool(_parameters(program, operation) & inputs)
        if uses_input or blocked.intersection(operation.wires):
            blocked.update(operation.wires)
            prefix.append(operation)
        else:
            suffix.append(operation)
    return prefix[::-1], suffix[::-1]


def _parameters(program: GateProgram, operation: Operation) -> set[Parameter]:
    assert operation.slot is not None
    return set(program.angle_map.expressions[operation.slot].parameters)


def _restrict(program: GateProgram, operations: list[Operation], parameters: list[Parameter]) -> GateProgram:
    """The program of some of the operations, its slots counted anew."""
    renumbered: list[Operation] = []
    expressions: list[ParameterExpression] = []
    for operation in operations:
        slot = None
        if operation.slot is not None:
            slot = len(expressions)
            expressions.append(program.angle_map.expressions[operation.slot])
        renumbered.append(Operation(operation.name, operation.wires, slot, operation.matrix))
    return GateProgram(program.num_qubits, tuple(renumbered), AngleMap(tuple(parameters), tuple(expressions)))


def _amplitude_width(prefix: GateProgram, num_inputs: int) -> int | None:
    """m if the prefix is `amplitude_encoder` on the last m wires with the inputs as its angles in order, else None."""
    width = (num_inputs + 1).bit_length() - 1
    if num_inputs != 2**width - 1 or not 1 <= width <= prefix.num_qubits:
        return None
    if prefix.angle_map.plain_indices != list(range(num_inputs)):
        return None
    tree = amplitude_encoder(prefix.num_qubits, 2**width)
    return width if program_of(tree, list(tree.parameters)).operations == prefix.operations else None


def _is_product(prefix: GateProgram, weights: set[Parameter]) -> bool:
    single = all(len(operation.wires) == 1 for operation in prefix.operations)
    return single and not any(expression.parameters & weights for expression in prefix.angle_map.expressions)
