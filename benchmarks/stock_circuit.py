"""The paper's angle-encoded circuit as stock Qiskit simulates it correctly, and stock QNNs of it."""

from __future__ import annotations

from typing import Any

from qiskit import transpile
from qiskit_machine_learning.neural_networks import EstimatorQNN

from qdeq_qiskit.backends.estimator import HeisenbergEstimator, HeisenbergGradient
from qdeq_qiskit.circuits import QNNCircuit, angle_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.circuits.encoders import ryzxy_gates

# Aer 0.18.2 simulates a crx whose angle is bound at run time at angle 0 and reports success, so the one crx of this
# circuit is written as rz, rzz and h, for every contender.
BASIS = ["rx", "ry", "rz", "rzz", "h", "sx", "cx"]


def angle_circuit() -> QNNCircuit:
    """4 qubits, 16 inputs, 39 weights, Z on each qubit."""
    return simulable(QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4)))


def simulable(qnn: QNNCircuit) -> QNNCircuit:
    """The same in gates that Aer simulates correctly when their angles are bound at run time."""
    circuit = transpile(qnn.circuit, basis_gates=BASIS, optimization_level=0)
    return QNNCircuit(circuit, qnn.input_parameters, qnn.weight_parameters, qnn.observables)


def heisenberg_qnn(qnn: QNNCircuit, *, engine: str, precision: str = "double") -> EstimatorQNN:
    """A stock EstimatorQNN with our estimator and gradient."""
    estimator = HeisenbergEstimator(engine=engine, precision=precision)
    return _estimator_qnn(qnn, estimator, HeisenbergGradient(estimator))


def stock_qnn(qnn: QNNCircuit, *, simulator: str = "aer") -> EstimatorQNN:
    """A stock EstimatorQNN with parameter shift, exact (precision 0).

    Args:
        qnn: the circuit.
        simulator: "aer", its statevector method, or "statevector", Qiskit's StatevectorEstimator.
    """
    from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient

    estimator = _stock_estimator(simulator)
    return _estimator_qnn(qnn, estimator, ParamShiftEstimatorGradient(estimator))


def _stock_estimator(simulator: str) -> Any:
    if simulator == "statevector":
        from qiskit.primitives import StatevectorEstimator

        return StatevectorEstimator()
    from qiskit_aer.primitives import EstimatorV2

    return EstimatorV2(options={"backend_options": {"method": "statevector"}})


def _estimator_qnn(qnn: QNNCircuit, estimator: Any, gradient: Any) -> EstimatorQNN:
    return EstimatorQNN(
        circuit=qnn.circuit,
        estimator=estimator,
        observables=list(qnn.observables),
        input_params=list(qnn.input_parameters),
        weight_params=list(qnn.weight_parameters),
        gradient=gradient,
        input_gradients=True,
        default_precision=0.0,
    )
