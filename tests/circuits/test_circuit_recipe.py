"""Circuit recipes: those that are shipped, those that are refused, and how a new kind joins."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from qdeq_qiskit.circuits import ANSATZE, ENCODERS, READOUTS, CircuitRecipe, EncoderRecipe
from qdeq_qiskit.circuits._registry import recipe_kinds

FOLDER = Path(__file__).parents[2] / "circuits"
SHIPPED = {
    "qdeq4-amplitude": (4, 16, 15, 39),
    "qdeq4-angle": (4, 16, 16, 39),
    "qdeq6-amplitude": (6, 64, 63, None),
    "qdeq10-amplitude": (10, 100, 127, 56),
    "qdeq10-angle": (10, 100, 100, 56),
    "qdeq10-angle-paper": (10, 100, 100, 56),
}


def read(name):
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def recipe(**changes):
    whole = {"num_qubits": 4, "encoder": {"kind": "amplitude"}, "ansatz": {"kind": "qdeq"}, **changes}
    return CircuitRecipe.model_validate(whole)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_builds_what_its_name_says(name):
    num_qubits, features, inputs, weights = SHIPPED[name]
    qnn = CircuitRecipe.model_validate(read(name)).build()
    assert (qnn.num_qubits, qnn.num_features, qnn.num_inputs, qnn.num_outputs) == (
        num_qubits,
        features,
        inputs,
        num_qubits,
    )
    assert weights in (None, qnn.num_weights)
    assert list(qnn.weight_groups) == ["random_layer", "block"]


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_recipe_of_the_folder_builds_and_says_in_one_line_what_it_is(name):
    recipe = CircuitRecipe.model_validate(read(name))
    assert recipe.build().num_qubits == recipe.num_qubits
    description = recipe.description
    assert 10 < len(description) < 120
    assert "\n" not in description


def test_a_recipe_written_out_and_read_again_is_the_same():
    for name in SHIPPED:
        before = CircuitRecipe.model_validate(read(name))
        after = CircuitRecipe.model_validate(yaml.safe_load(yaml.safe_dump(before.model_dump(mode="json"))))
        assert after == before
        assert after.build().circuit.count_ops() == before.build().circuit.count_ops()


def test_gates_and_observables_can_be_spelt_out():
    qnn = recipe(
        num_qubits=2,
        encoder={"kind": "angle", "gates": [["ry", 0], ["rx", 1], ["rz", 1]]},
        ansatz={"kind": "real_amplitudes", "reps": 1},
        readout={"kind": "paulis", "observables": ["ZZ", {"XI": 0.5, "IX": 0.5}]},
    ).build()
    assert (qnn.num_features, qnn.num_weights, qnn.num_outputs) == (3, 4, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": {"kind": "amplitud"}},
            "'amplitud' .* does not match any of the expected tags: 'amplitude', 'angle'",
        ),
        ({"ansatz": {"kind": "qdeq", "block": 1}}, r"ansatz.qdeq.block\n.*not permitted"),
        ({"qubits": 4}, r"qubits\n.*not permitted"),
        ({"num_qubits": 2}, "ansatz: paper_block: num_qubits must be at least 4, not 2"),
        (
            {"encoder": {"kind": "amplitude", "num_amplitudes": 17}},
            "encoder: .*4 qubits hold 2 to 16 amplitudes, not 17",
        ),
        ({"encoder": {"kind": "angle", "gates": [["ry", 9]]}}, "encoder: .*wire of gate 0 is 9"),
        ({"encoder": {"kind": "angle", "gates": [["ryy", 0]]}}, "encoder.angle.gates.0.0"),
        ({"readout": {"kind": "paulis", "observables": ["ZZ"]}}, "readout: .*'ZZ' has 2 letters"),
    ],
)
def test_a_wrong_recipe_is_refused_where_it_is_written(changes, message):
    with pytest.raises(ValidationError, match=message) as refusal:
        recipe(**changes)
    assert refusal.value.error_count() == 1


def test_every_file_of_a_folder_is_a_kind():
    assert set(ENCODERS) == {"angle", "amplitude"}
    assert set(ANSATZE) == {"qdeq", "random_layer", "paper_block", "real_amplitudes", "efficient_su2"}
    assert set(READOUTS) == {"z", "paulis"}


NEW_ENCODER = '''
from typing import Literal
from qiskit import QuantumCircuit
from qdeq_qiskit.circuits import Encoder, EncoderRecipe

class {name}(EncoderRecipe):
    """A kind of its own."""

    kind: Literal["{kind}"] = "{kind}"

    def build(self, num_qubits):
        return Encoder(QuantumCircuit(num_qubits))
'''


def test_a_new_kind_joins_by_one_file(tmp_path, monkeypatch):
    package = tmp_path / "more_encoders"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "spiral.py").write_text(NEW_ENCODER.format(name="Spiral", kind="spiral"))
    (package / "_draft.py").write_text("raise AssertionError('a private module is left alone')")
    monkeypatch.syspath_prepend(tmp_path)
    kinds = recipe_kinds("more_encoders", [str(package)], EncoderRecipe)
    assert {kind: recipe.__name__ for kind, recipe in kinds.items()} == {"spiral": "Spiral"}


def test_two_files_cannot_claim_one_kind(tmp_path, monkeypatch):
    package = tmp_path / "rival_encoders"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text(NEW_ENCODER.format(name="First", kind="same"))
    (package / "second.py").write_text(NEW_ENCODER.format(name="Second", kind="same"))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError, match="kind 'same' is taken"):
        recipe_kinds("rival_encoders", [str(package)], EncoderRecipe)


def test_circuits_need_nothing_but_qiskit():
    code = (
        "import sys, qdeq_qiskit.circuits; "
        "print([m for m in ('torch', 'matplotlib', 'qiskit_aer', 'qiskit_machine_learning') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
