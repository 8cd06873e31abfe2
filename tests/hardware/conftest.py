"""A trained model of a second, and a small processor on this machine to run it on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from trained_recipe import TRAINING

from qdeq_qiskit.backends.runtime.local import LocalProcessor
from qdeq_qiskit.hardware import Order, make_plan, solving, submit
from qdeq_qiskit.training.fit import fit
from qdeq_qiskit.training.recipe import TrainingRecipe

MANILA = "{kind: ibm, name: fake_manila, shots: 256, seed: 11, optimization_level: 1}"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "three.yaml").write_text(TRAINING)
    return fit(TrainingRecipe.load(folder / "three.yaml"), name="three", out=folder / "run", report=False).path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def manila(tmp_path: Path) -> str:
    """A backend recipe: five qubits in a row."""
    path = tmp_path / "manila.yaml"
    path.write_text(MANILA)
    return str(path)


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solves end without a report, which takes longer to draw than these to run."""
    monkeypatch.setattr(solving, "write_report", lambda *_: None)


@pytest.fixture
def breaks_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Interrupts the process at one of the jobs that are handed in from now on; returns a list that grows by each.

    Given the number of the job, from 0; a negative one for never. Rehearsals hand in jobs too: plan before.
    """
    submit = LocalProcessor.submit

    def break_at(fatal: int) -> list[int]:
        handed_in: list[int] = []

        def counted(self: LocalProcessor, *arguments: object, **options: object) -> object:
            if len(handed_in) == fatal:
                raise KeyboardInterrupt
            handed_in.append(len(handed_in))
            return submit(self, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(LocalProcessor, "submit", counted)
        return handed_in

    return break_at


@pytest.fixture
def interrupted(breaks_at: Callable[[int], list[int]]) -> Callable[[Order, int], int]:
    """Submits an order and is interrupted at one of its jobs; returns how many were handed in."""

    def interrupt(order: Order, fatal: int) -> int:
        plan = make_plan(order)
        handed_in = breaks_at(fatal)
        with pytest.raises(KeyboardInterrupt, match=f"`qdeq resume {order.run}` goes on"):
            submit(plan)
        breaks_at(-1)
        return len(handed_in)

    return interrupt
