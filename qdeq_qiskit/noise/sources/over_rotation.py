"""Coherent over-rotation."""

from __future__ import annotations

from functools import reduce
from typing import Literal, final

import numpy as np
from pydantic import Field

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.sources._source import BySize

# The last letter is the gate's first qubit: the control of cx is its first, and ecr is built from rzx.
_AXES = {
    **dict.fromkeys(("x", "sx", "sxdg", "rx"), "X"),
    **dict.fromkeys(("y", "ry"), "Y"),
    **dict.fromkeys(("z", "s", "sdg", "t", "tdg", "p", "u1", "rz"), "Z"),
    **dict.fromkeys(("cz", "cp", "rzz"), "ZZ"),
    **dict.fromkeys(("cx", "ecr", "rzx"), "XZ"),
    **{"cy": "YZ", "rxx": "XX", "ryy": "YY"},
}
_LARGEST = 1e6
_CONTROLLED = {"crx": "X", "cry": "Y", "crz": "Z"}


@final
class OverRotation(BySize):
    r"""Every gate turns about its own axis by a fixed angle ε more: \(\exp(-i ε G / 2)\) after the gate.

    ε is added to the gate's angle, so what turns by a negative one (sdg is rz(−π/2), sxdg is rx(−π/2)) turns less. G is
    the Pauli of the gate (X for sx, Z ⊗ Z for cz, Z on the control and X on the target for cx and ecr); for h it is
    (X + Z)/√2, and for controlled rotations |1⟩⟨1| ⊗ P.
    """

    kind: Literal["over_rotation"] = "over_rotation"
    one_qubit: float | None = Field(
        default=None, description="ε after gates of one qubit, in radians; null: they have no error."
    )
    two_qubit: float | None = Field(
        default=None, description="ε after gates of two qubits, in radians; null: they have no error."
    )

    def error(self, name: str, num_qubits: int, scale: float) -> np.ndarray | None:
        angle = self.strength(num_qubits)
        if angle is None:
            return None
        return channels.rotation(_axis(name), angle * scale)

    def check_scale(self, scale: float) -> None:
        for key in ("one_qubit", "two_qubit"):
            angle = getattr(self, key) or 0.0
            if not abs(angle * scale) <= _LARGEST:  # of a larger number, cosine and sine are rounding errors
                raise ValueError(f"{key} is {angle:g} rad, scaled by {scale:g}; expected at most {_LARGEST:g} rad")

    def describe(self) -> str:
        return f"over-rotation ({self.strengths()} rad)"


def _axis(name: str) -> np.ndarray:
    """G of a gate, with eigenvalues −1, 0 and 1; Qiskit's qubit order."""
    if name == "id":
        return np.zeros((2, 2))
    if name == "h":
        return (channels.PAULIS["X"] + channels.PAULIS["Z"]) / np.sqrt(2)
    if name in _CONTROLLED:
        return np.kron(channels.PAULIS[_CONTROLLED[name]], np.diag([0.0, 1.0]))
    if name not in _AXES:
        known = ", ".join([*_AXES, "h", *_CONTROLLED])
        raise ValueError(
            f"over_rotation: gate {name!r} has no axis of its own to turn about; compile the circuit to some of "
            f"{known}, or name {name!r} in virtual"
        )
    return reduce(np.kron, [channels.PAULIS[letter] for letter in _AXES[name]])
