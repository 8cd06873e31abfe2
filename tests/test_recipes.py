"""Reading recipes: what is found, what is refused, and what the refusal says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from qdeq_qiskit import recipes
from qdeq_qiskit.recipes import RecipeError


class Red(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["red"]
    brightness: Annotated[float, Field(gt=0, description="How bright.")]


class Blue(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["blue"]
    depth: int = 3


class Toy(BaseModel):
    model_config = ConfigDict(extra="forbid")
    description: str = ""
    size: Annotated[int, Field(ge=1)]
    mode: Literal["implicit", "direct"] = "implicit"
    colour: Annotated[Red | Blue, Field(discriminator="kind")] = Blue(kind="blue")


@pytest.fixture
def toy(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "toy.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        recipes.load("training", path, Toy, overrides=overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_misspelt_key_is_named_with_file_value_and_nearest_valid_key(toy: Any) -> None:
    message = refusal(toy("size: 3\ncolour: {kind: red, brigthness: 2}"))
    for part in ("toy.yaml", "colour.brigthness", "value 2", "did you mean 'brightness'?"):
        assert part in message


def test_a_misspelt_choice_is_answered_with_the_nearest_valid_one(toy: Any) -> None:
    message = refusal(toy("size: 3\nmode: implict"))
    assert "mode: 'implict' is not valid" in message
    assert "did you mean 'implicit'?" in message
    assert "direct" in message


def test_an_unknown_kind_is_answered_with_the_nearest_valid_one(toy: Any) -> None:
    message = refusal(toy("size: 3\ncolour: {kind: bleu}"))
    assert "colour: kind is 'bleu'; did you mean 'blue'?" in message


def test_a_value_out_of_range_is_shown_with_its_bound(toy: Any) -> None:
    assert "size: 0 is not valid; expected a number greater than or equal to 1" in refusal(toy("size: 0"))


def test_a_missing_key_is_named_with_its_meaning(toy: Any) -> None:
    message = refusal(toy("size: 3\ncolour: {kind: red}"))
    assert "colour.brightness: this key is missing" in message
    assert "(How bright)" in message


def test_errors_in_an_override_name_the_override_instead_of_the_file(toy: Any) -> None:
    message = refusal(toy("size: 3"), "colour.depht=4")
    assert message.startswith("--set colour.depht=4: colour")
    assert "kind" in message
    message = refusal(toy("size: 3\ncolour: {kind: blue}"), "colour.depht=4")
    assert "did you mean 'depth'?" in message


def test_overrides_are_read_as_yaml_and_reach_into_mappings(toy: Any) -> None:
    path = toy("size: 3\ncolour: {kind: red, brightness: 1}")
    loaded = recipes.load("training", path, Toy, overrides=["size=5", "colour.brightness=2e-3", "mode=direct"])
    assert (loaded.size, loaded.colour.brightness, loaded.mode) == (5, 0.002, "direct")


@pytest.mark.parametrize("text", ["size", "=3", "a..b=3", "size=[", "size.x=3"])
def test_an_override_that_is_no_assignment_is_refused(toy: Any, text: str) -> None:
    assert text in refusal(toy("size: 3"), text)


def test_a_number_in_scientific_notation_without_a_point_is_a_number(toy: Any) -> None:
    assert recipes.read_yaml(toy("rate: 5e-3\nother: 1e3")) == {"rate": 0.005, "other": 1000.0}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("size: 3\nsize: 4", "'size' is there twice (line 2"),
        ("a: &x 1\nb: *x", "aliases"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("- 1\n- 2", "a mapping of keys to values"),
        ("size: [1", "not valid YAML"),
        ("1: 2", "keys are words"),
        ("", "a mapping of keys to values"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_files_that_are_no_recipe_are_refused_with_the_reason(toy: Any, text: str, reason: str) -> None:
    assert reason in refusal(toy(text))


def test_an_enormous_file_and_a_binary_one_are_refused(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_text("x: " + "1" * 2_000_000)
    assert "at most" in refusal(big)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refusal(binary)


def test_an_unknown_recipe_is_answered_with_the_nearest_shipped_one() -> None:
    with pytest.raises(RecipeError, match=r"no training recipe named 'digit'; did you mean 'digits'\?"):
        recipes.find("training", "digit")
    with pytest.raises(RecipeError, match="does not exist"):
        recipes.find("training", "nowhere/digits.yaml")
    with pytest.raises(RecipeError, match="is a folder"):
        recipes.find("training", recipes.folder("training"))


def test_a_shipped_recipe_is_found_by_name_and_by_its_path_in_the_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    by_name = recipes.find("training", "digits")
    assert recipes.find("training", "training/digits.yaml") == by_name
    assert recipes.find("training", by_name) == by_name


def test_every_shipped_recipe_describes_itself_in_one_line() -> None:
    for kind in ("training", "circuits", "noise"):
        entries = recipes.list_recipes(kind)
        assert entries
        assert all(entry.description and len(entry.description) < 120 for entry in entries)


def test_a_recipe_referred_to_by_name_takes_the_place_of_its_name(tmp_path: Path) -> None:
    class Outer(BaseModel):
        circuit: dict[str, Any]

    path = tmp_path / "outer.yaml"
    path.write_text("circuit: qdeq4-amplitude")
    references = {"circuit": "circuits"}
    loaded = recipes.load("training", path, Outer, references=references)
    assert loaded.circuit["num_qubits"] == 4
    loaded = recipes.load("training", path, Outer, references=references, overrides=["circuit.num_qubits=5"])
    assert loaded.circuit["num_qubits"] == 5
    assert loaded.circuit["encoder"]["kind"] == "amplitude"
    path.write_text("circuit: qdeq4-ampltude")
    with pytest.raises(RecipeError, match=r"outer\.yaml: circuit: .*did you mean 'qdeq4-amplitude'\?"):
        recipes.load("training", path, Outer, references=references)


@pytest.mark.parametrize("brightness", [1e-7, 3.0, float("inf")])
def test_a_recipe_dumped_and_read_again_is_equal(tmp_path: Path, brightness: float) -> None:
    recipe = Toy(size=7, colour=Red(kind="red", brightness=brightness), description="θ: a test")
    path = tmp_path / "again.yaml"
    path.write_text(recipes.dump(recipe), encoding="utf-8")
    assert recipes.load("training", path, Toy) == recipe


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["size", "mode", "colour", "kind", "sise", "brightness"]) | st.text(max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.dictionaries(keys, values, max_size=4))
def test_any_wrong_mapping_ends_in_one_line_that_names_the_file(toy: Any, data: dict[str, Any]) -> None:
    path = toy(yaml.safe_dump(data))
    message = None
    try:
        recipes.load("training", path, Toy)
    except RecipeError as error:
        message = str(error)
    assert message is None or ("\n" not in message and "toy.yaml" in message)


def test_of_several_overrides_only_those_at_fault_are_named(toy: Any) -> None:
    alone = refusal(toy("size: 3\ncolour: {kind: blue}"), "mode=direct", "colour.kind=red", "size=4")
    assert alone.startswith("--set colour.kind=red: colour.brightness: this key is missing")


def test_a_file_that_is_wrong_by_itself_is_blamed_whatever_is_overridden(toy: Any) -> None:
    assert "toy.yaml: mode" in refusal(toy("size: 3\nmode: explicit"), "size=4")


def test_a_name_without_its_suffix_points_to_the_file_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("size: 3")
    with pytest.raises(RecipeError, match=r"named 'my'; for the file here, write my\.yaml"):
        recipes.find("training", "my")


class Channel(BaseModel):
    model_config = ConfigDict(extra="forbid")
    description: str = ""
    strength: Annotated[float, Field(ge=0, le=1)]
    file: str = ""
    calibration: str = ""


class Machine(BaseModel):
    model_config = ConfigDict(extra="forbid")
    noise: Channel
    shots: int = 1


class Experiment(BaseModel):
    model_config = ConfigDict(extra="forbid")
    backend: Machine
    others: tuple[Machine, ...] = ()


NESTED = {"backend.noise": "noise", "backend": "backends", "others.*": "backends", "others.*.noise": "noise"}


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A recipe that refers to a backend in another folder, which refers to the noise beside it."""
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "shaky.yaml").write_text("noise: loud.yaml\nshots: 7")
    (tmp_path / "machines" / "loud.yaml").write_text("strength: 0.4\ncalibration: data.json")
    (tmp_path / "machines" / "data.json").write_text("{}")
    (tmp_path / "quiet.yaml").write_text("strength: 0.1")
    path = tmp_path / "experiment.yaml"
    path.write_text("backend: machines/shaky.yaml")
    return path


