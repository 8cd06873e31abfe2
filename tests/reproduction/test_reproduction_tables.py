"""The tables against result files that are written by hand; the numbers expected are worked out by hand, too."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_line import qdeq
from tiny_reproduction import REPRODUCTION, write_reproduction

from qdeq_qiskit.reproduction.directory import ReproductionDirectory
from qdeq_qiskit.reproduction.findings import findings
from qdeq_qiskit.reproduction.markdown import table_page
from qdeq_qiskit.reproduction.plan import Plan, make_plan
from qdeq_qiskit.reproduction.table import lines_of, rows_table, runs_table, task_key
from qdeq_qiskit.resolved import resolved

RESULT = {
    "valid_accuracy": 0.9,
    "converged_fraction": 1.0,
    "median_residual": None,
    "mean_iterations": 3.0,
    "circuits": 10,
    "shots": 0,
    "best_epoch": 2,
    "epochs": 2,
    "steps": 6,
    "seconds": 9.0,
    "ms_per_step": 1.0,
    "control_accuracy": 0.95,
    "control": {"name": "logistic regression", "accuracy": 0.95, "parameters": 51},
    "parameters": {"circuit": 39, "head": 51},
    "samples": {"train": 30, "valid": 8, "test": 40},
    "backend": "exact",
}


class Hand:
    """A reproduction's folder that is filled by hand."""

    def __init__(self, folder: Path, text: str = REPRODUCTION) -> None:
        self.plan: Plan = make_plan(write_reproduction(folder, text))
        self.directory = ReproductionDirectory(folder / "out")
        self.directory.path.mkdir()
        self.directory.begin(self.plan.recipe, {"name": "small", "quick": False, "begun": "now", "versions": {}})

    def run(self, name: str, seed: int, accuracy: float, residual: float | None, **changes: Any) -> None:
        """A finished and measured run."""
        row = next(planned.row for planned in self.plan.rows if planned.row.name == name)
        path = self.directory.run(name, seed)
        path.mkdir()
        (path / "recipe.yaml").write_text(resolved(row.seeded(seed)))
        versions = {"qdeq_qiskit": "0.0.1", "torch": "2.9"}
        (path / "run.json").write_text(json.dumps({"begun": "2026-11-20 10:00:00 +0000", "versions": versions}))
        test = {"accuracy": accuracy, "accuracy_interval": [accuracy - 0.1, accuracy + 0.1], "macro_f1": 0.5}
        test |= {"log_loss": 1.0, "samples": 40, "converged_fraction": None, "mean_iterations": 3.0}
        test |= {"mean_evaluations": changes.pop("evaluations", 2.0), "median_residual": residual}
        result = {**RESULT, "seed": seed, "test_accuracy": accuracy, "test": test, **changes}
        (path / "result.json").write_text(json.dumps(result))
        self.directory.write_measures(path.name, {"residual": residual})

    def rows(self) -> pd.DataFrame:
        return rows_table(lines_of(self.plan, self.directory), self.plan, self.directory).set_index("recipe")

    def page(self) -> str:
        return table_page(self.plan, lines_of(self.plan, self.directory), self.directory)

    def cells(self, name: str) -> list[str]:
        """A row of the page's tables."""
        lines = [line for line in self.page().splitlines() if line.startswith(f"| {name} |")]
        assert len(lines) == 1, lines
        return [cell.strip() for cell in lines[0].strip("|").split("|")]


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    return Hand(tmp_path)


