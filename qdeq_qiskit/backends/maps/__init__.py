"""Fixed-point maps in closed form, for encoders whose states have one."""

from qdeq_qiskit.backends.maps.amplitude_states import AmplitudeStates, AmplitudeStatesMap
from qdeq_qiskit.backends.maps.joined_quadratic import JoinedQuadraticMap
from qdeq_qiskit.backends.maps.lifted import LiftedMap
from qdeq_qiskit.backends.maps.product import BlochEncoder, pauli_coefficients
from qdeq_qiskit.backends.maps.product_map import ProductMap, ProductOutputs
from qdeq_qiskit.backends.maps.product_state import EncodedBlock, WireStates
from qdeq_qiskit.backends.maps.quadratic import QuadraticMap, ReducedQuadraticMap

__all__ = [
    "AmplitudeStates",
    "AmplitudeStatesMap",
    "BlochEncoder",
    "EncodedBlock",
    "JoinedQuadraticMap",
    "LiftedMap",
    "ProductMap",
    "ProductOutputs",
    "QuadraticMap",
    "ReducedQuadraticMap",
    "WireStates",
    "pauli_coefficients",
]