def nested(path: Path, *overrides: str) -> Experiment:
    loaded: Experiment = recipes.load("training", path, Experiment, overrides=overrides, references=NESTED)
    return loaded


def test_a_recipe_referred_to_refers_to_others_beside_itself(experiment: Path) -> None:
    backend = nested(experiment).backend
    assert (backend.shots, backend.noise.strength) == (7, 0.4)
    assert backend.noise.calibration == str(experiment.parent / "machines" / "data.json"), "a file beside its recipe"


def test_overrides_reach_through_references_into_references(experiment: Path) -> None:
    assert nested(experiment, "backend.noise.strength=0.9").backend.noise.strength == 0.9
    swapped = nested(experiment, "backend.noise=quiet.yaml", "backend.noise.file=x", "backend.shots=3").backend
    assert (swapped.noise.strength, swapped.noise.file, swapped.shots) == (0.1, "x", 3)


def test_entries_of_a_list_may_be_names_and_be_overridden_by_number(experiment: Path) -> None:
    with experiment.open("a") as file:
        file.write("\nothers: [machines/shaky.yaml, {noise: quiet.yaml}]")
    assert [other.noise.strength for other in nested(experiment).others] == [0.4, 0.1]
    changed = nested(experiment, "others.0.noise.strength=0.2", "others.1.shots=5").others
    assert [(other.noise.strength, other.shots) for other in changed] == [(0.2, 7), (0.1, 5)]
    with pytest.raises(RecipeError, match=r"--set others\.2\.shots=5: others is a list of 2 entries.*no '2'"):
        nested(experiment, "others.2.shots=5")
    with pytest.raises(RecipeError, match=r"no 'first'"):
        nested(experiment, "others.first.shots=5")


