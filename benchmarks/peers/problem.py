"""What all peers compute, as plain data: gates by name, so that an interpreter without Qiskit can read it, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

Encoding = Literal["amplitude", "angle"]


class Gate(NamedTuple):
    """One gate.

    Attributes:
        name: Qiskit's: rx, ry, rz, crx, cx, h or sx.
        wires: control first.
        index: of the input or the weight that turns it; None for a fixed gate.
    """

    name: str
    wires: tuple[int, ...]
    index: int | None


@dataclass(frozen=True)
class Problem:
    """The paper's circuit on n qubits: q_k(v; θ) = ⟨Z_k⟩, k = 0, ..., n - 1.

    Attributes:
        encoding: "amplitude": v / ‖v‖, padded with zeros, wire 0 the most significant bit; "angle": the gates of
            `encoder`.
        num_qubits: n.
        num_features: d.
        num_weights: P.
        encoder: the rotations that the features turn; empty for amplitude encoding.
        ansatz: the gates after it, turned by the weights or fixed.
    """

    encoding: Encoding
    num_qubits: int
    num_features: int
    num_weights: int
    encoder: tuple[Gate, ...]
    ansatz: tuple[Gate, ...]

    def plain(self) -> dict[str, Any]:
        """In lists and numbers alone, for another interpreter."""
        gates = {"encoder": [list(gate) for gate in self.encoder], "ansatz": [list(gate) for gate in self.ansatz]}
        numbers = (self.encoding, self.num_qubits, self.num_features, self.num_weights)
        return {"numbers": list(numbers), **gates}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """The opposite of `plain`."""
        encoder, ansatz = (
            tuple(Gate(name, tuple(wires), index) for name, wires, index in plain[part])
            for part in ("encoder", "ansatz")
        )
        return cls(*plain["numbers"], encoder, ansatz)
