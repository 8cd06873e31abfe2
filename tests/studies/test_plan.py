"""What a study's recipe leads to, and that whatever is wrong with it is said in a line before any work."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, create_model
from tiny_studies import STUDY, write_study
from typer.testing import CliRunner

from qdeq_qiskit import recipes
from qdeq_qiskit.cli import app
from qdeq_qiskit.studies.digest import digest
from qdeq_qiskit.studies.plan import Plan, make_plan
from qdeq_qiskit.studies.recipe import StudyRecipe
from qdeq_qiskit.studies.references import resolved

SHIPPED = ("depolarizing-sweep", "depth", "mitigation", "shots-sweep", "snapshots")


def plan_of(path: Path, *overrides: str) -> Plan:
    study = resolved(StudyRecipe.load(path, overrides), base=path.parent, source=str(path))
    return make_plan(study, source=str(path), data_dir=None)


def test_cells_are_every_combination_and_none_twice(study_file: Path) -> None:
    plan = plan_of(
        study_file,
        "noise=[depolarizing, null, {recipe: readout, scales: [0.5, 2]}]",
        "shots=[null, 32]",
        "mitigation=[null, matrix]",
        "evaluation_seeds=[0, 1, 2]",
    )
    # Of 3 trained models each: 2 scales of readout errors × 2 mitigations × (exact + 3 seeds of 32 shots); unmitigated,
    # since no readout errs, depolarising noise and the ideal circuit, exact (once the reference) + 3 seeds.
    assert len(plan.cells) == 3 * (2 * 2 * (1 + 3) + 1 + 3 + 1 + 3)
    assert plan.left_out == ("mitigation matrix under depolarizing: no readout errs there",)
    assert len({cell.key for cell in plan.cells}) == len(plan.cells)
    assert len({tuple(cell.labels().values()) for cell in plan.cells}) == len(plan.cells)
    assert [cell.reference is None for cell in plan.cells[:4]] == [True, True, True, False]
    for cell in plan.cells[3:]:
        (reference,) = (other for other in plan.cells if other.key == cell.reference)
        assert (reference.model, reference.condition.noise) == (cell.model, "ideal")
        assert reference.condition.backend.exact


def test_a_cells_key_changes_with_what_it_depends_on_and_with_no_name(study_file: Path) -> None:
    def keys(*overrides: str) -> list[str]:
        return [cell.key for cell in plan_of(study_file, *overrides).cells]

    before = keys()
    assert keys() == before
    assert keys("noise=[{name: another name, recipe: depolarizing, scales: [1, 4]}]") == before
    renamed = study_file.read_text().replace("direct two", "some other name")
    assert [cell.key for cell in plan_of(write_study(study_file.parent, renamed)).cells] == before
    write_study(study_file.parent)
    for change in ("samples=19", "tolerance=1e-5", "backend={encoder_noise: false}"):
        changed = keys(change)
        assert len(changed) == len(before)
        assert changed[-1] != before[-1] or change.startswith("tolerance")
        assert set(changed) != set(before)
    assert set(keys("shots=[null, 65]")) & set(before) == {
        cell.key for cell in plan_of(study_file).cells if cell.condition.shots is None
    }


def test_a_resolved_study_needs_no_other_file_and_reads_back_the_same(study_file: Path) -> None:
    study = resolved(StudyRecipe.load(study_file), base=study_file.parent, source="study")
    kept = study_file.parent / "kept.yaml"
    kept.write_text(recipes.dump(study))
    before = [cell.key for cell in plan_of(study_file).cells]
    (study_file.parent / "tiny.yaml").unlink()
    assert [cell.key for cell in plan_of(kept).cells] == before


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_study_compares_several_seeds_of_models_of_different_depth(name: str) -> None:
    study = StudyRecipe.load(name)
    assert study.description
    assert study.question
    assert len(study.seeds) >= 2
    assert "implicit" in {model.name for model in study.models}


def test_the_shipped_studies_are_listed_where_none_is_named() -> None:
    result = CliRunner().invoke(app, ["study"])
    assert result.exit_code == 0
    assert all(any(line.split()[:1] == [name] for line in result.stdout.splitlines()) for name in SHIPPED)


BAD_RECIPES = [
    (("shots: [null, 64]", "shots: [0]"), ["study.yaml", "shots", "0", "greater than or equal to 1"]),
    (("recipe: depolarizing", "recipe: depolarising"), ["study.yaml", "noise", "did you mean 'depolarizing'?"]),
    (("scales: [1, 4]", "scales: [1, 400]"), ["study.yaml", "depolarizing", "scales: 400", "4"]),
    (("scales: [1, 4]", "scales: [1, -1]"), ["study.yaml", "scales", "-1", "greater than or equal to 0"]),
    (("scales: [1, 4]", "scales: [1, 1]"), ["scales of depolarizing", "two are 1"]),
    (
        ("{recipe: depolarizing, scales: [1, 4]}", "{recipe: fake_manila, scales: [1.0e+17]}"),
        ["study.yaml", "fake_manila", "scales: 1e+17 is too much", "the largest scale here is 1,000,000"],
    ),
    (
        ("  - {recipe: depolarizing, scales: [1, 4]}", "  - {recipe: null}\nbackend: {basis_gates: 5}"),
        ["study.yaml", "basis_gates: 5 is not valid; expected a list"],
    ),
    (
        ("model.layers=2", "circuit=qdeq10-angle"),
        ["study.yaml", "direct two", "16 features, but the circuit takes 100"],
    ),
    (("training: tiny.yaml", "training: digit4"), ["study.yaml", "implicit", "did you mean 'digits4'?"]),
    (("training: tiny.yaml", ""), ["study.yaml", "model 'implicit' has no training recipe"]),
    (("model.layers=2", "model.layer=2"), ["direct two", "model.layer", "did you mean 'layers'?"]),
    (("samples: 20", "samples: 0"), ["study.yaml", "samples", "0"]),
    (("samples: 20", "sample: 20"), ["study.yaml", "unknown key 'sample'", "did you mean 'samples'?"]),
    (("samples: 20", "mitigation: [trx]"), ["study.yaml", "mitigation", "trx", "trex"]),
    (
        ("samples: 20", "mitigation: [{name: x, readot: trex}]"),
        ["study.yaml", "mitigation x", "unknown key 'readot'", "did you mean 'readout'?"],
    ),
    (("samples: 20", "mitigation: [zne]"), ["study.yaml", "mitigation zne", "shots"]),
    (
        ("samples: 20", "mitigation: [null, matrix]"),
        [
            "study.yaml",
            "mitigation: matrix undoes readout errors",
            "no noise here has any (depolarizing, depolarizing × 4)",
        ],
    ),
    (("samples: 20", "backend: {methd: aer}"), ["study.yaml", "methd", "did you mean 'method'?"]),
    (("samples: 20", "backend: {shots: 3}"), ["study.yaml", "backend.shots", "leave it out"]),
    (("samples: 20", "depth_target: fake_tornio"), ["study.yaml", "depth_target", "did you mean 'fake_torino'?"]),
    (("name: direct two", "name: implicit"), ["study.yaml", "models: two are named implicit"]),
    (("seeds: [3, 4]", "seeds: []"), ["study.yaml", "seeds"]),
    (("seeds: [3, 4]", "runs: nowhere/run"), ["study.yaml", "implicit", "'nowhere/run' is no folder"]),
    (
        ("recipe: depolarizing, scales: [1, 4]", "name: own, recipe: {sources: [{kind: thermal}]}"),
        ["study.yaml", "noise: own", "thermal_relaxation"],
    ),
    (
        (
            "recipe: depolarizing, scales: [1, 4]",
            "name: own, recipe: {sources: [{kind: thermal_relaxation, t1: 1.0e-5, t2: 3.0e-5, "
            "durations: {one_qubit: 1.0e-8, two_qubit: 1.0e-7}}]}",
        ),
        ["study.yaml", "noise: own", "t2", "3e-05", "2"],
    ),
    (
        ("recipe: depolarizing, scales: [1, 4]", "recipe: {sources: [{kind: readout, probability: 0.1}]}"),
        ["study.yaml", "noise in full needs a name"],
    ),
]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "noise=[{recipe: depolarizing, scales: [-1, 1]}]",
            "-1 is not valid; expected a number greater than or equal to 0",
        ),
        ("noise=[{recipe: depolarizing, scales: []}]", "[] is not valid; expected at least 1 entry"),
        ("noise=[{name: tiny, sources: []}]", "expected {name: tiny, recipe: {sources: [...]}}"),
        (
            "noise=[{recipe: {sources: []}}]",
            "noise in full needs a name; expected {name: ..., recipe: {sources: [...]}}",
        ),
        ("shots=[0]", "0 is not valid; expected a number greater than or equal to 1"),
        ("mitigation=[zen]", "there are none, matrix, trex, zne, twirling, dd"),
        ("models=[a]", "'a' is not valid; expected a mapping, such as {name: a}"),
        ("models=[{nam: a}]", "did you mean 'name'? (the keys here are name, training, set, seeds, runs)"),
        ("models=[{name: a, runs: r, set: [a=b]}]", "leave out training, set and seeds"),
        ("training=3", "3 is not valid; expected a text or a mapping"),
    ],
)
def test_a_single_mistake_is_not_said_to_be_several(override: str, said: str, study_file: Path) -> None:
    with pytest.raises(recipes.RecipeError) as caught:
        StudyRecipe.load(study_file, [override])
    assert str(caught.value).endswith(said)


def test_all_that_is_wrong_is_said_at_once(study_file: Path) -> None:
    with pytest.raises(recipes.RecipeError, match=r": 2 problems: \(1\) models\.0: 'a' is .* \(2\) models\.1: 'b' is "):
        StudyRecipe.load(study_file, ["models=[a, b]"])
    with pytest.raises(
        recipes.RecipeError, match=r"^4 problems: .*\(3\) --set shots=\[0\]: shots\.0: 0 is .*samples: 0 "
    ):
        StudyRecipe.load(study_file, ["models=[a, b]", "shots=[0]", "samples=0"])


@pytest.mark.parametrize(("change", "parts"), BAD_RECIPES)
def test_whatever_is_wrong_is_one_line_before_any_work(
    change: tuple[str, str], parts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert change[0] in STUDY
    write_study(tmp_path, STUDY.replace(*change))
    result = CliRunner().invoke(app, ["study", "study.yaml", "--out", "out"])
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = result.stderr.strip().splitlines()
    for part in parts:
        assert part in line
    assert not Path("out").exists()


def test_a_processor_that_is_too_small_is_named_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, STUDY.replace("{recipe: depolarizing, scales: [1, 4]}", "fake_manila"))
    (tmp_path / "tiny.yaml").write_text("{data: {name: digits, limit: 40}, circuit: qdeq6-amplitude, backend: exact}")
    result = CliRunner().invoke(app, ["study", "study.yaml", "--set", "models=[{name: six}]", "--out", "out"])
    assert result.exit_code == 2, result.output
    for part in ("study.yaml", "fake_manila", "model six", "6", "5"):
        assert part in result.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["study", "--resume", "x", "depth"], "leave out STUDY"),
        (["study", "--resume", "nowhere"], "nowhere: there is no such study folder"),
        (["study", "dept"], "did you mean 'depth'?"),
        (["study", "depth", "--workers", "2", "--scheduler", "tcp://x:1"], "--workers is for the local cluster"),
    ],
)
def test_a_command_that_makes_no_sense_is_one_line(arguments: list[str], part: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert part in line


@pytest.mark.parametrize("address", ["foo", "tcp://x", "tcp://x:port", "http://x:1", "tcp://x:99999"])
def test_an_address_of_another_form_is_refused_before_anything_is_planned_or_claimed(
    address: str, study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study_file.parent)
    result = CliRunner().invoke(app, ["study", "study.yaml", "--scheduler", address])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert f"--scheduler {address}: this is no address of a dask scheduler" in line
    assert "tcp://HOST:PORT" in line
    assert not Path("runs").exists()


def test_a_key_is_not_about_descriptions_nor_about_options_that_nobody_uses(study_file: Path) -> None:
    before = [cell.key for cell in plan_of(study_file).cells]
    training = study_file.parent / "tiny.yaml"
    training.write_text(training.read_text().replace("a tiny run", "another description"))
    assert [cell.key for cell in plan_of(study_file).cells] == before

    def recipe(**fields: object) -> BaseModel:
        return create_model("Recipe", kind=(str, "noisy"), shots=(int, 8), **fields)()  # type: ignore[call-overload]

    assert digest(recipe()) == digest(recipe(later=(bool, False)))
    assert digest(recipe()) != digest(recipe(later=(bool, False)).model_copy(update={"later": True}))
    assert digest(recipe()) != digest(create_model("Other", kind=(str, "noisy"), shots=(int, 8))())
