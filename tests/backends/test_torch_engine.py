"""The fused torch engine against gate-by-gate evolution, Qiskit and finite differences."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import Operator

from qdeq_qiskit.backends.engines import TorchEngine, make_engine
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.circuits import qdeq_ansatz

CASES = [(4, 16), (4, 3), (5, 32), (6, 64), (6, 40), (8, 10)]


def build(num_qubits, num_columns, dtype=torch.float64):
    circuit = qdeq_ansatz(num_qubits)
    program = program_of(circuit, list(circuit.parameters))
    engine = TorchEngine(program, num_columns=num_columns, device=torch.device("cpu"), dtype=dtype)
    angles = torch.rand(program.num_slots, dtype=dtype, generator=torch.Generator().manual_seed(num_qubits)) * 6 - 3
    return circuit, engine, angles


@pytest.mark.parametrize(("num_qubits", "num_columns"), CASES)
def test_columns_are_those_of_qiskits_unitary(num_qubits, num_columns):
    circuit, engine, angles = build(num_qubits, num_columns)
    unitary = Operator(circuit.assign_parameters(angles.numpy())).reverse_qargs().data[:, :num_columns]
    columns = engine.columns(angles).numpy()
    phase = np.vdot(unitary, columns)
    assert np.abs(columns - unitary * phase / abs(phase)).max() < 1e-13


@pytest.mark.parametrize(("num_qubits", "num_columns"), CASES)
def test_the_adjoint_pass_gives_the_gradient_of_gate_by_gate_evolution(num_qubits, num_columns):
    _, engine, angles = build(num_qubits, num_columns)
    angles.requires_grad_()
    columns = engine.columns(angles)
    cotangent = torch.randn(columns.shape, dtype=columns.dtype, generator=torch.Generator().manual_seed(0))
    (fused,) = torch.autograd.grad(columns, angles, cotangent)
    (slow,) = torch.autograd.grad(engine.reference_columns(angles), angles, cotangent)
    assert (fused - slow).abs().max() < 1e-12


@pytest.mark.parametrize(("num_qubits", "num_columns"), CASES)
def test_derivatives_contracted_with_a_cotangent_are_the_pullback(num_qubits, num_columns):
    _, engine, angles = build(num_qubits, num_columns)
    columns, kept = engine.evaluate(angles)
    cotangent = torch.randn(columns.shape, dtype=columns.dtype, generator=torch.Generator().manual_seed(0))
    _, derivatives = engine.derivatives(angles)
    contracted = (cotangent.conj() * derivatives).real.sum(dim=(1, 2))
    assert (contracted - engine.pullback(angles, kept, cotangent)).abs().max() < 1e-12


@pytest.mark.parametrize("num_columns", [1, 2, 5, 32, 100])
def test_wires_that_no_gate_acts_on_and_bits_that_enter_late_keep_their_place(num_columns):
    theta = ParameterVector("t", 5)
    circuit = QuantumCircuit(7)
    circuit.ry(theta[0], 5)
    circuit.crx(theta[1], 5, 6)
    circuit.rx(theta[2], 3)
    circuit.cx(3, 1)
    circuit.cry(theta[3], 6, 3)
    circuit.rz(theta[4], 1)
    circuit.h(1)
    circuit.ry(theta[0], 4)  # from here on every bit has entered
    circuit.cx(4, 6)
    circuit.cx(0, 5)
    circuit.rx(theta[2], 5)
    circuit.crx(theta[1], 6, 1)
    program = program_of(circuit, list(theta))
    engine = TorchEngine(program, num_columns=num_columns, device=torch.device("cpu"), dtype=torch.float64)
    values = torch.linspace(0.4, 2.5, 5, dtype=torch.float64)
    angles = program.angle_map.compile()(values).requires_grad_()
    columns = engine.columns(angles)
    unitary = Operator(circuit.assign_parameters(values.numpy())).reverse_qargs().data[:, :num_columns]
    assert np.abs(columns.detach().numpy() - unitary).max() < 1e-13
    cotangent = torch.randn(columns.shape, dtype=columns.dtype, generator=torch.Generator().manual_seed(0))
    (fused,) = torch.autograd.grad(columns, angles, cotangent)
    (slow,) = torch.autograd.grad(engine.reference_columns(angles), angles, cotangent)
    assert (fused - slow).abs().max() < 1e-12
    derivatives = engine.derivatives(angles.detach())[1]
    assert ((cotangent.conj() * derivatives).real.sum(dim=(1, 2)) - slow).abs().max() < 1e-12


def test_a_circuit_without_angles_has_columns_and_no_derivatives():
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    engine = TorchEngine(program_of(circuit, []), num_columns=4, device=torch.device("cpu"), dtype=torch.float64)
    columns, derivatives = engine.derivatives(torch.zeros(0, dtype=torch.float64))
    unitary = Operator(circuit).reverse_qargs().data
    assert np.abs(columns.numpy() - unitary).max() < 1e-13
    assert derivatives.shape == (0, *columns.shape)
    _, kept = engine.evaluate(torch.zeros(0, dtype=torch.float64))
    assert engine.pullback(torch.zeros(0, dtype=torch.float64), kept, columns).shape == (0,)


def test_first_and_second_derivatives_match_finite_differences():
    _, engine, angles = build(4, 3)
    angles.requires_grad_()

    def energy(angles):
        columns = engine.columns(angles)
        return (columns[:8].abs().square() * torch.arange(1.0, 4.0, dtype=torch.float64)).sum()

    assert torch.autograd.gradcheck(energy, angles)
    assert torch.autograd.gradgradcheck(energy, angles)


def test_a_weight_block_without_weights_is_its_fixed_unitary():
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    program = program_of(circuit, [])
    engine = TorchEngine(program, num_columns=4, device=torch.device("cpu"), dtype=torch.float64)
    columns = engine.columns(torch.zeros(0, dtype=torch.float64)).numpy()
    assert np.abs(columns - Operator(circuit).reverse_qargs().data).max() < 1e-15


def test_an_empty_weight_block_is_the_identity():
    engine = TorchEngine(
        program_of(QuantumCircuit(3), []), num_columns=5, device=torch.device("cpu"), dtype=torch.float64
    )
    assert torch.equal(engine.columns(torch.zeros(0, dtype=torch.float64)).real, torch.eye(8, 5, dtype=torch.float64))


def test_single_precision_stays_single_and_close():
    _, double, angles = build(6, 64)
    _, single, _ = build(6, 64, torch.float32)
    columns = single.columns(angles.float())
    assert columns.dtype == torch.complex64
    assert (columns - double.columns(angles)).abs().max() < 5e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "torhc"}, "auto, torch, aer"),
        ({"name": "torch", "precision": "half"}, "single, double"),
    ],
)
def test_unknown_options_are_refused_with_the_known_ones(arguments, message):
    name = arguments.pop("name")
    with pytest.raises(ValueError, match=message):
        make_engine(name, program_of(QuantumCircuit(1), []), num_columns=2, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, so asking for one is no error")
def test_a_gpu_that_is_not_there_is_an_error_and_no_fallback():
    with pytest.raises(ValueError, match="no GPU"):
        make_engine("torch", program_of(QuantumCircuit(1), []), num_columns=2, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_the_gpu_gives_the_cpus_columns_and_gradients():
    _, cpu, angles = build(6, 40)
    gpu = TorchEngine(cpu.program, num_columns=40, device=torch.device("cuda"), dtype=torch.float64)
    results = []
    for engine in (cpu, gpu):
        at = angles.to(engine.device).requires_grad_()
        value = engine.columns(at)[:32].abs().square().sum()
        results.append((value.item(), torch.autograd.grad(value, at)[0].cpu()))
    assert abs(results[0][0] - results[1][0]) < 1e-12
    assert (results[0][1] - results[1][1]).abs().max() < 1e-12
