"""The Aer engine against gate-by-gate evolution, finite differences and Qiskit's own operators."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
from qiskit.quantum_info import Operator, random_unitary

from qdeq_qiskit.backends import program as programs
from qdeq_qiskit.backends.aer import aer_devices, require_aer, torch_devices
from qdeq_qiskit.backends.engines import aer_circuits, make_engine
from qdeq_qiskit.backends.engines.aer_engine import AerEngine
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.circuits import qdeq_ansatz

CPU = torch.device("cpu")
ROTATIONS = tuple(name for name in programs._BASIS if name not in programs._FIXED_BASIS)


def engine_of(circuit: QuantumCircuit, num_columns: int | None = None, dtype: torch.dtype = torch.float64) -> AerEngine:
    program = program_of(circuit, list(circuit.parameters))
    return AerEngine(program, num_columns=num_columns or 2**circuit.num_qubits, device=CPU, dtype=dtype)


def width(name: str) -> int:
    return get_standard_gate_name_mapping()[name].num_qubits


def in_wire_order(circuit: QuantumCircuit) -> np.ndarray:
    """Qiskit's unitary with wire 0 as the most significant bit of both indices."""
    return Operator(circuit.reverse_bits()).data


def every_gate_circuit(name: str) -> QuantumCircuit:
    """The gate on wires in both directions, between gates that leave no symmetry."""
    circuit = QuantumCircuit(3)
    method = getattr(circuit, name)
    qubits = {1: [(0,), (2,)], 2: [(0, 2), (2, 1)]}[width(name)]
    circuit.u(0.3, 0.7, -1.1, 0)
    circuit.u(1.3, 0.2, 0.4, 1)
    circuit.u(-0.8, 0.9, 2.0, 2)
    circuit.cx(0, 1)
    for index, targets in enumerate(qubits):
        if name in ROTATIONS:
            method(Parameter(f"t{index}"), *targets)
        else:
            method(*targets)
        circuit.ry(0.4 + index, 1)
        circuit.cx(1, 0)
    return circuit


@pytest.mark.parametrize("name", programs._BASIS)
def test_every_gate_of_programs_gives_the_columns_of_the_reference(name: str) -> None:
    circuit = every_gate_circuit(name)
    angles = torch.linspace(0.6, 2.2, circuit.num_parameters, dtype=torch.float64)
    engine = engine_of(circuit)
    columns = engine.evaluate(angles)[0]
    assert (columns - engine.reference_columns(angles)).abs().max() < 1e-12
    assert np.abs(columns.numpy() - in_wire_order(circuit.assign_parameters(angles.tolist()))).max() < 1e-12


@pytest.mark.parametrize("name", ROTATIONS)
def test_derivatives_of_every_rotation_are_those_of_central_differences(name: str) -> None:
    circuit = every_gate_circuit(name)
    engine = engine_of(circuit)
    angles = torch.tensor([0.6, -1.9], dtype=torch.float64)
    columns, derivatives = engine.derivatives(angles)
    step = 1e-5
    for slot in range(2):
        shift = step * torch.eye(2, dtype=torch.float64)[slot]
        central = (engine.reference_columns(angles + shift) - engine.reference_columns(angles - shift)) / (2 * step)
        assert (derivatives[slot] - central).abs().max() < 1e-9
    assert (columns - engine.reference_columns(angles)).abs().max() < 1e-12


def test_a_gate_that_aer_binds_silently_wrong_is_noticed_when_the_engine_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without the decomposition the engine binds `crx` itself, which Aer 0.18.2 simulates at angle 0.
    monkeypatch.setattr("qdeq_qiskit.backends.engines.aer_circuits._HALVES", {})
    with pytest.raises(RuntimeError, match="crx"):
        engine_of(every_gate_circuit("crx"))


@pytest.mark.parametrize("num_columns", [1, 2, 3, 5, 8, 11, 16])
def test_only_the_columns_asked_for_come_back(num_columns: int) -> None:
    ansatz = qdeq_ansatz(4)
    engine = engine_of(ansatz, num_columns)
    angles = torch.linspace(-3, 3, ansatz.num_parameters, dtype=torch.float64)
    columns = engine.evaluate(angles)[0]
    assert columns.shape == (16, num_columns)
    unitary = in_wire_order(ansatz.assign_parameters(angles.tolist()))
    assert np.abs(columns.numpy() - unitary[:, :num_columns]).max() < 1e-12


def test_the_choi_circuit_has_only_as_many_ancillas_as_columns_need() -> None:
    assert [engine_of(qdeq_ansatz(4), d)._choi.circuit.num_qubits for d in (1, 2, 3, 4, 9, 16)] == [4, 5, 6, 6, 8, 8]


