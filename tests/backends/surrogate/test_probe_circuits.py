"""Probes: the states that they prepare, with Aer's own noise; and the weight block behind, which is the model's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit.quantum_info import DensityMatrix, Operator, SparsePauliOp, partial_trace
from qiskit_aer import AerSimulator
from surrogate_models import amplitude_model, compiled_for, plan_for, weights

from qdeq_qiskit.backends.compiled import CompiledCircuit, compile_circuit
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.noisy import AerMachine, EffectiveMachine, NoisyCircuit
from qdeq_qiskit.backends.surrogate import plan_probes
from qdeq_qiskit.backends.surrogate.encoder_wires import EncoderWires
from qdeq_qiskit.backends.surrogate.prepared_states import prepared_states
from qdeq_qiskit.noise import CircuitNoise, Snapshot


def before_barrier(compiled: CompiledCircuit):
    circuit = compiled.circuit.copy_empty_like()
    for instruction in compiled.circuit.data:
        if instruction.operation.name == "barrier":
            break
        circuit.append(instruction.operation, instruction.qubits)
    return circuit


def gates_after_barrier(compiled: CompiledCircuit) -> list[tuple[str, tuple[int, ...]]]:
    instructions = list(compiled.circuit.data)
    start = next(i for i, instruction in enumerate(instructions) if instruction.operation.name == "barrier")
    find = compiled.circuit.find_bit
    return [(each.operation.name, tuple(find(q).index for q in each.qubits)) for each in instructions[start + 1 :]]


def bound(probe, weight) -> tuple[list, list]:
    """The circuit's parameters, and their values for every preparation."""
    return list(probe.compiled.circuit.parameters), probe.compiled.angles(probe.rows(weight)).tolist()


@pytest.mark.parametrize("design", ["tetrahedral", "clifford"])
@pytest.mark.parametrize("processor", ["fake_torino", "fake_manila"])
def test_states_by_the_calibration_are_those_of_aers_density_matrix(processor: str, design: str) -> None:
    qnn, compiled = compiled_for(processor)
    plan = plan_for(processor, design)
    encoder = EncoderWires.of(qnn, compiled)
    rows, start = range(0, 16, 5), 0
    for probe in plan.probes[:5]:
        noise = Snapshot.fake(processor).noise(probe.compiled)
        simulator = AerSimulator(method="density_matrix", noise_model=noise.to_aer())
        parameters, values = bound(probe, weights(qnn))
        circuit = before_barrier(probe.compiled)
        circuit.save_density_matrix()
        for row in rows:
            used = dict(zip(parameters, values[row], strict=True))
            run = circuit.assign_parameters({p: x for p, x in used.items() if p in circuit.parameters})
            rho = DensityMatrix(simulator.run(run).result().data()["density_matrix"])
            rho = partial_trace(rho, [wire for wire in range(compiled.num_qubits) if wire not in encoder.wires])
            for string in ((0, 0, 0, 3), (1, 2, 3, 2), (3, 1, 0, 2), (0, 2, 1, 1)):
                label = "".join("IXYZ"[digit] for digit in string)[::-1]  # Qiskit's labels end with wire 0
                index = int(np.ravel_multi_index(string, (4,) * 4))
                expected = np.real(rho.expectation_value(SparsePauliOp(label)))
                assert plan.frame.states[start + row, index] == pytest.approx(expected, abs=1e-12)
        start += len(probe.preparations.angles)


@pytest.mark.parametrize("design", ["tetrahedral", "clifford"])
def test_behind_a_preparation_stand_the_very_gates_and_angles_of_the_model(design: str) -> None:
    qnn, compiled = compiled_for("fake_fez")
    weight = weights(qnn)
    inputs = torch.as_tensor(qnn.input_values(np.ones((1, 16))))
    slots = compiled.source.angle_map.compile()(torch.cat((inputs, weight.unsqueeze(0)), dim=1))
    own = compiled.angles(slots)[0, compiled.prefix.num_slots :]
    for probe in plan_for("fake_fez", design).probes:
        assert gates_after_barrier(probe.compiled) == gates_after_barrier(compiled)
        found = probe.compiled.angles(probe.rows(weight))[:, probe.compiled.prefix.num_slots :]
        assert torch.allclose(found, own.expand_as(found), atol=1e-12)
        assert probe.compiled.physical == compiled.physical
        target = Snapshot.fake("fake_fez").target
        for name, wires in probe.compiled.gates():
            assert target.instruction_supported(name, tuple(compiled.physical[wire] for wire in wires))