def test_errors_below_nested_references_name_the_file_in_which_the_value_stands(experiment: Path) -> None:
    (experiment.parent / "machines" / "loud.yaml").write_text("strength: 4")
    with pytest.raises(
        RecipeError, match=r"loud\.yaml: strength: 4\.?0? is not valid; expected a number less than or equal to 1"
    ):
        nested(experiment)
    (experiment.parent / "machines" / "loud.yaml").write_text("strenght: 0.4")
    with pytest.raises(RecipeError, match=r"loud\.yaml: strenght: unknown key 'strenght'.*did you mean 'strength'\?"):
        nested(experiment)
    (experiment.parent / "machines" / "shaky.yaml").write_text("noise: gone.yaml")
    with pytest.raises(RecipeError, match=r"shaky\.yaml: backend\.noise: gone\.yaml: this noise recipe does not exist"):
        nested(experiment)
    with pytest.raises(RecipeError, match=r"--set backend\.noise=depolarising: backend\.noise: .*'depolarizing'\?"):
        nested(experiment, "backend.noise=depolarising")
    (experiment.parent / "machines" / "shaky.yaml").write_text("{noise: {strength: 0.1}, shots: many}")
    with pytest.raises(RecipeError, match=r"shaky\.yaml: shots: 'many' is not valid"):
        nested(experiment)
    with pytest.raises(RecipeError, match=r"^--set backend\.noise\.strength=2: backend\.noise\.strength: 2 is not"):
        nested(experiment, "backend.shots=1", "backend.noise.strength=2")


def test_what_an_override_replaces_is_no_longer_blamed_on_the_file_it_came_from(experiment: Path) -> None:
    with pytest.raises(RecipeError, match=r"^--set backend=\{noise: \{strength: 3\}\}: backend\.noise\.strength: 3"):
        nested(experiment, "backend.noise.strength=0.3", "backend={noise: {strength: 3}}")


