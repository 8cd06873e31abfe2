"""Circuits, noise and an oracle for the tests of the noisy engine.

The oracle knows nothing of Pauli transfer matrices: Aer's density matrix of each row, the change of basis of one Pauli
string at a time, and the assignment matrices as one Kronecker product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from torch import Tensor

from qdeq_qiskit.backends.compiled import CompiledCircuit, compile_circuit
from qdeq_qiskit.backends.noisy import NoisyCircuit, NoisyLayer
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, angle_encoder, random_layer, ryzxy_gates, z_readout
from qdeq_qiskit.noise import CircuitNoise, NoiseRecipe

SOURCES: dict[str, list[dict[str, Any]]] = {
    "depolarizing": [{"kind": "depolarizing", "one_qubit": 0.004, "two_qubit": 0.03}],
    "amplitude_damping": [{"kind": "amplitude_damping", "one_qubit": 0.01, "two_qubit": 0.04}],
    "phase_damping": [{"kind": "phase_damping", "one_qubit": 0.01, "two_qubit": 0.04}],
    "thermal_relaxation": [
        {"kind": "thermal_relaxation", "t1": 60e-6, "t2": 50e-6, "durations": {"one_qubit": 5e-8, "two_qubit": 5e-7}}
    ],
    "over_rotation": [{"kind": "over_rotation", "one_qubit": 0.02, "two_qubit": 0.05}],
    "readout": [
        {"kind": "depolarizing", "one_qubit": 0.001, "two_qubit": 0.01},
        {"kind": "readout", "error": [0.02, 0.06]},
    ],
}


def noise_of(*sources: dict[str, Any], **options: Any) -> NoiseRecipe:
    return NoiseRecipe.model_validate({"sources": list(sources), **options})


def angle_model(num_qubits: int = 3, seed: int = 0) -> QNNCircuit:
    return QNNCircuit.compose(
        angle_encoder(num_qubits, ryzxy_gates(num_qubits)),
        random_layer(num_qubits, 12, seed),
        [SparsePauliOp.from_sparse_list([("Z", [0], 0.5), ("ZZ", [0, 1], 1.0)], num_qubits), *z_readout(num_qubits)],
    )


def amplitude_model(num_qubits: int = 3, num_amplitudes: int | None = None, seed: int = 0) -> QNNCircuit:
    d = 2**num_qubits if num_amplitudes is None else num_amplitudes
    return QNNCircuit.compose(
        amplitude_encoder(num_qubits, d), random_layer(num_qubits, 12, seed), z_readout(num_qubits), num_amplitudes=d
    )


def tangled_model(seed: int = 0) -> QNNCircuit:
    """Entangling encoder with products of inputs in its angles, controlled rotations, observables in three bases."""
    x, theta = ParameterVector("x", 3), ParameterVector("t", 3)
    circuit = QuantumCircuit(3)
    circuit.h([0, 1])
    circuit.ry(x[0] * x[1], 0)
    circuit.crx(x[2], 0, 1)
    circuit.rz(x[1] + 0.3, 1)
    circuit.barrier()
    circuit.rzx(theta[0], 1, 2)
    circuit.cry(theta[1], 2, 0)
    circuit.rxx(2 * theta[2], 0, 1)
    observables = [
        SparsePauliOp(["ZII", "III"], [1.0, 0.25]),
        SparsePauliOp(["XXI", "IYZ"], [0.5, 1.0]),
        SparsePauliOp("IXI"),
    ]
    return QNNCircuit(circuit, x, theta, observables)


def compiled_with(
    model: QNNCircuit,
    recipe: NoiseRecipe,
    *,
    basis_gates: tuple[str, ...] = ("rz", "sx", "x", "cz"),
    idle: bool = False,
) -> tuple[CompiledCircuit, CircuitNoise]:
    target = recipe.processor
    if target is None:
        compiled = compile_circuit(model, basis_gates=basis_gates)
    else:
        compiled = compile_circuit(model, target=target, idle=idle, optimization_level=1)
    return compiled, recipe.build(compiled)


def compiled_angles(model: QNNCircuit, compiled: CompiledCircuit, features: Tensor, weight: Tensor) -> np.ndarray:
    inputs = torch.as_tensor(model.input_values(features.numpy()))
    rows = torch.cat((inputs, weight.expand(len(inputs), -1)), dim=1)
    return compiled.angles(compiled.source.angle_map.compile()(rows)).numpy()


def aer_probabilities(circuit: QuantumCircuit, noise: CircuitNoise) -> np.ndarray:
    """P(outcome) of all wires, Qiskit's order, with the readout's errors; the circuit's angles are numbers."""
    run = circuit.copy()
    run.save_density_matrix()
    data = AerSimulator(method="density_matrix", noise_model=noise.to_aer()).run(run).result().data()
    prepared = np.real(np.diag(np.asarray(data["density_matrix"])))
    assignment = np.eye(1)
    for qubit in range(circuit.num_qubits):
        assignment = np.kron(noise.assignment(qubit), assignment)
    return assignment @ prepared


def aer_values(
    model: QNNCircuit, compiled: CompiledCircuit, noise: CircuitNoise, features: Tensor, weight: Tensor
) -> np.ndarray:
    """⟨O_k⟩, (B, K), string by string."""
    values = np.zeros((len(features), model.num_outputs))
    for row, angles in enumerate(compiled_angles(model, compiled, features, weight)):
        circuit = compiled.circuit.assign_parameters(angles)
        for k, observable in enumerate(compiled.observables):
            for label, coefficient in observable.to_list():
                probabilities = aer_probabilities(circuit.compose(compiled.basis_change(label)), noise)
                outcomes = np.arange(len(probabilities))
                signs = np.ones(len(probabilities))
                for qubit, letter in enumerate(reversed(label)):
                    if letter != "I":
                        signs *= 1.0 - 2.0 * (outcomes >> qubit & 1)
                values[row, k] += np.real(coefficient) * (signs @ probabilities)
    return values


def random_point(model: QNNCircuit, rows: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features, (B, d), and weights, (P,)."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, model.num_features, generator=generator, dtype=torch.float64)
    weight = 3 * torch.randn(model.num_weights, generator=generator, dtype=torch.float64)
    return features, weight


MODELS: dict[str, Callable[..., QNNCircuit]] = {
    "angle": angle_model,
    "amplitude": amplitude_model,
    "tangled": tangled_model,
}


def layer_of(
    model: QNNCircuit, recipe: NoiseRecipe, *, encoder_noise: bool = True, idle: bool = False
) -> tuple[NoisyLayer, torch.Tensor]:
    """A layer in double precision, and some features."""
    compiled, noise = compiled_with(model, recipe, idle=idle)
    features, weight = random_point(model)
    circuit = NoisyCircuit(model, compiled, noise, encoder_noise=encoder_noise)
    return NoisyLayer(circuit, precision="double", weight=torch.nn.Parameter(weight)), features