@pytest.mark.parametrize(("num_qubits", "num_amplitudes"), [(4, 10), (4, 8), (5, 16)])
def test_probes_find_the_encoders_state_wherever_routing_leaves_it(num_qubits: int, num_amplitudes: int) -> None:
    """The uncompiled probe, exactly, against the compiled one without noise: only equal if its wires are the right."""
    qnn = amplitude_model(num_qubits, num_amplitudes)
    compiled = compile_circuit(qnn, target=Snapshot.fake("fake_nairobi").target, optimization_level=0, seed=3)
    encoder = EncoderWires.of(qnn, compiled)
    largest = np.abs(encoder.isometry).argmax(axis=0)
    assert largest.tolist() != [*range(num_amplitudes)]  # routing has moved something, or nothing is tested here
    plan = plan_probes(qnn, compiled, lambda each: CircuitNoise(each.num_qubits))
    (probe,) = plan.probes
    machine = EffectiveMachine(NoisyCircuit(probe.qnn, probe.compiled, CircuitNoise(compiled.num_qubits)), shots=None)
    weight = weights(qnn)
    rows = probe.rows(weight)
    chosen = [0, 1, 7, 30, len(rows) - 1]
    found = machine.run(rows[chosen]).values
    layer = ExactLayer(probe.qnn, precision="double", weight=torch.nn.Parameter(weight))
    expected = layer(torch.as_tensor(probe.preparations.angles[chosen]))
    assert torch.allclose(found, expected.detach(), atol=1e-10)


def test_without_a_processor_preparations_are_in_the_basis_gates() -> None:
    qnn = amplitude_model(2)
    for basis in (None, ["rz", "sx", "x", "cz"], ["p", "sx", "cx"]):
        compiled = compile_circuit(qnn, basis_gates=basis)
        for design in ("tetrahedral", "clifford"):
            plan = plan_probes(qnn, compiled, lambda each: CircuitNoise(each.num_qubits), design=design)
            assert plan.preparations == {"tetrahedral": 16, "clifford": 12}[design]
            names = {name for probe in plan.probes for name, _ in probe.compiled.gates()}
            assert basis is None or names <= {*basis}


def test_aer_runs_probes_as_the_effective_route_does() -> None:
    plan = plan_for("fake_manila")
    (probe,) = plan.probes
    noise = Snapshot.fake("fake_manila").noise(probe.compiled)
    rows = probe.rows(weights(plan.qnn))[[3, 200]]
    aer = AerMachine(probe.compiled, noise, shots=None).run(rows).values
    effective = EffectiveMachine(NoisyCircuit(probe.qnn, probe.compiled, noise), shots=None).run(rows).values
    assert torch.allclose(aer, effective, atol=1e-12)


def test_ideal_states_are_pure_and_where_the_design_says() -> None:
    qnn, compiled = compiled_for("fake_torino")
    encoder = EncoderWires.of(qnn, compiled)
    probe = plan_for("fake_torino", "clifford").probes[-1]
    states = prepared_states(probe, encoder.wires, None)
    assert np.allclose((states**2).sum(axis=1), 16)
    parameters, values = bound(probe, weights(qnn))
    circuit = before_barrier(probe.compiled)
    used = dict(zip(parameters, values[5], strict=True))
    unitary = Operator(circuit.assign_parameters({p: x for p, x in used.items() if p in circuit.parameters}))
    ket = unitary.data[:, 0]
    string = SparsePauliOp("ZXIX")
    digits = {"I": 0, "X": 1, "Z": 3}
    index = int(np.ravel_multi_index([digits[letter] for letter in "ZXIX"[::-1]], (4,) * 4))
    assert states[5, index] == pytest.approx(np.real(ket.conj() @ string.to_matrix() @ ket), abs=1e-12)