def test_fixed_unitaries_on_several_wires_and_open_controls_keep_their_matrix() -> None:
    circuit = QuantumCircuit(3)
    circuit.h([0, 1, 2])
    circuit.unitary(random_unitary(8, seed=5), [2, 0, 1])
    circuit.cx(0, 2, ctrl_state=0)
    circuit.rx(Parameter("t"), 1)
    circuit.ccx(2, 0, 1)
    angles = torch.tensor([0.7], dtype=torch.float64)
    columns = engine_of(circuit).evaluate(angles)[0].numpy()
    assert np.abs(columns - in_wire_order(circuit.assign_parameters([0.7]))).max() < 1e-12


def test_gradients_through_columns_equal_those_of_the_reference() -> None:
    ansatz = qdeq_ansatz(4)
    engine = engine_of(ansatz, 11)
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(16, 11, generator=generator, dtype=torch.complex128)
    gradients = []
    for function in (engine.columns, engine.reference_columns):
        angles = torch.linspace(-3, 3, 39, dtype=torch.float64).requires_grad_()
        loss = (function(angles) * weights).real.pow(2).sum()
        gradients.append(torch.autograd.grad(loss, angles)[0])
    assert torch.allclose(*gradients, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ROTATIONS)
def test_gradients_of_every_rotation_are_those_of_shifted_operators(name: str) -> None:
    engine = engine_of(every_gate_circuit(name), 5)
    angles = torch.tensor([0.6, -1.9], dtype=torch.float64)
    cotangent = torch.randn(8, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(1))
    pulled = engine.pullback(angles, engine.evaluate(angles)[1], cotangent)
    overlaps = torch.einsum("ij,gij->g", cotangent.conj(), engine.derivatives(angles)[1]).real
    assert torch.allclose(pulled, overlaps, rtol=0, atol=1e-12)
    assert overlaps.abs().min() > 1e-3


def test_shifts_that_do_not_fit_in_memory_are_split_over_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of(qdeq_ansatz(4), 7)
    angles = torch.linspace(-3, 3, 39, dtype=torch.float64)
    whole = engine.derivatives(angles)[1]
    monkeypatch.setattr("qdeq_qiskit.backends.engines.aer_engine._MAX_BYTES_PER_RUN", 16 * 2**7 * 10)
    assert torch.equal(engine.derivatives(angles)[1], whole)
    runs = [sum(1 for _ in states) for states in engine._states(np.zeros((55, len(engine._choi.parameters))))]
    assert runs == [10, 10, 10, 10, 10, 5]


def test_a_gradient_takes_two_runs_whatever_the_number_of_weights() -> None:
    engine = engine_of(qdeq_ansatz(4), 11)
    run, runs = engine._simulator.run, []

    class Counting:
        def run(self, circuit: QuantumCircuit, **options: object) -> object:
            job = run(circuit, **options)
            runs.append(len(job.result().results))
            return job

    engine._simulator = Counting()
    angles = torch.linspace(-3, 3, 39, dtype=torch.float64).requires_grad_()
    engine.columns(angles).real.pow(3).sum().backward()
    assert runs == [1, 1]
    assert angles.grad is not None
    assert angles.grad.abs().max() > 1e-2


def test_a_loss_that_does_not_see_the_columns_has_no_gradient_and_one_of_nan_has_nan() -> None:
    engine = engine_of(qdeq_ansatz(4), 11)
    angles = torch.linspace(-3, 3, 39, dtype=torch.float64)
    columns, kept = engine.evaluate(angles)
    assert torch.equal(engine.pullback(angles, kept, torch.zeros_like(columns)), torch.zeros_like(angles))
    assert engine.pullback(angles, kept, columns * torch.nan).isnan().all()


def test_a_gradient_that_aer_gets_wrong_is_noticed_when_the_engine_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    right = aer_circuits._overlap
    monkeypatch.setattr(aer_circuits, "_overlap", lambda name: right("ry" if name == "rx" else name))
    with pytest.raises(RuntimeError, match="error of"):
        engine_of(every_gate_circuit("rx"))


