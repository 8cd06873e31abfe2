"""The report: complete in itself, and honest about what the run was."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit import recipes
from qdeq_qiskit.circuits import CircuitRecipe, QNNCircuit, angle_encoder
from qdeq_qiskit.training import RunDirectory, RunError, TrainingRecipe
from qdeq_qiskit.training.fit import rewrite_report
from qdeq_qiskit.training.report import _description
from qdeq_qiskit.training.report.circuit_figure import circuit_figure
from qdeq_qiskit.training.report.figures import learning_curves, spectral_radius


def test_the_report_needs_nothing_beside_itself(run: RunDirectory) -> None:
    page = run.report.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "http" not in page
    assert "@import" not in page


def test_every_figure_is_there_as_a_picture(run: RunDirectory) -> None:
    page = run.report.read_text(encoding="utf-8")
    pictures = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) == 7
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)


def test_the_report_shows_the_results_figures_and_escapes_names(run: RunDirectory) -> None:
    page = run.report.read_text(encoding="utf-8")
    result = run.result()
    assert f"{100 * result['test_accuracy']:.1f} %" in page
    assert f"{100 * result['control_accuracy']:.1f} %" in page
    assert "&lt;tiny&gt;" in page
    assert "<tiny>" not in page


def test_a_report_written_anew_is_the_same(run: RunDirectory) -> None:
    before = run.report.read_bytes()
    run.report.unlink()
    assert rewrite_report(run.path) == run.report
    assert run.report.read_bytes() == before


def test_a_report_of_an_unfinished_or_damaged_run_is_refused(run: RunDirectory) -> None:
    history = run.history.read_text()
    run.history.write_text("epoch,valid_loss\n1,none\n")
    with pytest.raises(RunError, match=r"history\.csv: is damaged"):
        rewrite_report(run.path)
    run.history.write_text(history)
    (run.path / "result.json").write_text("{")
    with pytest.raises(RunError, match=r"result\.json: is damaged"):
        rewrite_report(run.path)
    (run.path / "result.json").unlink()
    with pytest.raises(RunError, match="not finished; `qdeq fit --resume"):
        rewrite_report(run.path)


@pytest.mark.parametrize("entry", recipes.list_recipes("circuits"), ids=lambda entry: entry.name)
def test_every_shipped_circuit_can_be_drawn(entry: recipes.RecipeEntry) -> None:
    figure = circuit_figure(recipes.load("circuits", entry.path, CircuitRecipe).build())
    width, height = figure.get_size_inches()
    assert 2 < width < 14
    assert 1 < height < 14


def test_a_users_circuit_is_drawn_gate_by_gate() -> None:
    encoder = angle_encoder(3, [("rx", 0), ("ry", 2)])
    qnn = QNNCircuit.compose(encoder, real_amplitudes(3, reps=1), [SparsePauliOp("XXI")])
    figure = circuit_figure(qnn)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("RY") == 7  # one of the encoder, six of the ansatz
    assert texts.count("RX") == 1
    assert "⟨Z⟩" not in texts


def test_a_changed_shipped_recipe_is_not_described_as_it_was() -> None:
    changed = ["circuit=qdeq4-amplitude", "model.features.pool={kernel: 2}", "optimisation.epochs=3"]
    shipped, other = TrainingRecipe.load("digits", ["seed=5"]), TrainingRecipe.load("digits", changed)
    assert _description("digits", shipped) == shipped.description
    said = "The recipe digits, changed in circuit, model.features, optimisation.epochs."
    assert _description("digits", other) == said
    assert _description("mine", other) == other.description


def test_the_curves_have_room_above_them_and_the_penalty_is_named_where_there_is_one() -> None:
    names = ("loss", "accuracy", "iterations")
    row = {"epoch": 1, **{f"{split}_{name}": 0.5 for split in ("train", "valid") for name in names}}
    history = [row, {**row, "epoch": 2, "train_iterations": 30.0, "valid_loss": 2.0}]
    for penalised in (True, False):
        figure = learning_curves(history, best_epoch=1, control=1.0, penalised=penalised)
        loss, accuracy, iterations = figure.axes
        assert ("penalty" in loss.get_ylabel()) == penalised
        assert loss.get_ylim()[1] >= 1.05 * 2.0
        assert accuracy.get_ylim()[1] > 1.02
        assert iterations.get_ylim()[1] >= 1.05 * 30.0


def test_the_version_is_named_once_and_the_solver_that_ran(run: RunDirectory) -> None:
    page = run.report.read_text(encoding="utf-8")
    assert page.count(f"qdeq_qiskit {run.origin()['versions']['qdeq_qiskit']}") == 1
    assert "Newton(tolerance=0.0001" in page


def test_the_figure_of_spectral_radii_shows_all_that_are_known() -> None:
    (axes,) = spectral_radius(np.array([0.5, np.nan, 1.6])).axes
    assert axes.get_xlim()[1] > 1.6
    assert sum(patch.get_height() for patch in axes.patches) == pytest.approx(1.0)
    assert spectral_radius(np.full(3, np.nan)).axes
