"""What every probe design is: states in which a processor is prepared, so that values tell the operators behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit

Edge = tuple[int, int]
"""Two wires that a gate can join."""


@dataclass(frozen=True, eq=False)
class Preparations:
    """States that one circuit prepares, N of them: RY(θ), then RZ(φ) on each of m wires in |0⟩, then fixed gates.

    Attributes:
        angles: θ and φ of wire 0, then of wire 1, …, in radians, (N, 2m).
        entangler: the fixed gates, on m wires; empty for product states.
    """

    angles: NDArray[np.float64] = field(repr=False)
    entangler: QuantumCircuit

    @property
    def num_wires(self) -> int:
        """m."""
        return self.entangler.num_qubits


class ProbeDesign(ABC):
    """A set of preparations whose values determine Re M for every observable M.

    Attributes:
        name: how recipes and commands call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def count(self, num_wires: int) -> int:
        """How many preparations there are on m wires.

        Raises:
            SurrogateError: there is no such design on so many wires.
        """

    @abstractmethod
    def preparations(self, num_wires: int, edges: Iterable[Edge]) -> tuple[Preparations, ...]:
        """All of them, one entry for each circuit.

        Args:
            num_wires: m.
            edges: the pairs of wires that two-qubit gates can join, in either order.

        Raises:
            SurrogateError: there is no such design on so many wires, or the wires are not connected.
        """
