"""Reproduction recipes: the paper's, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from command_line import error_line, qdeq
from tiny_reproduction import REPRODUCTION, write_reproduction

from qdeq_qiskit.noise import fake_backends
from qdeq_qiskit.recipes import RecipeError, find
from qdeq_qiskit.reproduction import ReproductionRecipe
from qdeq_qiskit.reproduction.plan import make_plan

BASES = ("mnist4", "mnist10", "fashion10", "cifar10")
LAYERED = ("direct1", "direct2", "direct5", "direct10", "coherent2", "coherent5")


@pytest.fixture(scope="module")
def paper() -> ReproductionRecipe:
    return ReproductionRecipe.load("paper")


def test_the_papers_tables_have_every_row_of_the_paper_and_the_controls(paper: ReproductionRecipe) -> None:
    assert [table.name for table in paper.tables] == [*BASES]
    for table in paper.tables:
        wanted = {table.name, *(f"{table.name}-{suffix}" for suffix in ("warmup", "classical", *LAYERED))}
        assert wanted <= set(table.row_names)
    angle = {"mnist4-angle", *(f"mnist4-angle-{suffix}" for suffix in ("warmup", *LAYERED[:4]))}
    assert angle <= set(paper.tables[0].row_names)
    assert {"mnist10-angle", "mnist10-angle-paper"} <= set(paper.tables[1].row_names)


def test_no_figure_of_the_paper_is_given_that_nobody_has_checked(paper: ReproductionRecipe) -> None:
    by_name = {each.name: each for each in paper.published}
    assert by_name["paper"].rows == {}
    assert "could not be checked" in by_name["paper"].source
    figures = {row: (figure.accuracy, figure.seconds) for row, figure in by_name["authors' code"].rows.items()}
    assert figures == {
        "mnist4": (0.923, 792),
        "mnist4-warmup": (0.929, 572),
        "mnist4-direct1": (0.929, 128),
        "mnist4-direct5": (0.931, 434),
    }


def test_the_processor_is_heavy_hex(paper: ReproductionRecipe) -> None:
    coupled = fake_backends()[paper.depth_target]().target.build_coupling_map().get_edges()
    edges = {tuple(sorted(edge)) for edge in coupled}
    neighbours = Counter(qubit for edge in edges for qubit in edge)
    assert max(neighbours.values()) == 3, "of three neighbours at most, as on a hexagon with qubits on its edges too"
    crossing = [edge for edge in edges if all(neighbours[qubit] == 3 for qubit in edge)]
    assert not crossing, "and those with three are never neighbours"


def test_quick_rows_are_on_bundled_digits_with_the_papers_shapes_and_their_own_modes() -> None:
    path = find("reproductions", "paper")
    quick, whole = make_plan(path, quick=True), make_plan(path)
    for fast, slow in zip(quick.rows, whole.rows, strict=True):
        assert fast.row.name == slow.row.name
        assert fast.seeds == (0,)
        recipe = fast.row.recipe
        assert (recipe.data.name, recipe.model.features.resize) == ("digits", 28)
        assert recipe.optimisation.epochs <= 3
        assert recipe.model.warmup_steps <= 3
        assert (recipe.model.warmup_steps > 0) == (slow.row.recipe.model.warmup_steps > 0)
        kept = ("mode", "layers", "map", "penalty", "solver")
        assert [getattr(recipe.model, key) for key in kept] == [getattr(slow.row.recipe.model, key) for key in kept]
        assert recipe.circuit == slow.row.recipe.circuit
        assert recipe.data.classes == slow.row.recipe.data.classes
        assert slow.seeds == ((0, 1, 2) if slow.row.table == "mnist4" else (0,))


def test_long_rows_come_first_within_a_tables_seed(file: Path) -> None:
    order = [(row.name, seed) for row, seed in make_plan(file).in_order()]
    # An equilibrium takes more evaluations than two layers.
    assert order == [("tiny", 0), ("direct", 0), ("tiny", 1), ("direct", 1), ("coherent", 0)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows: [coherent.yaml]", "rows: [coherant.yaml]", r"table second: coherant\.yaml: this training recipe does"),
        ("rows: [coherent.yaml]", "rows: [coherent.yaml, coherent.yaml]", "coherent stands there twice"),
        ("name: second", "name: first", "first stands there twice"),
        ("{direct: {acc", "{dierct: {acc", r"'dierct' is no row of a table; did you mean 'direct'\?"),
        ("accuracy: 0.875", "accuracy: 87.5", "accuracy"),
        ("tables:", "depth_target: fake_tornio\ntables:", "depth_target: '?fake_tornio'? is unknown; did you mean"),
        ("quick: {set: [optimisation.epochs=1]}", "quick: {set: [optimisation.epoch=1]}", "did you mean"),
    ],
)
def test_a_wrong_recipe_is_refused_in_a_sentence(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in REPRODUCTION
    path = write_reproduction(tmp_path, REPRODUCTION.replace(old, new))
    with pytest.raises(RecipeError, match=message) as refused:
        make_plan(path, quick=True)
    assert "\n" not in str(refused.value)
    assert "small.yaml" in str(refused.value)


def test_the_command_lists_what_there_is_and_refuses_what_there_is_not() -> None:
    listed = qdeq("reproduce")
    assert listed.exit_code == 0
    assert "paper" in listed.stdout
    assert "there are mnist4, mnist10, fashion10, cifar10" in error_line(
        qdeq("reproduce", "paper", "--table", "mnist5")
    )
    assert "no reproduction recipe named 'papre'; did you mean 'paper'" in error_line(qdeq("reproduce", "papre"))
    both = qdeq("reproduce", "paper", "--workers", 1, "--scheduler", "tcp://127.0.0.1:1")
    assert "--workers is for the local cluster" in error_line(both)
    nobody = qdeq("reproduce", "paper", "--quick", "--scheduler", "tcp://127.0.0.1:1", "--out", "nowhere/out")
    assert "no dask scheduler answers there" in error_line(nobody)
    assert not Path("nowhere").exists()
