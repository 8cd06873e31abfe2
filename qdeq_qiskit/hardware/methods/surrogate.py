"""The circuit's operators, measured once on the processor; then any number of fixed points without it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import final

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.surrogate import (
    DEFAULT_DESIGN,
    ProbePlan,
    SurrogateBackend,
    measure_operators,
    plan_probes,
)
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.hardware.cost import Prediction, predict_probes
from qdeq_qiskit.hardware.methods._method import Method, Outcome
from qdeq_qiskit.hardware.offset import OffsetReport, expected_offset, offset_report
from qdeq_qiskit.hardware.solve_folder import SolveFolder
from qdeq_qiskit.hardware.surrogate_intervals import bootstrap
from qdeq_qiskit.hardware.work import Work
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.noise import Snapshot
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.evaluation import Evaluation, evaluate
from qdeq_qiskit.training.preparation import setting_up


@final
class Surrogate(Method):
    """Re(M_k(θ)) from product states, all outputs in the same circuits."""

    def describe(self, work: Work) -> str:
        return f"surrogate: {_plan(work).describe()}"

    def predict(self, work: Work) -> Prediction:
        return predict_probes(_plan(work), work.backend)

    def run(self, work: Work, folder: SolveFolder) -> Outcome:
        classifier, images = work.subject.classifier, work.images
        streams = count()  # errors of one preparation are not those of another
        measured = measure_operators(
            _plan(work),
            classifier.weight,
            lambda probe: work.backend.machine_of(probe.compiled, stream=next(streams)),
        )
        measured.save(folder.operators)
        surrogate = classifier.on_backend(SurrogateBackend.of(measured))
        shaken = bootstrap(surrogate, measured, images)
        test = replace(evaluate(surrogate, images), half_width=shaken.half_width, confidence=shaken.confidence)
        offset = _offset(work, surrogate, test)
        return Outcome(
            test,
            classifier,
            shaken.accuracy_interval,
            "the errors of the operators, which all images share (bootstrap)",
            figures={"operators": measured.figures(), "bootstrap": shaken.figures(), "offset": offset.figures()},
            sentences=tuple(offset.sentences()),
        )


def _offset(work: Work, surrogate: QDEQClassifier, test: Evaluation) -> OffsetReport:
    """From the surrogate to circuits: what the calibration expects, and what was found if circuits were run."""
    noise = work.connection.snapshot.noise(work.compiled)
    expected = expected_offset(work.subject.classifier, work.images, work.compiled, noise)
    return offset_report(surrogate, work.images, test, _direct(work), expected=expected)


def _plan(work: Work) -> ProbePlan:
    design = work.settings.design or DEFAULT_DESIGN
    return _planned(work.subject.qnn, work.compiled, work.connection.snapshot, design)


@lru_cache(maxsize=1)
def _planned(qnn: QNNCircuit, compiled: CompiledCircuit, snapshot: Snapshot, design: str) -> ProbePlan:
    """The preparations; asked for the price, for a description, and for the work itself, by another dispatcher."""
    with setting_up():
        return plan_probes(qnn, compiled, snapshot.noise, design=design)


def _direct(work: Work) -> Evaluation | None:
    """What circuits gave on the same processor for the same model and images, if that was run; the latest."""
    wanted = {
        "method": "circuits",
        "processor": work.connection.processor.name,
        "model_digest": work.settings.model_digest,
        "test_digest": work.settings.test_digest,
    }
    for folder in reversed(SolveFolder.all_of(work.subject.directory.path)):
        try:
            result = folder.read_result()
            if all(result.get(key) == value for key, value in wanted.items()):
                return Evaluation.load(folder.test)
        except RunError:
            continue
    return None