def test_a_row_over_seeds_has_the_numbers_that_one_works_out_by_hand(hand: Hand) -> None:
    hand.run("tiny", 0, 0.80, 2e-6, evaluations=5.0, cpu_seconds=10.0, added_memory_mb=100.0)
    hand.run("tiny", 1, 0.90, 6e-6, evaluations=6.0, cpu_seconds=14.0, added_memory_mb=120.5)
    key = hand.plan.rows[0].row.circuit_key
    assert key is not None
    hand.directory.write_circuit(key, {"two_qubit_depth": 38})
    row = hand.rows().loc["tiny"]
    assert row["accuracy"] == pytest.approx(0.85)
    assert row["accuracy_std"] == pytest.approx(0.05 * math.sqrt(2))  # of a sample: (0.05² + 0.05²) / (2 − 1)
    assert row["residual"] == pytest.approx(4e-6)
    assert row["evaluations"] == pytest.approx(5.5)
    assert row["cpu_seconds"] == pytest.approx(12)
    assert row["added_memory_mb"] == 120.5
    assert (row["two_qubit_depth"], row["map_weights"], row["head_weights"]) == (38, 39, 51)
    assert (row["status"], row["seeds"], row["mode"]) == ("finished", 2, "implicit")
    shown = ["implicit", "85.0% ± 7.1%", "2", "4·10⁻⁶", "5.5", "12 s", "120 MB", "38", "39 + 51", "–"]
    assert hand.cells("implicit") == shown
    assert hand.cells("logistic regression, same pixels")[1] == "95.0%"
    runs = runs_table(lines_of(hand.plan, hand.directory))
    assert list(runs["accuracy"]) == [0.80, 0.90]
    assert list(runs["seed"]) == [0, 1]
    assert list(runs["accuracy_low"]) == pytest.approx([0.70, 0.80])


def test_one_seed_has_no_spread_and_what_a_version_did_not_measure_is_not_made_up(hand: Hand) -> None:
    hand.run("coherent", 0, 0.75, None)
    row = hand.rows().loc["coherent"]
    assert pd.isna([row["accuracy_std"], row["cpu_seconds"], row["added_memory_mb"], row["residual"]]).all()
    assert hand.cells("coherent, 2 layers") == [
        "coherent, 2 layers", "75.0%", "1", "–", "2.0", "–", "–", "–", "39 + 51",
    ]  # fmt: skip


def test_rows_that_are_not_finished_or_failed_are_marked_as_such(hand: Hand) -> None:
    hand.run("tiny", 1, 0.80, 1e-6)
    key = task_key("direct", 0)
    hand.directory.books.record_failure(key, "TrainingError: the loss is nan", "")
    assert hand.cells("implicit")[1:3] == ["80.0%", "1 of 2"]
    assert hand.cells("direct, 2 layers")[1:3] == ["failed", "0 of 2"]
    assert hand.cells("coherent, 2 layers")[1:3] == ["not finished", "0 of 1"]
    assert "- direct, seed 0, failed: TrainingError: the loss is nan" in hand.page()
    assert list(hand.rows()["status"]) == ["not finished", "failed", "not finished"]


def test_a_damaged_result_fails_its_own_row_alone(hand: Hand) -> None:
    hand.run("tiny", 0, 0.80, 1e-6)
    hand.run("coherent", 0, 0.75, None)
    (hand.directory.run("tiny", 0) / "result.json").write_text("{")
    assert list(hand.rows()["status"]) == ["failed", "not finished", "finished"]
    assert "result.json: is damaged" in hand.page()


def test_a_published_figure_stands_in_a_column_of_its_own_with_its_source(hand: Hand) -> None:
    hand.run("direct", 0, 0.5, 0.1)
    page = hand.page()
    first, second = page.split("## The second table")
    assert "| theirs [1] |" in first
    assert hand.cells("direct, 2 layers")[-1] == "87.5%, 1,200 s"
    assert hand.cells("implicit")[-1] == "–"
    assert "theirs" not in second.split("## What")[0], "no column without a figure"
    assert "- [1] **theirs**: somewhere, by somebody" in page
    assert "- **nobody's**: could not be checked here" in page
    table = hand.rows()
    assert table.loc["direct", "published: theirs"] == 0.875
    assert table["published: nobody's"].isna().all()


