"""Two backends side by side: which samples are matched, and what counts as another root."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from qdeq_qiskit.training import RunDirectory
from qdeq_qiskit.training.comparison import Comparison
from qdeq_qiskit.training.evaluate_run import evaluate_run
from qdeq_qiskit.training.evaluation import Evaluation


def evaluation(state: list[float], converged: list[bool]) -> Evaluation:
    count = len(state)
    return Evaluation(
        labels=np.arange(count) % 2,
        probabilities=np.tile([0.9, 0.1], (count, 1)),
        state=np.array(state)[:, None] * [[0.6, 0.8]],  # of norm |state|
        residual=np.full(count, 1e-5),
        iterations=np.ones(count),
        evaluations=np.ones(count),
        converged=np.array(converged),
        radius=np.zeros(0),
        trace=np.zeros((0, 0)),
        circuits=7,
        shots=0,
        seconds=0.5,
    )


# Sample by sample: the same root, just within 1%, just beyond it, another root, not converged on one of the two.
FIRST = evaluation([1.0, 0.5, 0.5, 0.5, 0.5, 0.5], [True, True, True, True, True, False])
SECOND = evaluation([1.0, 0.4951, 0.4949, -0.5, 0.2, 0.5], [True, True, True, True, False, True])


def comparison(second: Evaluation = SECOND, tolerance: float | None = 1e-4) -> Comparison:
    return Comparison({"first": FIRST, "second": second}, 6, Path("nowhere"), tolerance)


def test_only_samples_that_converged_on_both_are_matched_and_other_roots_are_counted_apart() -> None:
    compared = comparison().figures()["compared"]
    assert compared["not_compared"] == 2
    assert compared["branch_changes"] == 2
    assert compared["median_displacement"] == pytest.approx((0 + 0.0049) / 2)


def test_a_looser_tolerance_takes_more_distant_roots_for_one() -> None:
    assert comparison(tolerance=2e-4).figures()["compared"]["branch_changes"] == 1


def test_without_a_common_root_there_is_no_displacement_and_the_table_shows_a_dash() -> None:
    nowhere = comparison(replace(SECOND, converged=np.zeros(6, dtype=bool)))
    assert nowhere.figures()["compared"]["median_displacement"] is None
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(nowhere.table())
    lines = {line.split("│")[1].strip(): line for line in console.export_text().splitlines() if line.count("│") > 2}
    assert "–" in lines["displacement of w*, median"]
    assert lines["not compared"].split("│")[-2].strip() == "6"
    assert lines["branch changes"].split("│")[-2].strip() == "0"


def test_where_roots_cannot_be_told_apart_all_samples_are_compared_by_distance_alone() -> None:
    compared = comparison(tolerance=None).figures()["compared"]
    assert set(compared) == {"same_prediction", "median_displacement"}
    assert compared["median_displacement"] == pytest.approx((0.0049 + 0.0051) / 2)


def test_the_share_of_images_whose_class_is_not_sure_is_shown_also_where_it_is_none() -> None:
    def shown(confidence: list[float]) -> str:
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(comparison(replace(SECOND, confidence=np.array(confidence))).table())
        text = console.export_text()
        assert "circuits a machine would run, Jacobians included" in text
        (line,) = (line for line in text.splitlines() if "class known with less than 95%" in line)
        return line.split("│")[-2].strip()

    assert shown([1.0, 0.95, 0.949, 0.6, np.nan, 0.99]) == "50.0% of images"
    assert shown([1.0] * 6) == "0.0% of images"
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(comparison().table())
    assert "less than 95%" not in console.export_text()


def test_more_samples_than_there_are_is_said(run: RunDirectory) -> None:
    written = io.StringIO()
    evaluate_run(run.path, samples=1000, console=Console(file=written, width=90))
    assert "--samples 1000: there are 40 test images; all of them are used" in written.getvalue()


def test_any_number_of_samples_can_be_tested_and_it_is_said_where_the_figures_went(run: RunDirectory) -> None:
    for samples in (1, 2, 38, 39, 40):
        written = io.StringIO()
        compared = evaluate_run(run.path, samples=samples, console=Console(file=written, width=60))
        assert len(compared.outcomes.popitem()[1].labels) == samples
        assert written.getvalue() == f"written to: {run.path / 'evaluations' / f'own-{samples}.json'}\n"
        assert compared.path.is_file()


def test_a_copy_of_a_processor_is_compared_with_the_roots_of_its_exact_snapshot(run: RunDirectory) -> None:
    comparison = evaluate_run(run.path, backend="fake_manila", samples=3)
    assert [*comparison.outcomes][1].startswith("fake_manila (local)")
    assert comparison.followed is not None
    assert comparison.figures()["compared"]["median_displacement"] is not None
    mitigated = run.path / "mitigated.yaml"
    mitigated.write_text("kind: ibm\nname: fake_manila\nshots: 64\nmitigation: trex\n")
    comparison = evaluate_run(run.path, backend=str(mitigated), samples=2)
    assert comparison.followed is None
    assert comparison.path.name.startswith("mitigated-64shots-trex")
