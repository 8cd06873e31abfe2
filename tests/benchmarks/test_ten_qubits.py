"""The figures of the 10-qubit models: what is trained, beside whom, and in how many parts."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch
from fake_peers import Turned, absent, fake

from benchmarks.__main__ import SUBJECTS
from benchmarks.digit_batches import num_classes
from benchmarks.memory import peak_megabytes, resident_megabytes
from benchmarks.peers.cell import Cell, Contest
from benchmarks.peers.circuits import problem_of
from benchmarks.peers.contenders import contenders
from benchmarks.peers.largest import AT_ONCE, OURS, WAYS, as_entered, rows_of
from benchmarks.peers.points import points_for
from benchmarks.ten_qubits import ANGLES, OTHER_MODES
from benchmarks.timing import Timing
from qdeq_qiskit.training.recipe import TrainingRecipe

STEP = Contest("amplitude", 10, 256, "step")


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_subject_can_be_measured(subject: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{subject}").rows)


@pytest.mark.parametrize("mode", OTHER_MODES)
def test_the_steps_of_other_modes_are_those_of_their_recipes(mode: str) -> None:
    model = TrainingRecipe.load(f"mnist10-{mode}").model
    assert OTHER_MODES[mode].startswith(f"{model.mode}, {model.layers} layer")
    assert model.penalty is None


@pytest.mark.parametrize("name", ANGLES)
def test_the_steps_with_angles_are_those_of_ten_qubits(name: str) -> None:
    recipe = TrainingRecipe.load(f"mnist10-{name}")
    circuit = recipe.circuit.build()
    assert (circuit.circuit.num_qubits, circuit.num_features, recipe.model.mode) == (10, 100, "implicit")
    assert num_classes(recipe) == 10


def test_a_recipe_that_chooses_classes_has_so_many() -> None:
    assert num_classes(TrainingRecipe.load("mnist4")) == 4


def test_a_step_in_parts_has_the_gradients_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of("angle", 2)
    points = points_for(problem, 5)
    whole = fake().case(problem, "double", points).value("step")
    samples = []
    forward = Turned.forward
    monkeypatch.setattr(Turned, "forward", lambda self, x: samples.append(len(x)) or forward(self, x))
    parts = replace(fake(), at_once=2).case(problem, "double", points).value("step")
    assert max(samples) == 2
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-10)


def test_only_what_holds_too_much_is_done_in_parts_and_nothing_in_double_precision() -> None:
    entered = [as_entered(peer) for peer in contenders() if "single" in peer.precisions]
    assert {peer.name for peer in entered if getattr(peer, "at_once", None)} == set(AT_ONCE)
    assert all(peer.precisions == ("single",) for peer in entered)
    assert {OURS, *WAYS} <= {peer.name for peer in entered}


def test_ratios_are_of_medians_and_only_pennylane_has_a_target() -> None:
    def cell(name: str, seconds: float) -> Cell:
        return Cell(STEP, name, name == OURS, "single", Timing((seconds,)))

    other = Cell(replace(STEP, operation="forward"), OURS, True, "single", Timing((1.0,)))
    ways = list(WAYS)
    missing = Cell.without(STEP, replace(absent(), name=ways[3]), "single", "not installed: make it")
    cells = [other, cell(OURS, 0.02), cell(ways[0], 4.0), cell(ways[1], 0.8), cell(ways[2], 3.0), missing]
    penalised, torchdeq, torchquantum, gone = rows_of(cells)
    assert (penalised.figure, penalised.target, penalised.verdict) == (pytest.approx(200), 50, "met")
    assert (torchdeq.figure, torchdeq.target, torchdeq.verdict) == (pytest.approx(40), 50, "missed")
    assert (torchquantum.figure, torchquantum.target) == (pytest.approx(150), None)
    assert (gone.figure, gone.verdict, gone.note) == (None, "not measured", "not installed: make it")
    assert "(4.00 s against 20 ms)" in penalised.what


def test_memory_that_is_held_is_seen() -> None:
    before = resident_megabytes()
    held = torch.ones(16 * 2**20)
    assert resident_megabytes() - before == pytest.approx(64, abs=8)
    assert peak_megabytes() >= before + 56
    del held
