"""Probe designs, one file each; `DESIGNS` finds them by their name."""

from __future__ import annotations

from qdeq_qiskit.backends.surrogate.designs._design import Edge, Preparations, ProbeDesign
from qdeq_qiskit.backends.surrogate.designs.clifford import CliffordDesign
from qdeq_qiskit.backends.surrogate.designs.tetrahedral import TetrahedralDesign
from qdeq_qiskit.backends.surrogate.errors import SurrogateError
from qdeq_qiskit.circuits._registry import unknown_name

DESIGNS: dict[str, type[ProbeDesign]] = {design.name: design for design in (TetrahedralDesign, CliffordDesign)}


def make_design(name: str) -> ProbeDesign:
    """The design of that name.

    Raises:
        SurrogateError: there is none.
    """
    if name not in DESIGNS:
        raise SurrogateError(unknown_name("design", name, DESIGNS))
    return DESIGNS[name]()


__all__ = ["DESIGNS", "CliffordDesign", "Edge", "Preparations", "ProbeDesign", "TetrahedralDesign", "make_design"]
