"""What a user asks for, checked and priced before anything is spent."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import load_backend
from qdeq_qiskit.backends.kinds.ibm import IBMBackend
from qdeq_qiskit.backends.runtime.errors import BudgetError
from qdeq_qiskit.backends.surrogate import DEFAULT_DESIGN
from qdeq_qiskit.hardware.cost import Prediction
from qdeq_qiskit.hardware.methods import METHODS
from qdeq_qiskit.hardware.settings import GradientName, MethodName, SolveSettings, Tuning
from qdeq_qiskit.hardware.subject import Subject
from qdeq_qiskit.hardware.work import Work
from qdeq_qiskit.recipes import RecipeError, list_recipes


@dataclass(frozen=True)
class Order:
    """What is wanted of a processor: which run's model, where, on how many images, and how.

    Attributes:
        run: a run directory.
        backend: name or path of a backend recipe of kind ibm.
        samples: images; of method tune, training images.
        method: circuits, surrogate or tune.
        overrides: changes of the backend recipe, such as `shots=1000`.
        seed: of what a simulator draws; None for the recipe's.
        max_qpu_seconds: the budget; None for the recipe's.
        design: of the surrogate's probes; None for the default.
        steps, gradient, learning_rate, test_samples: of method tune; None for the defaults, and for as many test images
            as training images.
        data_dir: folder of the data; None for where the run was begun with.
    """

    run: Path
    backend: str
    samples: int
    method: MethodName = "circuits"
    overrides: Sequence[str] = ()
    seed: int | None = None
    max_qpu_seconds: float | None = None
    design: str | None = None
    steps: int | None = None
    gradient: GradientName | None = None
    learning_rate: float | None = None
    test_samples: int | None = None
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        """Raises RecipeError if the method does not exist, or there are no images to run."""
        if self.method not in METHODS:
            raise RecipeError(f"method is {self.method!r}; expected {', '.join(METHODS)}")
        if self.samples < 1 or (self.test_samples is not None and self.test_samples < 1):
            raise RecipeError(f"samples is {self.samples}, test_samples {self.test_samples}; expected at least 1 image")


@dataclass(frozen=True)
class Plan:
    """Work that can be begun, and what it will take.

    Attributes:
        work: the work; on a dispatcher that nothing is asked of.
        prediction: by the rehearsal on the calibration.
    """

    work: Work
    prediction: Prediction

    def check_budget(self) -> None:
        """Raises BudgetError if not even one job can be paid."""
        budget, least = self.work.settings.max_qpu_seconds, self.prediction.first_job
        if budget is not None and budget < least:
            raise BudgetError(
                f"max_qpu_seconds is {budget:g}, but the first job alone takes about {least:.1f} s of "
                f"{self.work.connection.processor.name}: allow more, or take fewer samples or shots"
            )


def make_plan(order: Order) -> Plan:
    """Open the processor, compile for it, and predict; nothing is submitted or written.

    Raises:
        RunError, ModelFileError, RecipeError, DataError, SetupError, HardwareError: something cannot be used or does
            not fit together; the message says what.
    """
    if order.design is not None and order.method != "surrogate":
        raise RecipeError(f"--design is about the probes of --method surrogate, and the method is {order.method}")
    subject = Subject.open(order.run, data_dir=order.data_dir)
    backend = _backend_of(order)
    opened = backend.open(subject.qnn.num_qubits)
    # Another instance would not know the jobs, so a solve goes on where it began, whatever the account's own is then.
    processor = opened.processor
    named = backend.model_copy(update={"name": processor.name, "instance": processor.instance or backend.instance})
    settings = SolveSettings(
        method=order.method,
        backend=named,
        samples=order.samples,
        test_digest=subject.test_images(order.test_samples or order.samples).digest(),
        model_digest=subject.model_digest,
        max_qpu_seconds=backend.max_qpu_seconds,
        design=(order.design or DEFAULT_DESIGN) if order.method == "surrogate" else None,
        tuning=_tuning(order, subject) if order.method == "tune" else None,
    )
    work = Work.begin(subject, settings, opened)
    return Plan(work, METHODS[order.method].predict(work))


def _backend_of(order: Order) -> IBMBackend:
    """The backend recipe with what the order changes of it, and a seed of its own if it has none.

    Raises:
        RecipeError: it is of another kind, or a value is out of range.
    """
    changes = [*order.overrides]
    if order.seed is not None:
        changes.append(f"seed={order.seed}")
    if order.max_qpu_seconds is not None:
        changes.append(f"max_qpu_seconds={order.max_qpu_seconds}")
    if order.backend.startswith("ibm_") and order.backend not in {entry.name for entry in list_recipes("backends")}:
        raise RecipeError(
            f"{order.backend}: is no backend recipe; for the processor of that name give --backend ibm --set "
            f"name={order.backend}"
        )
    backend = load_backend(order.backend, changes)
    if not isinstance(backend, IBMBackend):
        kind = getattr(backend, "kind", type(backend).__name__)
        raise RecipeError(
            f"{order.backend}: is a backend of kind {kind}, which needs no submission; `qdeq evaluate {order.run} "
            f"--backend {order.backend}` runs it, and processors and their copies are of kind ibm"
        )
    if order.method == "tune":
        backend = _with_gradient(backend, order)
    if backend.seed is None:
        # Pinned with the solve: one that is resumed has to ask for the same as before.
        backend = backend.model_copy(update={"seed": secrets.randbits(31)})
    return backend


def _with_gradient(backend: IBMBackend, order: Order) -> IBMBackend:
    """The backend with the order's way to measure gradients; options that the recipe has of that way stay."""
    wanted = order.gradient or "parameter_shift"
    own = backend.weight_gradient
    kind = own if isinstance(own, str) else own.kind
    if kind == wanted:
        return backend
    if "weight_gradient" in backend.model_fields_set:
        warnings.warn(
            f"{order.backend}: weight_gradient is {kind}, and tune takes {wanted}; --gradient {kind} keeps it",
            stacklevel=2,
        )
    return backend.model_copy(update={"weight_gradient": wanted})


def _tuning(order: Order, subject: Subject) -> Tuning:
    given = {"steps": order.steps, "gradient": order.gradient, "learning_rate": order.learning_rate}
    data = {key: value for key, value in given.items() if value is not None} | {
        "test_samples": order.test_samples or order.samples,
        "train_digest": subject.training_images(order.samples).digest(),
    }
    tuning: Tuning = recipes.check(data, Tuning, source="tune")
    return tuning
