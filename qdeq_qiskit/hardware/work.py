"""Everything that one solve works with: the model, its images, and the processor that it is bound to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.kinds.ibm import IBMBackend
from qdeq_qiskit.backends.runtime.connection import Connection
from qdeq_qiskit.backends.runtime.errors import LedgerError
from qdeq_qiskit.backends.runtime.job import Processor
from qdeq_qiskit.backends.runtime.machine import RunsRequests
from qdeq_qiskit.hardware.compile_figures import CompileFigures
from qdeq_qiskit.hardware.settings import SolveSettings
from qdeq_qiskit.hardware.subject import Subject
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.noise.calibration import calibration_text, read_calibration
from qdeq_qiskit.training.data.images import Images
from qdeq_qiskit.training.preparation import setting_up


@dataclass(frozen=True, eq=False)
class Work:
    """A solve that can be predicted and run.

    Attributes:
        subject: the model and its data.
        settings: what the solve depends on.
        calibration: the processor's, as text: what its circuits are compiled for.
        connection: to the processor, as of that calibration.
        backend: the recipe, bound to the connection.
        compiled: the model's circuit, compiled.
    """

    subject: Subject
    settings: SolveSettings
    calibration: str
    connection: Connection
    backend: IBMBackend
    compiled: CompiledCircuit

    @classmethod
    def begin(cls, subject: Subject, settings: SolveSettings, opened: Connection) -> Work:
        """Of a solve that is new: pinned to the calibration of now.

        Raises:
            SetupError, HardwareError: the circuit does not suit the processor.
        """
        return cls._of(subject, settings, calibration_text(opened.snapshot), opened)

    @classmethod
    def resume(cls, subject: Subject, settings: SolveSettings, calibration: str, opened: Connection) -> Work:
        """Of a solve that was begun, with the calibration that was pinned then.

        Raises:
            LedgerError: model or data are others than they were.
        """
        path = subject.directory.path
        if subject.model_digest != settings.model_digest:
            raise LedgerError(
                f"{subject.directory.model}: the model is another one than when the solve was begun; put it back, or "
                f"`qdeq cancel {path}` and submit anew"
            )
        work = cls._of(subject, settings, calibration, opened)
        tuning = settings.tuning
        if work.images.digest() != settings.test_digest or (
            tuning is not None and work.training_images.digest() != tuning.train_digest
        ):
            raise LedgerError(
                f"{path}: the images are others than when the solve was begun; give the same data with --data-dir"
            )
        return work

    @classmethod
    def _of(cls, subject: Subject, settings: SolveSettings, calibration: str, opened: Connection) -> Work:
        # Read back also when it is new, so that the first run and a resumed one compile for the very same thing.
        snapshot = read_calibration(calibration, source="the solve's calibration")
        snapshot.target.description = snapshot.name
        connection = replace(opened, snapshot=snapshot)
        backend = settings.backend.on(connection)
        with setting_up():
            compiled = backend.compile(subject.qnn)
        return cls(subject, settings, calibration, connection, backend, compiled)

    def bound_to(self, processor: Processor, dispatcher: RunsRequests) -> Work:
        """The same, compiled for the same calibration, with its requests answered by this dispatcher."""
        connection = Connection(processor, self.connection.snapshot, dispatcher)
        return replace(self, connection=connection, backend=self.settings.backend.on(connection))

    def classifier(self) -> QDEQClassifier:
        """The model on the processor."""
        with setting_up():
            return QDEQClassifier.load(self.subject.directory.model, backend=self.backend)

    @property
    def images(self) -> Images:
        """The test images."""
        tuning = self.settings.tuning
        return self.subject.test_images(self.settings.samples if tuning is None else tuning.test_samples)

    @property
    def training_images(self) -> Images:
        """The images that method tune trains on."""
        return self.subject.training_images(self.settings.samples)

    @property
    def compile_figures(self) -> CompileFigures:
        """The compiled circuit in figures."""
        target = self.connection.snapshot.target
        return CompileFigures.of(
            self.compiled,
            processor=self.connection.processor.name,
            processor_qubits=target.num_qubits,
            model_qubits=self.subject.qnn.num_qubits,
        )
