"""Fixed-point maps in closed form, for encoders whose states have one."""

from qdeq_qiskit.backends.maps.amplitude_states import AmplitudeStates, AmplitudeStatesMap
from qdeq_qiskit.backends.maps.circle import CircleEncoder, circle_coefficients
from qdeq_qiskit.backends.maps.cut_block import CutBlock
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
    "CircleEncoder",
    "CutBlock",
    "EncodedBlock",
    "JoinedQuadraticMap",
    "LiftedMap",
    "ProductMap",
    "ProductOutputs",
    "QuadraticMap",
    "ReducedQuadraticMap",
    "WireStates",
    "circle_coefficients",
    "pauli_coefficients",
]
