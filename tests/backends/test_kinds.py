"""Backends as recipes: what they accept, what they build, what they say when they cannot."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, TypeAdapter, ValidationError

from qdeq_qiskit import recipes
from qdeq_qiskit.backends import BACKENDS, AnyBackend, Backend, ExactLayer, SampledLayer, load_backend
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, random_layer, z_readout
from qdeq_qiskit.equilibrium import Bindable, Newton, SampledSolver, Solver, nearest_lift

SHIPPED = (
    "aer_cpu",
    "aer_gpu",
    "exact",
    "fake_brisbane",
    "fake_fez",
    "fake_guadalupe",
    "fake_kingston",
    "fake_manila",
    "fake_marrakesh",
    "fake_nairobi",
    "fake_pittsburgh",
    "fake_torino",
    "ibm",
    "noisy",
    "noisy_shots",
    "shots",
    "snapshot_fez",
    "snapshot_manila",
    "snapshot_torino",
    "torch_gpu",
)


def backend_of(**fields: object) -> Backend:
    return TypeAdapter(AnyBackend).validate_python(fields)


def model(num_qubits: int = 4) -> QNNCircuit:
    encoder = amplitude_encoder(num_qubits)
    return QNNCircuit.compose(
        encoder, random_layer(num_qubits, 20), z_readout(num_qubits), num_amplitudes=2**num_qubits
    )


def test_the_shipped_recipes_are_valid_and_described() -> None:
    entries = {entry.name: entry for entry in recipes.list_recipes("backends")}
    assert set(SHIPPED) <= set(entries)
    for name in SHIPPED:
        backend = load_backend(name)
        assert isinstance(backend, Backend)
        assert entries[name].description.endswith(".")
        assert backend.describe()
        assert isinstance(backend.default_solver(), Solver)


def test_every_kind_is_a_final_recipe_that_refuses_unknown_keys() -> None:
    assert set(BACKENDS) >= {"exact", "ibm", "noisy", "shots", "snapshot"}
    for kind, backend in BACKENDS.items():
        assert issubclass(backend, BaseModel)
        assert backend.model_config["extra"] == "forbid"
        assert backend.model_fields["kind"].default == kind
        assert backend.__final__


def found_with(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """The backends that are found when a file with one more stands beside the shipped ones."""
    from qdeq_qiskit.backends import kinds

    (folder / "slow.py").write_text(
        "from typing import Literal, final\n"
        "from qdeq_qiskit.backends.kinds.exact import ExactBackend\n"
        "from qdeq_qiskit.backends.kinds._backend import Backend\n"
        "@final\n"
        "class SlowBackend(Backend):\n"
        f"    kind: Literal['{kind}'] = '{kind}'\n"
        "    exact = property(lambda self: True)\n"
        "    noisy = property(lambda self: False)\n"
        "    def layer(self, qnn, weight=None): return ExactBackend().layer(qnn, weight)\n"
        "    def default_solver(self): return ExactBackend().default_solver()\n"
        "    def describe(self): return 'slow'\n"
    )
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(folder)])
    try:
        return kinds._backends()
    finally:
        sys.modules.pop("qdeq_qiskit.backends.kinds.slow", None)
        importlib.invalidate_caches()


def test_a_new_kind_is_found_by_its_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "slow" in found_with(tmp_path, "slow", monkeypatch)


def test_a_file_that_claims_a_kind_which_is_taken_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="SlowBackend: kind 'exact' is taken"):
        found_with(tmp_path, "exact", monkeypatch)


@pytest.mark.parametrize("engine", ["auto", "torch", "aer"])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_exact_backends_build_exact_layers(engine: str, precision: str) -> None:
    backend = backend_of(kind="exact", engine=engine, precision=precision)
    layer = backend.layer(model())
    assert isinstance(layer, ExactLayer)
    assert isinstance(layer, Bindable)
    assert layer.engine_name == ("aer" if engine == "aer" else "torch")
    assert layer.dtype == (torch.float64 if precision == "double" else torch.float32)
    assert backend.exact
    assert isinstance(backend.default_solver(), Newton)
    assert layer.engine_name in backend.describe()


@pytest.mark.parametrize("fields", [{"kind": "shots"}, {"kind": "snapshot", "name": "fake_manila"}])
def test_sampled_backends_build_sampled_layers(fields: dict[str, str]) -> None:
    backend = backend_of(shots=256, **fields)
    weight = torch.nn.Parameter(torch.linspace(-1, 1, model().num_weights))
    layer = backend.layer(model(), weight)
    assert isinstance(layer, SampledLayer)
    assert isinstance(layer, Bindable)
    assert layer.weight is weight
    assert not backend.exact
    assert isinstance(backend.default_solver(), SampledSolver)
    assert "256 shots" in backend.describe()
    with torch.no_grad():
        out = layer(torch.ones(2, 16))
    assert out.shape == (2, 4)
    cost = layer.bind(torch.ones(2, 16), nearest_lift(16, 4)).cost
    assert cost.shots_per_circuit == 256
    # A noisy encoder's state is not quadratic in the features: its 15 angles are shifted instead of 4 directions.
    assert cost.circuits_per_jacobian == 2 * (15 if fields["kind"] == "snapshot" else 4)


def test_a_snapshot_is_noisy_yet_close_to_the_exact_one_and_reproducible() -> None:
    circuit = QNNCircuit.compose(amplitude_encoder(4), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)
    exact = backend_of(kind="exact", precision="double").layer(circuit)
    with torch.no_grad():
        exact.weight.copy_(torch.linspace(-2, 2, 39))
    backend = backend_of(kind="snapshot", name="fake_manila", shots=8192, seed=3)
    x = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        right = exact(x)
        values = [backend.layer(circuit, exact.weight)(x) for _ in range(2)]
    assert torch.equal(*values)
    error = (values[0] - right).abs()
    assert 0.02 < error.max() < 0.4
    # Noise pulls towards 0: a regression of the noisy on the exact values has a slope under 1.
    slope = (values[0] * right).sum() / right.square().sum()
    assert 0.3 < slope < 0.95


def test_a_snapshot_runs_on_its_own_gates_and_couplings() -> None:
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    target = FakeManilaV2().target
    layer = backend_of(kind="snapshot", name="fake_manila").layer(model())
    compiled, physical = layer.compiled, layer.circuit.compiled.physical
    for instruction in compiled.data:
        qubits = tuple(physical[compiled.find_bit(qubit).index] for qubit in instruction.qubits)
        name = instruction.operation.name
        assert name == "barrier" or target.instruction_supported(name, qubits)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "shots", "shots": 0}, "greater than or equal to 1"),
        ({"kind": "snapshot", "name": "fake_manila", "shots": 0}, "greater than or equal to 1"),
        ({"kind": "snapshot", "name": "fake_manilla"}, "did you mean 'fake_manila'"),
        ({"kind": "exact", "device": "gpu"}, "device"),
        ({"kind": "exact", "engine": "qiskit"}, "engine"),
        ({"kind": "shot"}, "kind"),
        ({"kind": "exact", "precison": "double"}, "precison"),
    ],
)
def test_a_wrong_field_is_refused_where_it_is_written(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        backend_of(**fields)


def test_a_recipe_file_with_a_wrong_name_is_one_sentence_with_the_nearest_name(tmp_path: object) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: snapshot\nname: fake_torno\n")
    with pytest.raises(recipes.RecipeError, match=r"mine\.yaml: name: .*did you mean 'fake_torino'"):
        load_backend(path)


def test_too_few_qubits_are_named_with_processors_that_have_enough() -> None:
    with pytest.raises(ValueError, match="needs 6 qubits, the processor fake_manila has only 5; fake_nairobi"):
        backend_of(kind="snapshot", name="fake_manila").layer(model(6))


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so asking for one is no error here")
    for name in ("torch_gpu", "aer_gpu"):
        with pytest.raises(ValueError, match="cuda"):
            load_backend(name).layer(model())


def test_importing_backends_loads_neither_aer_nor_qiskit_machine_learning() -> None:
    import subprocess

    code = (
        "import sys; from qdeq_qiskit.backends import AnyBackend, ExactLayer; "
        "print([m for m in ('qiskit_aer', 'qiskit_machine_learning', 'qiskit_ibm_runtime', 'lightning') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
