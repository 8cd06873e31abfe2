r"""Real mutually unbiased bases of stabiliser states.

On an even number m of wires the Pauli strings with an even number of Y fall into 2ᵐ⁻¹ + 1 commuting sets (Calderbank,
Cameron, Kantor, Seidel, Proc. London Math. Soc. 75 (1997) 436). Their bases are mutually unbiased and real, and as
many as can be: with q_p(v) = ⟨φ_p|v⟩² a real state is :math:`\sum_p (q_p - 1/d + 1/(dB)) |φ_p⟩⟨φ_p|`, B bases in d
dimensions. Preparing most of them takes two-qubit gates.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import ClassVar, final

import numpy as np
from qiskit import QuantumCircuit

from qdeq_qiskit.backends.surrogate.designs._design import Edge, Preparations, ProbeDesign
from qdeq_qiskit.backends.surrogate.designs.stabiliser_bases import (
    BasisCircuit,
    cheapest_circuits,
    cheapest_partition,
    is_real,
)
from qdeq_qiskit.backends.surrogate.errors import SurrogateError

# More wires have millions of bases to search through.
_WIRES = (2, 4)
_EIGENSTATES = {
    "x": ((np.pi / 2, 0.0), (np.pi / 2, np.pi)),
    "y": ((np.pi / 2, np.pi / 2), (np.pi / 2, -np.pi / 2)),
    "z": ((0.0, 0.0), (np.pi, 0.0)),
}


@final
class CliffordDesign(ProbeDesign):
    """2ᵐ(2ᵐ⁻¹ + 1) stabiliser states, a circuit for each basis, chosen with the fewest CZ in all."""

    name: ClassVar[str] = "clifford"

    def count(self, num_wires: int) -> int:
        if num_wires not in _WIRES:
            raise SurrogateError(
                f"the clifford design is there for an encoder on {' or '.join(map(str, _WIRES))} wires, not on "
                f"{num_wires}; the tetrahedral design takes any number"
            )
        return int(2**num_wires * (2 ** (num_wires - 1) + 1))

    def preparations(self, num_wires: int, edges: Iterable[Edge]) -> tuple[Preparations, ...]:
        self.count(num_wires)
        circuits = _bases(num_wires, frozenset((min(edge), max(edge)) for edge in edges))
        return tuple(_preparations(circuit) for circuit in circuits)


@lru_cache(maxsize=8)
def _bases(num_wires: int, edges: frozenset[Edge]) -> tuple[BasisCircuit, ...]:
    found = {
        basis: circuit for basis, circuit in cheapest_circuits(num_wires, edges).items() if is_real(basis, num_wires)
    }
    chosen = cheapest_partition([(basis, circuit.num_cz) for basis, circuit in found.items()])
    if chosen is None or len(chosen) != 2 ** (num_wires - 1) + 1:
        raise SurrogateError(
            "the clifford design entangles the encoder's wires, which are not connected with one another here; take "
            "the tetrahedral design, which has no two-qubit gates"
        )
    return tuple(found[basis] for basis in chosen)


def _preparations(circuit: BasisCircuit) -> Preparations:
    starts = product(*(_EIGENSTATES[letter] for letter in circuit.letters))
    entangler = QuantumCircuit(len(circuit.letters))
    for gate in circuit.gates:
        getattr(entangler, gate.name)(*gate.wires)
    return Preparations(np.array([np.ravel(start) for start in starts]), entangler)