def test_quick_pages_say_in_their_first_line_that_their_numbers_mean_nothing(tmp_path: Path) -> None:
    plan = make_plan(write_reproduction(tmp_path), quick=True)
    page = table_page(plan, lines_of(plan, ReproductionDirectory(tmp_path)), ReproductionDirectory(tmp_path))
    assert "mean nothing for the paper" in page.splitlines()[0]
    assert "theirs" not in page, "no figure of others beside them"


def test_sentences_follow_from_the_numbers_whoever_wins(hand: Hand) -> None:
    for seed, (implicit, direct) in enumerate([(0.80, 0.905), (0.82, 0.925)]):
        hand.run("tiny", seed, implicit, 1e-6)
        hand.run("direct", seed, direct, 1e-2)
    said = " ".join(findings(lines_of(hand.plan, hand.directory)[:2]))
    assert "The best circuit is “direct, 2 layers” (amplitude encoding) with 91.5%." in said
    assert "Logistic regression on the same pixels has 95.0% and is ahead of every circuit." in said
    # 0.81 beside 0.915; the spreads are 0.014 each.
    assert "the equilibrium has 81.0%, 10.5 points behind the 91.5% of the best direct model" in said
    assert "within the spread" not in said


def test_a_small_difference_is_called_one_of_seeds(hand: Hand) -> None:
    for seed, (implicit, direct) in enumerate([(0.96, 0.90), (0.90, 0.95)]):
        hand.run("tiny", seed, implicit, 1e-6)
        hand.run("direct", seed, direct, 1e-2)
    said = " ".join(findings(lines_of(hand.plan, hand.directory)[:2]))
    # 0.93 beside 0.925, spreads 0.042 and 0.035.
    assert "93.0%, 0.5 points ahead of (within the spread of seeds) the 92.5%" in said
    assert "has 95.0% and is ahead of every circuit" in said


def test_a_page_is_written_from_the_folder_and_again_to_the_same(finished: Path, tmp_path: Path) -> None:
    arguments = ("reproduce", finished.parent / "small.yaml", "--out", finished, "--no-training", "--page")
    written = qdeq(*arguments, tmp_path / "results.md")
    assert written.exit_code == 0, written.output
    page = (tmp_path / "results.md").read_text()
    for part in ("## The first table", "## The second table", "qdeq_qiskit", "torch", "theirs [1]", "runs.csv"):
        assert part in page
    assert "could not be checked here" in page
    pictures = sorted(path.name for path in (tmp_path / "images" / "results").iterdir())
    assert pictures == ["accuracy-evaluations.png", "accuracy-layers.png", "residual.png"]
    assert all(f"](images/results/{name})" in page for name in pictures)
    assert sum(path.stat().st_size for path in (tmp_path / "images" / "results").iterdir()) < 400_000


def test_rows_that_cost_and_reach_the_same_are_both_to_be_seen(hand: Hand) -> None:
    from matplotlib.figure import Figure

    from qdeq_qiskit.reproduction.plots import _by_evaluations, _by_layers

    for name in ("tiny", "direct"):
        hand.run(name, 0, 0.9, 1e-6, evaluations=2.0)
    hand.run("coherent", 0, 0.9, None, evaluations=1.0)
    lines = lines_of(hand.plan, hand.directory)
    for draw, factor in ((_by_evaluations, 1.04), (_by_layers, None)):
        axes = Figure().add_subplot()
        draw(axes, lines)
        drawn = {
            label: [round(float(x), 6) for x in handle.lines[0].get_xdata()]
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
            if "amplitude" in label
        }
        places = sorted(drawn[label][0] for label in ("implicit, amplitude", "direct, amplitude"))
        assert places[1] > places[0] * 1.03
        if factor is not None:
            # Both cost two evaluations, and stand to either side of 2.
            assert places == pytest.approx([2 / factor**0.5, 2 * factor**0.5], rel=1e-6)
            assert drawn["coherent, amplitude"] == [1.0]
            assert [text.get_text() for text in axes.texts] == ["L = 2"]
