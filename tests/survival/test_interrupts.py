"""Ctrl-C and SIGTERM end a run in order, and say how to continue it."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from killed_runs import in_child, numbers_of, small_recipe

from qdeq_qiskit.equilibrium import Equilibrium
from qdeq_qiskit.models import DEQClassifier, QDEQClassifier
from qdeq_qiskit.training import RunDirectory, TrainingRecipe, interruption, train
from qdeq_qiskit.training.fit import fit, resume
from qdeq_qiskit.training.interruption import Terminated

pytestmark = pytest.mark.usefixtures("drawn_quickly")


@pytest.fixture
def during_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Have something happen in the middle of a batch, validation's included, counted from 1."""

    def prepare(number: int, action: Callable[[], None]) -> None:
        original, calls = QDEQClassifier.classify, 0

        def classify(self: QDEQClassifier, features: torch.Tensor) -> Any:
            nonlocal calls
            calls += 1
            output = original(self, features)
            if calls == number:
                action()
            return output

        monkeypatch.setattr(QDEQClassifier, "classify", classify)

    return prepare


def send(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
@pytest.mark.parametrize("batch", [4, 6])  # of training and of validation, in the second epoch
def test_a_signal_stops_after_the_batch_and_the_run_goes_on_to_the_same_bits(
    recipe: TrainingRecipe,
    whole: RunDirectory,
    tmp_path: Path,
    during_batch: Callable[[int, Callable[[], None]], None],
    number: int,
    kind: type[BaseException],
    batch: int,
) -> None:
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    during_batch(batch, send(number))
    with pytest.raises(KeyboardInterrupt) as interrupt:
        fit(recipe, out=tmp_path / "run")
    assert type(interrupt.value) is kind
    assert str(interrupt.value) == f"interrupted; `qdeq fit --resume {tmp_path / 'run'}` continues the run"
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert numbers_of(resume(tmp_path / "run")) == numbers_of(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_epoch_ended_leaves_nothing(
    recipe: TrainingRecipe, tmp_path: Path, during_batch: Callable[[int, Callable[[], None]], None], number: int
) -> None:
    during_batch(1, send(number))
    with pytest.raises(KeyboardInterrupt, match="interrupted, before the first epoch ended; nothing was kept"):
        fit(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_signal_that_is_swallowed_in_the_middle_of_a_batch_still_stops_the_run(
    recipe: TrainingRecipe, tmp_path: Path, during_batch: Callable[[int, Callable[[], None]], None]
) -> None:
    class Swallows:
        def __del__(self) -> None:  # what is raised here is printed and forgotten
            os.kill(os.getpid(), signal.SIGINT)

    during_batch(1, lambda: Swallows() and None)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, out=tmp_path / "run")


def test_a_second_signal_stops_a_batch_that_does_not_end(
    recipe: TrainingRecipe, tmp_path: Path, during_batch: Callable[[int, Callable[[], None]], None]
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    during_batch(1, twice)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, out=tmp_path / "run")
    assert time.monotonic() - started < 30


def test_one_signal_stops_a_batch_that_does_not_end_a_little_later(
    recipe: TrainingRecipe,
    tmp_path: Path,
    during_batch: Callable[[int, Callable[[], None]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interruption, "SECONDS_FOR_A_BATCH", 0.1)

    def never_ending() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    during_batch(1, never_ending)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, out=tmp_path / "run")
    assert time.monotonic() - started < 30


def hang_in_spite_of_interrupts(folder: Path) -> None:
    interruption.SECONDS_FOR_A_BATCH = interruption.SECONDS_TO_STOP = 0.1

    def stuck(self: QDEQClassifier, features: torch.Tensor) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        lock = _thread.allocate_lock()
        lock.acquire()
        while True:
            with contextlib.suppress(BaseException):
                lock.acquire()

    QDEQClassifier.classify = stuck  # type: ignore[method-assign]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fit(small_recipe(folder), out=folder / "run")


def test_a_process_that_hangs_in_spite_of_the_signals_is_ended(tmp_path: Path) -> None:
    assert in_child(hang_in_spite_of_interrupts, tmp_path) == 128 + signal.SIGINT


def train_until_told_to_end() -> None:
    def told(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return torch.nn.functional.cross_entropy(logits, labels)

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.manual_seed(0)
    equilibrium = Equilibrium(lambda w, x: torch.tanh(0.1 * w + x), state_size=2)
    train(DEQClassifier(equilibrium, torch.nn.Linear(2, 2)), (torch.eye(2), torch.arange(2)), loss=told)


def test_what_trains_in_memory_and_is_told_to_end_does_not_go_on_as_if_it_were_done() -> None:
    assert in_child(train_until_told_to_end) == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_handler_of_somebody_else_stays_in_place(
    recipe: TrainingRecipe, tmp_path: Path, during_batch: Callable[[int, Callable[[], None]], None], number: int
) -> None:
    seen = []

    def theirs(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    before = {each: signal.signal(each, theirs) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        during_batch(1, send(number))
        assert len(fit(recipe, out=tmp_path / "run").epochs()) == recipe.optimisation.epochs
        assert seen == [number]
        assert all(signal.getsignal(each) is theirs for each in before)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
