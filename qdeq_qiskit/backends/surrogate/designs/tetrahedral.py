r"""Every wire in one of four states whose Bloch vectors are a regular tetrahedron's corners.

Their 4ᵐ products span all operators on m wires, and no set of product states determines them with less variance at
equal cost: with corners s, a state with Bloch vector r is :math:`\sum_s (1 + 3\, s·r)/4\, ρ_s` (Řeháček, Englert,
Kaszlikowski, quant-ph/0405084).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import ClassVar, final

import numpy as np
from qiskit import QuantumCircuit

from qdeq_qiskit.backends.surrogate.designs._design import Edge, Preparations, ProbeDesign

# The corners as (θ, φ): one at the pole, three around it.
_POLAR = 2 * np.arcsin(np.sqrt(2 / 3))
_CORNERS = ((0.0, 0.0), (_POLAR, 0.0), (_POLAR, 2 * np.pi / 3), (_POLAR, -2 * np.pi / 3))


@final
class TetrahedralDesign(ProbeDesign):
    """4ᵐ product states, one circuit without any two-qubit gate."""

    name: ClassVar[str] = "tetrahedral"

    def count(self, num_wires: int) -> int:
        return int(4**num_wires)

    def preparations(self, num_wires: int, edges: Iterable[Edge]) -> tuple[Preparations, ...]:
        angles = np.array([np.ravel(corners) for corners in product(_CORNERS, repeat=num_wires)])
        return (Preparations(angles, QuantumCircuit(num_wires)),)
