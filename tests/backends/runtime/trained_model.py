"""A trained model's solve on the stand-in service: begun, or gone on with."""

from pathlib import Path

import qdeq_qiskit.hardware.report  # noqa: F401 (before forking)
from qdeq_qiskit.backends.runtime.errors import LedgerError
from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.hardware import solving
from qdeq_qiskit.hardware.submission import Order, make_plan
from qdeq_qiskit.training.fit import fit
from qdeq_qiskit.training.recipe import TrainingRecipe

TRAINING = """
description: "three digits, on four qubits"
data: {name: digits, classes: [0, 3, 6]}
circuit: qdeq4-amplitude
backend: {kind: exact, precision: double}
model: {features: {pool: {kernel: 2}}}
optimisation: {epochs: 1, batch_size: 64, learning_rate: 0.05}
"""
BACKEND = "{kind: ibm, name: ibm_manila, shots: 128, seed: 11, optimization_level: 1}"


def train(folder: Path) -> Path:
    """A finished run, with the recipe of a backend beside it."""
    (folder / "three.yaml").write_text(TRAINING)
    run = fit(TrainingRecipe.load(folder / "three.yaml"), name="three", out=folder / "run", report=False).path
    (run / "manila.yaml").write_text(BACKEND)
    return run


def solve(run: Path) -> list[float]:
    """All figures of two samples' solve that say what was measured, after as many attempts as there were."""
    solving.write_report = lambda *_: None
    if not _begun(run):
        solving.submit(make_plan(Order(run, str(run / "manila.yaml"), samples=2)))
    else:
        for ended in solving.resume(run):
            if isinstance(ended, Exception):
                raise ended
    with Ledger.read(run / "ledger.sqlite") as ledger:
        (solve,) = ledger.solves()
        outcomes = [solve.answer(number)[0] for number in range(len({row.number for row in solve.jobs()}))]
    return [value for outcome in outcomes for value in outcome.arrays["evs"].ravel()]


def _begun(run: Path) -> bool:
    try:
        with Ledger.read(run / "ledger.sqlite") as ledger:
            return bool(ledger.solves())
    except LedgerError:
        return False
