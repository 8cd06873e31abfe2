"""Recipes of kind ibm: what they take, what they refuse and how they say it, and where they run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from pydantic import ValidationError
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit import recipes
from qdeq_qiskit.backends import IBMBackend, load_backend
from qdeq_qiskit.backends.kinds import AnyBackend
from qdeq_qiskit.backends.runtime.connection import Connection
from qdeq_qiskit.backends.runtime.errors import ProcessorError
from qdeq_qiskit.backends.runtime.local import LocalProcessor
from qdeq_qiskit.backends.runtime.machine import RuntimeMachine
from qdeq_qiskit.circuits import CircuitRecipe, QNNCircuit, amplitude_encoder, random_layer, z_readout
from qdeq_qiskit.equilibrium import KrasnoselskiiMann, SampledSolver
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.models.recipe import ClassifierRecipe, ModelRecipe
from qdeq_qiskit.noise import MitigationRecipe, Snapshot
from qdeq_qiskit.recipes import RecipeError


def model(num_qubits=3):
    encoder = amplitude_encoder(num_qubits)
    return QNNCircuit.compose(encoder, random_layer(num_qubits, 8), z_readout(num_qubits), num_amplitudes=2**num_qubits)


@pytest.mark.parametrize(("precision", "shots"), [(0.015625, 4096), (0.1, 100), (0.03, 1112), (1.0, 1)])
def test_precision_stands_for_the_shots_that_it_takes(precision, shots):
    backend = IBMBackend(precision=precision)
    assert backend.num_shots == shots
    assert shots**-0.5 <= precision + 1e-12


@pytest.mark.parametrize(("level", "names"), [(0, "none"), (1, "trex"), (2, "trex+zne+twirling")])
def test_a_resilience_level_stands_for_mitigation(level, names):
    backend = IBMBackend.model_validate({"shots": 10, "resilience": level})
    assert backend.mitigation == MitigationRecipe.parse(names)
    assert "resilience" not in backend.model_dump()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "exactly one of them says how often circuits run; none of them is given"),
        (
            {"shots": 5, "precision": 0.1},
            "exactly one of them says how often circuits run; both are given \\(5 and 0.1\\), so set one",
        ),
        ({"precision": 1e-5}, "takes 10,000,000,000 shots of a circuit.* take at least 0.0004"),
        ({"shots": 0}, "greater than or equal to 1"),
        ({"name": "fake_torio", "shots": 5}, "did you mean 'fake_torino'"),
        ({"shots": 5, "resilience": 3}, "resilience must be 0, 1 or 2, not 3"),
        ({"shots": 5, "resilience": 1, "mitigation": "zne"}, "resilience: 1 stands for mitigation: trex; give one"),
        ({"shots": 5, "fractional_gates": True, "mitigation": "twirling"}, "fractional_gates: twirling puts Paulis"),
        ({"shots": 5, "max_session_seconds": 60}, "there is no session in mode job"),
        ({"shots": 5, "max_qpu_seconds": 0}, "greater than 0"),
        ({"shots": 5, "mode": "sessions"}, "'job', 'batch' or 'session'"),
        ({"shots": 5, "name": "fake_fez", "mode": "session"}, "mode: session keeps a processor.* copy on this machine"),
        ({"shots": 5, "name": "fake_fez", "fractional_gates": True}, "fake_fez is a copy of a processor without them"),
    ],
)
def test_what_contradicts_itself_is_refused_when_it_is_read(fields, message):
    with pytest.raises(ValidationError, match=message):
        IBMBackend.model_validate(fields)


@pytest.mark.parametrize("key", ["token", "TOKEN", "api_key", "qiskit_ibm_token", "password"])
def test_a_credential_is_refused_and_does_not_come_back_in_the_error(key, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"kind: ibm\nshots: 5\n{key}: planted-secret\n")
    with pytest.raises(RecipeError) as refusal:
        load_backend(path)
    assert "planted-secret" not in str(refusal.value)
    assert "save them once with QiskitRuntimeService.save_account" in str(refusal.value)
    with pytest.raises(ValidationError) as direct:
        IBMBackend.model_validate({"shots": 5, key: "planted-secret"})
    assert "planted-secret" not in str(direct.value)


PLANTED = "planted-secret"


@pytest.mark.parametrize(
    "change",
    [
        f"token={PLANTED}",
        f"mitigation.token={PLANTED}",
        f"mitigation={{readout: trex, api_key: {PLANTED}}}",
        f"account={{ibm: {{token: {PLANTED}}}}}",
        f"instance=[{{token: {PLANTED}}}]",
        f"solver.password={PLANTED}",
    ],
)
def test_a_credential_on_the_command_line_is_refused_at_any_depth_and_not_echoed(change):
    with pytest.raises(RecipeError) as refusal:
        load_backend("fake_manila", [change])
    assert PLANTED not in str(refusal.value)
    assert "credentials do not belong into a recipe" in str(refusal.value)


def test_a_credential_in_the_depth_of_a_file_is_refused_and_not_echoed(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"kind: ibm\nshots: 5\nmitigation:\n  zne: {{token: {PLANTED}}}\n")
    with pytest.raises(RecipeError, match=r"mitigation\.zne\.token: credentials") as refusal:
        load_backend(path)
    assert PLANTED not in str(refusal.value)


def test_a_recipe_that_is_written_out_reads_back_to_an_equal_one(tmp_path):
    backend = IBMBackend(name="fake_manila", precision=0.02, mitigation="trex+zne", max_qpu_seconds=30)
    path = tmp_path / "again.yaml"
    path.write_text(recipes.dump(backend))
    assert load_backend(path) == backend
    bound = backend.on(backend.open(3))
    assert recipes.dump(bound) == recipes.dump(backend)


def test_it_says_what_it_is():
    assert IBMBackend(name="fake_fez", shots=64, mitigation="trex").describe() == "fake_fez (local); 64 shots, trex"
    assert IBMBackend(shots=64, mode="batch").describe() == "least_busy, batch mode; 64 shots"
    assert not IBMBackend(shots=64).exact
    assert IBMBackend(shots=64).noisy


def test_a_processor_without_a_ledger_is_refused_with_the_command_that_has_one():
    with pytest.raises(ValueError, match=r"'ibm_torino' is a processor.* qdeq submit RUN --backend"):
        IBMBackend(name="ibm_torino", shots=64).layer(model())


def test_a_circuit_that_does_not_fit_is_refused():
    with pytest.raises(ProcessorError, match="needs 6 qubits, the processor fake_manila has only 5; fake_nairobi"):
        IBMBackend(name="fake_manila", shots=64).layer(model(6))


def test_what_cannot_be_honoured_is_refused_before_anything_runs(monkeypatch):
    def submit(self, request, tags):
        raise AssertionError("nothing may run")

    monkeypatch.setattr(LocalProcessor, "submit", submit)
    x, w = ParameterVector("x", 1), ParameterVector("w", 1)
    circuit = QuantumCircuit(1)
    circuit.ry(x[0], 0)
    circuit.rx(w[0], 0)
    with pytest.raises(ProcessorError, match=r"fake_manila: .*zne: it folds two-qubit gates, and the .* has none"):
        IBMBackend(name="fake_manila", shots=64, mitigation="zne").machine(
            QNNCircuit(circuit, x, w, [SparsePauliOp("Z")])
        )


class Counted:
    """A dispatcher that counts what it is asked."""

    budget = None

    def __init__(self, processor):
        self.processor, self.asked = processor, 0

    def run(self, requests):
        self.asked += len(requests)
        return [self.processor.submit(request, ["tag"]).outcome(request) for request in requests]


def test_a_bound_backend_asks_its_own_dispatcher_also_from_within_a_classifier(tmp_path):
    processor = LocalProcessor.fake("fake_manila")
    dispatcher = Counted(processor)
    backend = IBMBackend(name="fake_manila", shots=64)
    bound = backend.on(Connection(processor, Snapshot(processor.name, processor.target), dispatcher))
    recipe = ClassifierRecipe(
        class_names=("0", "3"),
        circuit=recipes.load("circuits", "qdeq4-amplitude", CircuitRecipe),
        backend=load_backend("exact"),
        model=ModelRecipe.model_validate({"features": {"pool": {"kernel": 2}}}),
    )
    trained = QDEQClassifier.from_recipe(recipe, seed=0)
    trained.save(tmp_path / "model")
    for classifier in (trained.on_backend(bound), QDEQClassifier.load(tmp_path / "model", backend=bound)):
        before = dispatcher.asked
        assert isinstance(classifier.equilibrium.layer.machine, RuntimeMachine)
        classifier.equilibrium.layer(torch.rand(2, 16))
        assert dispatcher.asked == before + 1
    assert backend.layer(model()).machine is not None  # itself it is bound to nothing
    assert dispatcher.asked == before + 1


def test_a_circuit_is_compiled_once_for_one_processor():
    backend = IBMBackend(name="fake_manila", shots=64)
    qnn = model()
    bound = backend.on(backend.open(3))
    compiled = bound.compile(qnn)
    assert bound.compile(qnn) is compiled
    assert bound.machine(qnn).circuit.num_qubits == bound.machine_of(compiled).circuit.num_qubits
    elsewhere = bound.compile(qnn, Snapshot.fake("fake_torino"))
    assert {name for name, qubits in elsewhere.gates() if len(qubits) == 2} == {"cz"}


def test_circuits_are_compiled_for_the_pinned_calibration():
    backend = IBMBackend(name="fake_manila", shots=64)
    opened = backend.open(3)
    pinned = Snapshot("fake_manila", Snapshot.fake("fake_nairobi").target)
    bound = backend.on(Connection(opened.processor, pinned, opened.dispatcher))
    assert bound.compile(model()).target.description == pinned.target.description


def test_machines_of_other_streams_draw_shots_of_their_own():
    backend = IBMBackend(name="fake_manila", shots=64, seed=4)
    bound = backend.on(backend.open(3))
    compiled = bound.compile(model())
    seeds = [
        machine.requests(np.zeros((2, machine.circuit.num_parameters)), machine.cost)[0].seed
        for machine in (bound.machine_of(compiled, stream=stream) for stream in (0, 1, 0))
    ]
    assert seeds[0] != seeds[1]
    assert seeds[0] == seeds[2]  # as when the work is done once more
    other = backend.model_copy(update={"seed": 5}).on(backend.open(3)).machine_of(compiled)
    assert other.requests(np.zeros((2, other.circuit.num_parameters)), other.cost)[0].seed != seeds[0]


def test_the_budget_of_the_recipe_is_that_of_the_connection():
    assert IBMBackend(name="fake_manila", shots=64).open(2).dispatcher.budget is None
    budget = IBMBackend(name="fake_manila", shots=64, max_qpu_seconds=30).open(2).dispatcher.budget
    assert budget is not None
    assert budget.max_seconds == 30


def test_shipped_recipes_of_copies_name_their_processor():
    for entry in recipes.list_recipes("backends"):
        if entry.name.startswith("fake_"):
            backend = recipes.load("backends", entry.name, AnyBackend)
            assert (backend.kind, backend.name) == ("ibm", entry.name)
            assert str(Snapshot.fake(entry.name).target.num_qubits) in entry.description
    assert load_backend("ibm").max_qpu_seconds is not None
    assert Path(recipes.find("backends", "snapshot_torino")).is_file()


def test_a_copy_of_a_processor_has_exact_expectation_values_of_its_own():
    snapshot = IBMBackend(name="fake_manila", shots=64, optimization_level=1, transpiler_seed=3).snapshot()
    assert (snapshot.exact, snapshot.name, snapshot.optimization_level, snapshot.transpiler_seed) == (
        True,
        "fake_manila",
        1,
        3,
    )
    with pytest.raises(ValueError, match="least_busy is a processor"):
        IBMBackend(shots=64).snapshot()


DEFAULT = SampledSolver(jacobian="noiseless", precision=0.05, max_shots=50_000)


@pytest.mark.parametrize(
    ("changes", "solver"),
    [
        ([], DEFAULT),
        (["solver=null"], DEFAULT),
        (["solver.precision=0.02"], replace(DEFAULT, precision=0.02)),
        (
            ["solver.jacobian=measured", "solver.max_shots=200000"],
            replace(DEFAULT, jacobian="measured", max_shots=200_000),
        ),
        (
            ["solver={kind: sampled, jacobian: measured, precision: 0.1, max_shots: 200000}"],
            SampledSolver(jacobian="measured", precision=0.1, max_shots=200_000),
        ),
        (["solver.precision=null", "solver.max_shots=null"], SampledSolver(jacobian="noiseless")),
        (
            ["solver={kind: krasnoselskii_mann, average: true, max_iterations: 40}"],
            KrasnoselskiiMann(average=True, max_iterations=40),
        ),
    ],
)
def test_the_recipe_says_which_solver_runs_and_one_option_changes_by_itself(changes, solver):
    backend = load_backend("fake_torino", changes)
    assert backend.default_solver() == solver
    again = recipes.check(yaml.safe_load(recipes.dump(backend)), AnyBackend, source="again")
    assert again == backend
    assert type(backend).model_validate_json(backend.model_dump_json()) == backend


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("solver.kind=sampeld", r"solver: Unknown solver: 'sampeld'\. Did you mean 'sampled'\?"),
        ("solver.precison=0.1", r"option of the solver 'sampled': 'precison'\. Did you mean 'precision'\?"),
        ("solver.precision=much", "precision must be a number greater than 0; it is 'much'"),
        ("solver.max_shots=null", "give max_shots, the most that one sample may spend"),
        ("solver=measured", "'measured' is not valid; expected a mapping, such as {kind:"),
        ("solver.kind=newton", "newton waits for a residual of 0.0001, which shot noise hides.* take kind: sampled"),
        ("solver.kind=krasnoselskii_mann", "shot noise hides.* or krasnoselskii_mann with average: true"),
    ],
)
def test_a_solver_that_is_none_or_of_no_use_is_refused_with_what_would_be_right(change, message):
    with pytest.raises(RecipeError, match=message) as refusal:
        load_backend("fake_torino", [change])
    assert str(refusal.value).startswith(f"--set {change}: solver")


def classifier(backend, **options):
    recipe = ClassifierRecipe(
        class_names=("0", "3"),
        circuit=recipes.load("circuits", "qdeq4-amplitude", CircuitRecipe),
        backend=backend,
        model=ModelRecipe.model_validate({"features": {"pool": {"kernel": 2}}, "penalty": None, **options}),
    )
    return QDEQClassifier.from_recipe(recipe, seed=0)


def test_the_solver_of_the_backend_runs_unless_the_model_has_one():
    backend = load_backend("fake_manila", ["solver.precision=0.3"])
    assert classifier(backend).equilibrium.solver == replace(DEFAULT, precision=0.3)
    own = classifier(backend, solver={"kind": "sampled", "average": 3})
    assert own.equilibrium.solver == SampledSolver(average=3)


def test_shots_that_pay_no_estimate_are_refused_when_the_model_is_built():
    # Two evaluations in one basis with 256 shots each; with a measured Jacobian its circuits come on top.
    classifier(load_backend("fake_manila", ["solver.max_shots=512"]))
    with pytest.raises(
        ValueError, match="max_shots=511 is less than the 512 shots that one evaluation and one estimate"
    ):
        classifier(load_backend("fake_manila", ["solver.max_shots=511"]))
    with pytest.raises(ValueError, match="one evaluation, one Jacobian and one estimate take"):
        classifier(load_backend("fake_manila", ["solver.max_shots=600", "solver.jacobian=measured"]))