def test_every_kind_of_recipe_is_recognised_where_another_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "given.yaml"
    path.write_text("sources: [{kind: readout, error: 0.1}]")
    with pytest.raises(RecipeError, match="this looks like a noise recipe, not a training recipe"):
        recipes.load("training", path, Toy)
    assert recipes.find("noise", "noise/depolarizing.yaml").resolve() == recipes.folder("noise") / "depolarizing.yaml"


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """The folder of a recipe, of another that is made from it, and of a third that is made from that."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "base.yaml").write_text(
        "description: the first\nsize: 3\nmode: direct\ncolour: {kind: red, brightness: 2}"
    )
    (tmp_path / "middle.yaml").write_text("extends: old/base.yaml\nsize: 4\ncolour: {brightness: 5}")
    (tmp_path / "last.yaml").write_text("extends: middle.yaml\ndescription: the last\nmode: implicit")
    return tmp_path


def test_a_recipe_that_extends_another_says_only_what_differs(family: Path) -> None:
    last = recipes.load("training", family / "last.yaml", Toy)
    assert last == Toy(description="the last", size=4, mode="implicit", colour=Red(kind="red", brightness=5))
    middle = recipes.load("training", family / "middle.yaml", Toy, overrides=["colour.brightness=7"])
    assert middle.colour == Red(kind="red", brightness=7), "overrides come last"
    assert middle.description == "", "what a recipe says of itself is not said of others"
    assert "extends" not in recipes.dump(middle)


def test_a_mapping_of_another_kind_replaces_the_one_that_is_extended(family: Path) -> None:
    (family / "last.yaml").write_text("extends: middle.yaml\ncolour: {kind: blue}")
    assert recipes.load("training", family / "last.yaml", Toy).colour == Blue(kind="blue")


def test_lists_and_null_replace_what_is_extended(tmp_path: Path) -> None:
    class Lists(BaseModel):
        numbers: list[int]
        more: dict[str, int] | None

    (tmp_path / "base.yaml").write_text("numbers: [1, 2, 3]\nmore: {a: 1, b: 2}")
    path = tmp_path / "toy.yaml"
    path.write_text("extends: base.yaml\nnumbers: [4]\nmore: {b: 3}")
    assert recipes.load("training", path, Lists) == Lists(numbers=[4], more={"a": 1, "b": 3})
    path.write_text("extends: base.yaml\nmore: null")
    assert recipes.load("training", path, Lists) == Lists(numbers=[1, 2, 3], more=None)


def test_a_file_of_a_shipped_ones_name_may_extend_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "depolarizing.yaml").write_text("extends: depolarizing\nscale: 2")
    shipped = recipes.load("noise", "depolarizing", dict[str, Any])
    mine = recipes.load("noise", "depolarizing.yaml", dict[str, Any])
    assert (mine["sources"], mine["scale"]) == (shipped["sources"], 2)


def test_a_recipe_may_extend_a_shipped_one_by_its_name_and_any_kind_may(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: depolarizing\nscale: 2")
    shipped = recipes.load("noise", "depolarizing", dict[str, Any])
    mine = recipes.load("noise", path, dict[str, Any])
    assert mine == {**{key: value for key, value in shipped.items() if key != "description"}, "scale": 2}
    (tmp_path / "outer.yaml").write_text("noise: mine.yaml")
    outer = recipes.load("backends", tmp_path / "outer.yaml", dict[str, Any], references={"noise": "noise"})
    assert outer["noise"] == mine, "also where it is referred to"


def test_names_and_files_in_an_extended_recipe_are_found_from_where_it_stands(experiment: Path) -> None:
    folder = experiment.parent / "machines"
    (folder / "steady.yaml").write_text("extends: shaky.yaml\nnoise: {strength: 0.2}\nshots: 9")
    experiment.write_text("backend: machines/steady.yaml")
    assert nested(experiment).backend == Machine(noise=Channel(strength=0.2), shots=9)
    other = experiment.parent / "other.yaml"
    (folder / "experiment.yaml").write_text("backend: {noise: loud.yaml, shots: 2}")
    other.write_text("extends: machines/experiment.yaml\nbackend: {shots: 3}")
    backend = nested(other).backend
    assert (backend.shots, backend.noise.strength) == (3, 0.4)
    assert backend.noise.calibration == str(folder / "data.json")


def test_an_error_names_the_file_that_the_wrong_value_stands_in(family: Path) -> None:
    (family / "old" / "base.yaml").write_text("size: 0\nmode: direct\ncolour: {kind: red, brightness: 2}")
    (family / "middle.yaml").write_text("extends: old/base.yaml\ncolour: {brigthness: 5}")
    with pytest.raises(RecipeError) as caught:
        recipes.load("training", family / "last.yaml", Toy)
    assert f"{family}/old/base.yaml: size: 0 is not valid" in str(caught.value)
    assert f"{family}/middle.yaml: colour.brigthness: unknown key" in str(caught.value)
    (family / "old" / "base.yaml").write_text("size: 3\ncolour: {kind: red, shade: 2}")
    (family / "middle.yaml").write_text("extends: old/base.yaml\ncolour: {tint: 5}")
    with pytest.raises(RecipeError) as caught:
        recipes.load("training", family / "last.yaml", Toy)
    assert f"{family}/old/base.yaml: colour.shade: unknown key" in str(caught.value)
    assert f"{family}/middle.yaml: colour.tint: unknown key" in str(caught.value)
    assert f"{family}/middle.yaml: colour.brightness: this key is missing" in str(caught.value), "the last to add to it"
    with pytest.raises(RecipeError, match=r"^--set size=-1: size: -1 is not valid"):
        recipes.load("training", family / "last.yaml", Toy, overrides=["size=-1", "colour={kind: blue}"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("extends: 3", r"toy\.yaml: extends: 3 is not valid; expected the name of one training recipe"),
        ("extends: [digits]", r"toy\.yaml: extends: \['digits'\] is not valid"),
        ("extends: null", r"toy\.yaml: extends: null is not valid"),
        ("extends: digit", r"toy\.yaml: extends: there is no training recipe named 'digit'; did you mean 'digits'\?"),
        ("extends: gone.yaml", r"toy\.yaml: extends: gone\.yaml: this training recipe does not exist"),
        ("extends: toy.yaml", r"toy\.yaml: extends: 'toy\.yaml' is made from this recipe itself; give another one"),
        ("extend: digits", r"toy\.yaml: extend: unknown key 'extend' \(value 'digits'\); did you mean 'extends'\?"),
        ("extends: broken.yaml", r"toy\.yaml: extends: .*broken\.yaml: is not valid YAML"),
        ("extends: far.yaml", r"far\.yaml: extends: 'toy\.yaml' is made from this recipe itself"),
        (
            "size: 1\ncolour: {kind: red, brightness: 1, extends: digits}",
            r"toy\.yaml: colour\.extends: unknown key .* in a file of its own: write it at the top there",
        ),
        (
            "extends: machine.yaml",
            r"toy\.yaml: extends: .*machine\.yaml: this looks like a backend recipe, not a training",
        ),
    ],
)
def test_an_extended_recipe_that_cannot_be_is_refused_with_file_and_key(toy: Any, text: str, reason: str) -> None:
    path = toy(text)
    (path.parent / "broken.yaml").write_text("a: [")
    (path.parent / "far.yaml").write_text("extends: toy.yaml")
    (path.parent / "machine.yaml").write_text("kind: exact")
    assert re.search(reason, refusal(path))


def test_a_long_chain_of_recipes_is_followed_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "0.yaml").write_text("size: 1")
    for number in range(1, 60):
        (tmp_path / f"{number}.yaml").write_text(f"extends: {number - 1}.yaml\nmode: direct")
    assert recipes.load("training", tmp_path / "59.yaml", Toy) == Toy(size=1, mode="direct")


def test_recipes_are_listed_with_shorter_names_and_smaller_numbers_first() -> None:
    names = [entry.name for entry in recipes.list_recipes("training")]
    rows = [name for name in names if name.startswith("mnist4")]
    assert rows.index("mnist4") < rows.index("mnist4-direct2") < rows.index("mnist4-direct10")
    assert names.index("digits4-noisy") < names.index("digits10")
