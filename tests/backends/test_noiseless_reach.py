"""Circuits whose noiseless Jacobian a computer cannot follow are refused before anything is measured."""

import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from qdeq_qiskit.backends import ShotsBackend, sampled
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, random_layer, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, SampledSolver, nearest_lift


def amplitudes(num_qubits):
    encoder = amplitude_encoder(num_qubits)
    return QNNCircuit.compose(encoder, random_layer(num_qubits, 8), z_readout(num_qubits), num_amplitudes=2**num_qubits)


def angles(num_qubits, layers=1):
    circuit = QuantumCircuit(num_qubits)
    x, w = ParameterVector("x", num_qubits), ParameterVector("w", num_qubits)
    for wire in range(num_qubits):
        circuit.ry(x[wire], wire)
    for _ in range(layers):
        for wire in range(num_qubits):
            circuit.ry(w[wire], wire)
            circuit.cz(wire, (wire + 1) % num_qubits)
    return QNNCircuit(circuit, x, w, z_readout(num_qubits))


class Untouched:
    """A machine that is asked what it costs, and must not be asked to run."""

    shots, shots_per_call, circuits_per_row, rules = 64, 0, 1, ((), ()) * 10_000

    def run(self, *_, **__):
        raise AssertionError("nothing may be measured")


def equilibrium(qnn, jacobian="noiseless", **options):
    layer = sampled.SampledLayer(qnn, Untouched())
    lift = nearest_lift(qnn.num_features, qnn.num_outputs)
    return Equilibrium(layer, lift=lift, solver=SampledSolver(jacobian=jacobian), **options)


def test_a_state_that_is_evolved_through_too_many_gates_is_refused_with_the_alternative():
    # 1,023 rotations of the tree, as many CNOTs, 8 gates of the layer and its entanglers: above 2^20 / 1,024 = 1,024.
    with pytest.raises(ValueError, match=r"gates on 10 qubits are too many .* take solver\.jacobian=measured"):
        equilibrium(amplitudes(10))
    equilibrium(amplitudes(10), jacobian="measured")
    equilibrium(amplitudes(10), mode="direct", layers=2)


@pytest.mark.parametrize("qnn", [amplitudes(4), amplitudes(9), angles(9), angles(12, layers=2)])
def test_what_dense_operators_or_few_gates_allow_is_taken(qnn):
    equilibrium(qnn)


def test_a_batch_that_needs_more_memory_than_there_is_is_refused_before_anything_is_measured():
    qnn = angles(12, layers=2)  # 12 + 2·24 = 60 gates: 426 samples make 2^20 · 100 steps
    solver = equilibrium(qnn)
    with pytest.raises(ValueError, match="60 gates on 12 qubits take about 4 GB for 427 samples; take at most 426"):
        solver(torch.zeros(427, 12))
    assert solver.map(torch.zeros(426, 12)).noiseless is not None


def test_who_asks_for_the_noiseless_circuit_itself_is_told_too():
    layer = sampled.SampledLayer(amplitudes(10), Untouched())
    with pytest.raises(ValueError, match="too many"):
        layer.noiseless  # noqa: B018


def test_a_solver_on_shots_is_checked_when_the_model_is_built():
    layer = ShotsBackend(shots=100).layer(amplitudes(3))
    lift = nearest_lift(8, 3)
    with pytest.raises(ValueError, match="max_shots=199 is less than the 200 shots"):
        Equilibrium(layer, lift=lift, solver=SampledSolver(jacobian="noiseless", max_shots=199))
    Equilibrium(layer, lift=lift, solver=SampledSolver(jacobian="noiseless", max_shots=200))
