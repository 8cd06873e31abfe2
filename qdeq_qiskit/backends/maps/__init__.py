"""Fixed-point maps in closed form, for encoders whose states have one."""

from qdeq_qiskit.backends.maps.joined_quadratic import JoinedQuadraticMap
from qdeq_qiskit.backends.maps.lifted import LiftedMap
from qdeq_qiskit.backends.maps.product import BlochEncoder, ProductMap, pauli_coefficients
from qdeq_qiskit.backends.maps.quadratic import QuadraticMap, ReducedQuadraticMap

__all__ = [
    "BlochEncoder",
    "JoinedQuadraticMap",
    "LiftedMap",
    "ProductMap",
    "QuadraticMap",
    "ReducedQuadraticMap",
    "pauli_coefficients",
]
