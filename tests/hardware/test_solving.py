"""Solves: the numbers of direct execution, whatever interrupts them; checked before anything is spent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.kinds import load_backend
from qdeq_qiskit.backends.runtime.errors import BudgetError, HardwareError, LedgerError
from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.backends.runtime.local import LocalProcessor
from qdeq_qiskit.hardware import Order, Solved, cancel, make_plan, resume, submit
from qdeq_qiskit.hardware.solve_folder import LEDGER
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.noise.calibration import read_calibration
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.training.data.datasets import load_splits
from qdeq_qiskit.training.evaluation import Evaluation, evaluate
from qdeq_qiskit.training.run_directory import RunDirectory

SAMPLES = 4
BreaksAt = Callable[[int], list[int]]
Interrupted = Callable[[Order, int], int]


def solved(order: Order) -> Solved:
    return submit(make_plan(order))


def evaluation(run: Path, solve: int = 1) -> Evaluation:
    return Evaluation.load(run / "hardware" / str(solve) / "test.safetensors")


def test_a_solve_gives_the_numbers_of_direct_execution_and_writes_them_down(run: Path, manila: str) -> None:
    finished = solved(Order(run, manila, SAMPLES))
    directory = RunDirectory.open(run)
    recipe = directory.recipe()
    images = load_splits(recipe.data).test.sample(SAMPLES, seed=recipe.data.split_seed)
    direct = evaluate(QDEQClassifier.load(directory.model, backend=load_backend(manila)), images, chunk=SAMPLES)
    found = evaluation(run)
    np.testing.assert_array_equal(found.state, direct.state)
    np.testing.assert_array_equal(found.labels, images.labels)
    result = finished.result
    assert result == json.loads(finished.folder.result.read_text())
    assert result["accuracy"] == direct.accuracy
    assert result["processor"] == "fake_manila"
    assert result["simulated"]
    assert sum(result["reasons"].values()) == SAMPLES
    assert result["compiled"]["two_qubit_gates"] > 0
    assert finished.folder.layout.read_bytes().startswith(b"\x89PNG")
    assert "three on fake_manila" in finished.folder.report.read_text()


@pytest.mark.usefixtures("without_report")
def test_what_was_used_is_what_the_ledgers_jobs_add_up_to(run: Path, manila: str, breaks_at: BreaksAt) -> None:
    plan = make_plan(Order(run, manila, SAMPLES))
    handed_in = breaks_at(-1)
    used = submit(plan).result["used"]
    with Ledger.read(run / LEDGER) as ledger:
        (solve,) = ledger.solves()
        rows = solve.jobs()
        assert solve.state == "finished"
        assert solve.result is not None
    assert used["jobs"] == len(rows) == len(handed_in)
    assert used["circuits"] == sum(row.circuits for row in rows) == sum(row.rows for row in rows)
    assert used["executions"] == sum(row.executions for row in rows)
    assert used["formula_seconds"] == pytest.approx(sum(row.predicted_seconds for row in rows))


@pytest.mark.usefixtures("without_report")
def test_an_interrupted_solve_goes_on_where_it_was_to_the_same_numbers(
    run: Path, trained: Path, manila: str, tmp_path: Path, breaks_at: BreaksAt, interrupted: Interrupted
) -> None:
    plan = make_plan(Order(run, manila, SAMPLES))
    handed_in = breaks_at(-1)
    undisturbed = submit(plan)
    whole = len(handed_in)
    assert whole >= 3
    for fatal in (0, whole - 1):
        other = Path(shutil.copytree(trained, tmp_path / str(fatal)))
        before = interrupted(Order(other, manila, SAMPLES), fatal)
        after = breaks_at(-1)
        (ended,) = resume(other)
        assert isinstance(ended, Solved)
        assert before + len(after) == whole, "no job is handed in twice, and none is lost"
        np.testing.assert_array_equal(evaluation(other).state, evaluation(run).state)
        assert ended.result["used"] == undisturbed.result["used"]
        assert resume(other) == []


def mirrored(calibration: str) -> str:
    """The same processor with its qubits numbered backwards, so that the best ones are elsewhere."""
    data = json.loads(calibration)
    last = len(data["qubits"]) - 1
    data["qubits"].reverse()
    data["gates"] = {
        name: {"-".join(str(last - int(qubit)) for qubit in key.split("-")): entry for key, entry in entries.items()}
        for name, entries in data["gates"].items()
    }
    return json.dumps(data)


@pytest.mark.usefixtures("without_report")
def test_a_solve_keeps_to_the_calibration_that_it_began_with(
    run: Path, manila: str, interrupted: Interrupted, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(Order(run, manila, SAMPLES), 1)
    with Ledger.read(run / LEDGER) as ledger:
        (solve,) = ledger.solves()
        calibration = solve.calibration
        assert solve.settings["backend"]["name"] == "fake_manila"
    changed = read_calibration(mirrored(calibration), source="today's")
    monkeypatch.setattr(LocalProcessor, "fake", lambda *_, **__: LocalProcessor(changed))
    today = make_plan(Order(run, manila, SAMPLES)).work.compile_figures.qubits
    (ended,) = resume(run)
    assert isinstance(ended, Solved)
    pinned = compile_circuit(
        QDEQClassifier.load(run / "model").circuit,
        target=read_calibration(calibration, source="the first").target,
        optimization_level=1,
    )
    assert ended.result["compiled"]["qubits"] == list(pinned.physical)
    assert tuple(pinned.physical) != today


@pytest.mark.usefixtures("without_report")
def test_another_model_is_refused_where_a_solve_was_begun_with_this_one(
    run: Path, manila: str, interrupted: Interrupted
) -> None:
    interrupted(Order(run, manila, SAMPLES), 1)
    classifier = QDEQClassifier.load(run / "model")
    with torch.no_grad():
        classifier.weight.add_(0.1)
    classifier.save(run / "model")
    (ended,) = resume(run)
    assert isinstance(ended, LedgerError)
    assert "the model is another one" in str(ended)


def test_a_seed_that_is_not_given_is_drawn_and_pinned(run: Path, tmp_path: Path) -> None:
    (tmp_path / "unseeded.yaml").write_text("{kind: ibm, name: fake_manila, shots: 64, seed: null}")
    settings = [make_plan(Order(run, str(tmp_path / "unseeded.yaml"), 2)).work.settings for _ in range(2)]
    seeds = [each.backend.seed for each in settings]
    assert None not in seeds
    assert seeds[0] != seeds[1]


def test_a_budget_below_the_first_job_is_refused_and_leaves_no_ledger(run: Path, manila: str) -> None:
    with pytest.raises(BudgetError, match=r"max_qpu_seconds is 1, but the first job alone takes about 2\.\d s"):
        solved(Order(run, manila, SAMPLES, max_qpu_seconds=1))
    assert not (run / LEDGER).exists()
    assert not (run / "hardware").exists()


@pytest.mark.usefixtures("without_report")
def test_a_solve_that_its_budget_stops_keeps_within_it_and_says_so(run: Path, manila: str) -> None:
    seconds = 0.8 * solved(Order(run, manila, SAMPLES)).result["used"]["formula_seconds"]
    result = solved(Order(run, manila, SAMPLES, max_qpu_seconds=seconds)).result
    assert result["used"]["formula_seconds"] <= seconds
    assert result["reasons"]["BUDGET"] > 0
    assert result["max_qpu_seconds"] == seconds


def test_a_budget_that_leaves_most_images_unseen_ends_in_a_result_and_a_report(run: Path, manila: str) -> None:
    seconds = 4.5  # two jobs of 2 s each, and 0.5 s for a look at some images and their estimate
    ended = solved(Order(run, manila, 12, max_qpu_seconds=seconds))
    unseen = np.isinf(Evaluation.load(ended.folder.test).residual)
    assert 0.5 < unseen.mean() < 1
    assert ended.result["without_estimate"] == unseen.sum()
    assert ended.result["used"]["formula_seconds"] <= seconds
    assert ended.folder.read_result() == ended.result
    assert ended.folder.report.is_file()


@pytest.mark.usefixtures("without_report")
def test_a_solve_that_is_given_up_is_not_gone_on_with(run: Path, manila: str, interrupted: Interrupted) -> None:
    interrupted(Order(run, manila, SAMPLES), 1)
    assert list(cancel(run)) == [1]
    assert resume(run) == []
    assert cancel(run) == {}
    with Ledger.read(run / LEDGER) as ledger:
        assert [solve.state for solve in ledger.solves()] == ["cancelled"]


@pytest.mark.usefixtures("without_report")
def test_solves_of_a_run_are_numbered_and_one_that_cannot_go_on_holds_up_no_other(
    run: Path, manila: str, interrupted: Interrupted
) -> None:
    for samples in (SAMPLES, 3):
        interrupted(Order(run, manila, samples), 1)
    with Ledger.open(run / LEDGER) as ledger:
        first = ledger.solves()[0]
        settings = first.settings | {"model_digest": "0" * 64}
        ledger.execute("UPDATE solves SET settings=? WHERE id=1", json.dumps(settings))
    ended = resume(run)
    assert isinstance(ended[0], HardwareError)
    assert isinstance(ended[1], Solved)
    assert ended[1].number == 2
    assert len(evaluation(run, 2).labels) == 3


def test_backends_of_another_kind_are_sent_to_evaluate(run: Path) -> None:
    with pytest.raises(RecipeError, match="is a backend of kind exact, which needs no submission; `qdeq evaluate"):
        make_plan(Order(run, "exact", 2))


def test_resume_and_cancel_say_where_nothing_was_submitted(run: Path) -> None:
    for command in (resume, cancel):
        with pytest.raises(LedgerError, match="nothing was submitted"):
            command(run)
    assert not (run / LEDGER).exists()


@pytest.mark.parametrize("change", [{"method": "circuit"}, {"samples": 0}, {"test_samples": 0}])
def test_an_order_of_nothing_that_can_be_done_is_refused(change: dict[str, object]) -> None:
    (key,) = change
    with pytest.raises(RecipeError, match=rf"{key}.*expected"):
        Order(Path("run"), "fake_manila", **({"samples": 2} | change))  # type: ignore[arg-type]


def test_an_order_changes_the_recipe(run: Path, manila: str) -> None:
    order = Order(run, manila, 2, overrides=["shots=100"], seed=5, max_qpu_seconds=77.0)
    backend = make_plan(order).work.settings.backend
    assert (backend.shots, backend.seed, backend.max_qpu_seconds) == (100, 5, 77.0)
    with pytest.raises(RecipeError, match="max_qpu_seconds"):
        make_plan(replace(order, max_qpu_seconds=-1.0))
