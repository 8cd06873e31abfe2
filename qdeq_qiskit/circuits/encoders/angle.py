"""Angle encoding: every input is the angle of one rotation; the state is a product of single-qubit states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self, final

from pydantic import Field, model_validator
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from .._limits import check_gates
from .._registry import unknown_name
from ._encoder import Encoder, EncoderRecipe

AXES = ("rx", "ry", "rz")


def angle_encoder(num_qubits: int, gates: Sequence[tuple[str, int]]) -> QuantumCircuit:
    """A circuit of single-qubit rotations, gate j driven by input x[j].

    Args:
        num_qubits: n, the number of wires.
        gates: (axis, wire) of each rotation in the order of application; axis is 'rx', 'ry' or 'rz'. A wire may have
            several gates, about any axes, or none.

    Returns:
        n qubits, parameters x[0], ..., x[len(gates) - 1].

    Raises:
        ValueError: for an unknown axis, a wire that is not there, or no gates.
    """
    if num_qubits < 1:
        raise ValueError(f"angle_encoder: num_qubits must be at least 1, not {num_qubits}")
    if not gates:
        raise ValueError("angle_encoder: gates is empty; an encoder needs at least one (axis, wire)")
    x = ParameterVector("x", len(gates))
    circuit = QuantumCircuit(num_qubits, name="angle encoder")
    for j, (axis, wire) in enumerate(gates):
        if axis not in AXES:
            raise ValueError(unknown_name(f"angle_encoder: axis of gate {j}", axis, AXES))
        if not 0 <= wire < num_qubits:
            raise ValueError(f"angle_encoder: wire of gate {j} is {wire}; the wires are 0 to {num_qubits - 1}")
        getattr(circuit, axis)(x[j], wire)
    return circuit


def ryzxy_gates(num_qubits: int) -> list[tuple[str, int]]:
    """RY on every wire, then RZ, RX and RY: 4n inputs, input j on wire j mod n.

    The paper's encoder at n = 4 (16 inputs).
    """
    return [(axis, wire) for axis in ("ry", "rz", "rx", "ry") for wire in range(num_qubits)]


def alternating_gates(num_qubits: int, inputs_per_wire: int | None = None) -> list[tuple[str, int]]:
    """Inputs laid out wire by wire, the axes of a wire alternating RY, RZ, RX, RY, ...: every input acts.

    Input i drives wire ⌊i / inputs_per_wire⌋. Mind what this encoder cannot do: a product state carries two angles
    a wire, so at n = 10 with ten inputs a wire 100 inputs become 20 numbers, whatever the axes are.

    Args:
        num_qubits: n, the number of wires.
        inputs_per_wire: rotations on each wire; n if None, so n² inputs (100 at n = 10).

    Raises:
        ValueError: if `inputs_per_wire` is not positive.
    """
    per_wire = num_qubits if inputs_per_wire is None else inputs_per_wire
    if per_wire < 1:
        raise ValueError(f"alternating_gates: inputs_per_wire must be at least 1, not {per_wire}")
    cycle = ("ry", "rz", "rx")
    return [(cycle[j % 3], wire) for wire in range(num_qubits) for j in range(per_wire)]


def paper10_gates() -> list[tuple[str, int]]:
    """The 10-qubit encoder of the paper's code, for reproduction: 100 inputs, input i on wire ⌊i / 10⌋.

    All ten gates of a wire turn about one axis (RY on wires 0, 3, 6, 9; RX on 1, 4, 7; RZ on 2, 5, 8), so only their
    sum matters, and RZ does nothing to |0⟩: 100 inputs become 7 numbers. Prefer `alternating_gates`.
    """
    cycle = ("ry", "rx", "rz")
    return [(cycle[wire % 3], wire) for wire in range(10) for _ in range(10)]


@final
class AngleEncoderRecipe(EncoderRecipe):
    """Angle encoding: a preset, or the gates one by one."""

    kind: Literal["angle"] = "angle"
    preset: Literal["ryzxy", "alternating", "paper10"] | None = Field(
        default=None, description="A named layout: ryzxy, alternating or paper10; leave out if `gates` is given."
    )
    inputs_per_wire: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Rotations on each wire for the preset 'alternating'; the number of qubits if absent."
    )
    gates: tuple[tuple[Literal["rx", "ry", "rz"], Annotated[int, Field(ge=0)]], ...] | None = Field(
        default=None, description="The rotations in order, each [axis, wire]; leave out if `preset` is given."
    )

    @model_validator(mode="after")
    def _one_layout(self) -> Self:
        if (self.preset is None) == (self.gates is None):
            raise ValueError("an angle encoder needs either `preset` or `gates`, and not both")
        if self.inputs_per_wire is not None and self.preset != "alternating":
            raise ValueError("`inputs_per_wire` belongs to the preset 'alternating' only")
        return self

    def build(self, num_qubits: int) -> Encoder:
        if self.gates is not None:
            return Encoder(angle_encoder(num_qubits, self.gates))
        if self.preset == "paper10" and num_qubits != 10:
            raise ValueError(f"the angle preset 'paper10' is for 10 qubits, not {num_qubits}; see 'alternating'")
        per_wire = (self.inputs_per_wire or num_qubits) if self.preset == "alternating" else 4
        check_gates("the angle encoder", num_qubits * per_wire, "take fewer num_qubits or inputs_per_wire")
        layouts: dict[str | None, Callable[[], list[tuple[str, int]]]] = {
            "ryzxy": lambda: ryzxy_gates(num_qubits),
            "alternating": lambda: alternating_gates(num_qubits, self.inputs_per_wire),
            "paper10": paper10_gates,
        }
        return Encoder(angle_encoder(num_qubits, layouts[self.preset]()))