def test_on_ten_qubits_gradients_are_those_of_the_torch_engine() -> None:
    circuit = QuantumCircuit(10)  # with its ancillas on 17 qubits, where Aer binds and fuses differently
    theta = ParameterVector("t", 12)
    for index in range(8):
        circuit.ry(theta[index], (3 * index) % 10)
        circuit.cx((3 * index) % 10, (3 * index + 1) % 10)
    for index in range(8, 12):
        circuit.crx(theta[index], index - 8, index - 2)
    program = program_of(circuit, list(theta))
    aer, fast = (make_engine(name, program, num_columns=100, precision="double") for name in ("aer", "torch"))
    cotangent = torch.randn(1024, 100, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    gradients = []
    for engine in (aer, fast):
        angles = torch.linspace(-3, 3, 12, dtype=torch.float64).requires_grad_()
        gradients.append(torch.autograd.grad(engine.columns(angles), angles, cotangent)[0])
    assert (gradients[0] - gradients[1]).abs().max() < 1e-10


def test_single_precision_is_single_precision() -> None:
    ansatz = qdeq_ansatz(4)
    angles = torch.linspace(-3, 3, 39)
    engine = engine_of(ansatz, 16, torch.float32)
    columns = engine.evaluate(angles)[0]
    assert columns.dtype == torch.complex64
    error = (columns - engine_of(ansatz).evaluate(angles.double())[0]).abs().max()
    assert 1e-9 < error < 1e-5


def test_a_block_without_parameters_has_columns_and_no_derivatives() -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    engine = engine_of(circuit)
    columns, derivatives = engine.derivatives(torch.zeros(0, dtype=torch.float64))
    assert np.abs(columns.numpy() - in_wire_order(circuit)).max() < 1e-12
    assert derivatives.shape == (0, 4, 4)
    angles = torch.zeros(0, dtype=torch.float64)
    assert engine.pullback(angles, engine.evaluate(angles)[1], columns).shape == (0,)


@st.composite
def circuits(draw: st.DrawFn) -> QuantumCircuit:
    num_qubits = draw(st.integers(2, 4))
    names = draw(st.lists(st.sampled_from(programs._BASIS), min_size=1, max_size=12))
    angles = ParameterVector("a", len(names))
    circuit = QuantumCircuit(num_qubits)
    for index, name in enumerate(names):
        wires = draw(st.permutations(range(num_qubits)))[: width(name)]
        getattr(circuit, name)(*([angles[index]] if name in ROTATIONS else []), *wires)
    return circuit


@settings(max_examples=40, deadline=None)
@given(circuit=circuits(), seed=st.integers(0, 2**16))
def test_random_circuits_agree_with_the_torch_engine_and_with_qiskit(circuit: QuantumCircuit, seed: int) -> None:
    generator = np.random.default_rng(seed)
    program = program_of(circuit, list(circuit.parameters))
    values = generator.uniform(-np.pi, np.pi, circuit.num_parameters)
    angles = torch.as_tensor(values)
    num_columns = int(generator.integers(1, 2**circuit.num_qubits + 1))
    aer, fast = (make_engine(name, program, num_columns=num_columns, precision="double") for name in ("aer", "torch"))
    (columns, derivatives), (fast_columns, fast_derivatives) = aer.derivatives(angles), fast.derivatives(angles)
    assert torch.allclose(columns, fast_columns, rtol=0, atol=1e-12)
    assert torch.allclose(derivatives, fast_derivatives, rtol=0, atol=1e-12)
    unitary = in_wire_order(circuit.assign_parameters(values))
    assert np.abs(columns.numpy() - unitary[:, :num_columns]).max() < 1e-12
    cotangent = torch.as_tensor(generator.normal(size=(*columns.shape, 2)) @ [1, 1j])
    gradients = [engine.pullback(angles, engine.evaluate(angles)[1], cotangent) for engine in (aer, fast)]
    assert torch.allclose(*gradients, rtol=0, atol=1e-12)


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    if "GPU" in aer_devices() and torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so asking for one is no error here")
    ansatz = qdeq_ansatz(4)
    program = program_of(ansatz, list(ansatz.parameters))
    with pytest.raises(ValueError, match="qiskit-aer-gpu"):
        AerEngine(program, num_columns=16, device=torch.device("cuda"), dtype=torch.float64)


def test_the_gpu_gives_what_the_cpu_gives() -> None:
    if "GPU" not in aer_devices() or not torch.cuda.is_available():
        pytest.skip("no GPU that both Aer and torch see")
    ansatz = qdeq_ansatz(4)
    program = program_of(ansatz, list(ansatz.parameters))
    angles = torch.linspace(-3, 3, 39, dtype=torch.float64)
    engine = AerEngine(program, num_columns=16, device=torch.device("cuda"), dtype=torch.float64)
    reference = engine_of(ansatz)
    cotangent = torch.randn(16, 16, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    kept, kept_reference = engine.evaluate(angles.cuda())[1], reference.evaluate(angles)[1]
    found = (*engine.derivatives(angles.cuda()), engine.pullback(angles.cuda(), kept, cotangent.cuda()))
    expected = (*reference.derivatives(angles), reference.pullback(angles, kept_reference, cotangent))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.is_cuda
        assert torch.allclose(ours.cpu(), theirs, rtol=0, atol=1e-12)


def test_a_failed_run_and_a_state_of_nan_are_errors() -> None:
    engine = engine_of(qdeq_ansatz(4))
    angles = torch.zeros(39, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="norm"):
        engine.evaluate(angles + torch.nan)

    class Failing:
        def run(self, *args: object, **options: object) -> object:
            return SimpleNamespace(result=lambda: SimpleNamespace(success=False, status="ERROR: out of memory"))

    engine._simulator = Failing()
    with pytest.raises(RuntimeError, match="Aer failed: ERROR: out of memory"):
        engine.evaluate(angles)


def test_without_aer_the_error_says_which_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qiskit_aer", None)
    with pytest.raises(ImportError, match=r"pip install qiskit-aer`.*qiskit-aer-gpu"):
        require_aer()


def test_devices_are_named() -> None:
    assert "CPU" in aer_devices()
    assert torch_devices()[0] == "cpu"
