"""A processor at IBM, over the network, through `QiskitRuntimeService` and Runtime's client-side estimator."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, final

from qiskit import QuantumCircuit

from qdeq_qiskit.backends.runtime.accounts import open_service
from qdeq_qiskit.backends.runtime.client_faults import told
from qdeq_qiskit.backends.runtime.errors import AccountError, HardwareError, ProcessorError
from qdeq_qiskit.backends.runtime.estimation import run_estimator
from qdeq_qiskit.backends.runtime.ibm_job import IBMJob
from qdeq_qiskit.backends.runtime.job import Job, JobRequest, Processor
from qdeq_qiskit.backends.runtime.qpu_time import REP_DELAY
from qdeq_qiskit.backends.runtime.retries import OPENING_TRIES, TransientFault, patiently
from qdeq_qiskit.recipes import nearest

if TYPE_CHECKING:
    from qiskit_ibm_runtime import Batch, IBMBackend, QiskitRuntimeService, Session

LEAST_BUSY = "least_busy"
"""The name that stands for the processor with the shortest queue."""

ANSWER_WITHIN = 60.0
"""Seconds for which a request other than a submission may stay without an answer."""

_log = logging.getLogger(__name__)

Mode = Literal["job", "batch", "session"]


def open_processor(
    name: str,
    *,
    num_qubits: int,
    instance: str | None = None,
    channel: str | None = None,
    fractional_gates: bool = False,
    mode: Mode = "job",
    session_id: str | None = None,
    on_session: Callable[[str], None] | None = None,
    max_session_seconds: int | None = None,
    rep_delay: float | None = None,
    begins: bool = True,
    answer_within: float = ANSWER_WITHIN,
    sleep: Callable[[float], None] = time.sleep,
) -> IBMProcessor:
    """A processor of the user's account, ready for jobs; nothing is spent yet.

    Args:
        name: of the processor, or `least_busy`.
        num_qubits: that are needed.
        instance: its name or CRN; None for that of the account.
        channel: of the account; None for the one that was saved.
        fractional_gates: whether its target has them.
        mode: whether jobs stand alone, or belong to a batch or a session.
        session_id: of the batch or session that a solve began, which is joined again while it takes jobs.
        on_session: is told the id of a batch or session that is begun, before the first job is handed in.
        max_session_seconds: after which the service closes it; None for the plan's own.
        rep_delay: seconds between executions; None for the processor's own.
        begins: whether new work begins, so that a processor that is paused, or an instance without time left, is
            refused; jobs that were handed in before can be asked for all the same.
        answer_within: seconds after which a request without an answer is given up, and made again.
        sleep: waits for some seconds.

    Raises:
        AccountError: no account, or one that does not allow it.
        ProcessorError: no such processor, it is too small or paused, or the service does not answer.
    """

    def opened() -> IBMProcessor:
        service, hide = open_service(instance=instance, channel=channel, answer_within=answer_within)
        backend = _found(service, name, num_qubits, fractional_gates, hide)
        if begins:
            _check_ready(service, backend, hide)
        processor = IBMProcessor(service, backend, mode=mode, fractional_gates=fractional_gates, hide=hide)
        processor.rep_delay = rep_delay or processor.rep_delay
        processor.belong_to(session_id, on_session=on_session, max_seconds=max_session_seconds)
        return processor

    return patiently(opened, sleep=sleep, doing=f"opening {name}", tries=OPENING_TRIES)


def _found(
    service: QiskitRuntimeService, name: str, num_qubits: int, fractional_gates: bool, hide: Callable[[str], str]
) -> IBMBackend:
    from qiskit.providers.exceptions import QiskitBackendNotFoundError

    with told(f"asking for {name}", hide):
        try:
            if name == LEAST_BUSY:
                backend = service.least_busy(min_num_qubits=num_qubits, use_fractional_gates=fractional_gates)
            else:
                backend = service.backend(name, use_fractional_gates=fractional_gates)
            backend.target  # noqa: B018 (asks for the calibration)
        except QiskitBackendNotFoundError:
            known = sorted(str(each.name) for each in service.backends())
            there = f"there are {', '.join(known)}" if known else "the instance has none"
            if name == LEAST_BUSY:
                raise ProcessorError(
                    f"least_busy: no processor with at least {num_qubits} qubits is online ({there})"
                ) from None
            if name in known:
                raise TransientFault(f"asking for {name}: the service does not describe it") from None
            close = nearest(name, known)
            guess = f"did you mean {close!r}? " if close else ""
            raise ProcessorError(f"there is no processor {name!r} in this instance; {guess}({there})") from None
    if backend.num_qubits < num_qubits:
        raise ProcessorError(
            f"{backend.name} has {backend.num_qubits} qubits, and the circuit needs {num_qubits}; take a larger one"
        )
    return backend


def _check_ready(service: QiskitRuntimeService, backend: IBMBackend, hide: Callable[[str], str]) -> None:
    """Refuse a processor that would let jobs wait for who knows how long, and an account that has no time left."""
    with told(f"asking for the state of {backend.name}", hide):
        status, usage = backend.status(), service.usage()
    if not status.operational or status.status_msg != "active":
        raise ProcessorError(
            f"{backend.name} is not running jobs now (its state is {status.status_msg!r}); wait until it does, or take "
            "another processor, such as name: least_busy"
        )
    if usage.get("usage_limit_reached"):
        raise AccountError(
            f"the account's instance has used up its time on processors, so jobs on {backend.name} would not run; "
            "allot it more, or take another instance"
        )


@final
class IBMProcessor(Processor):
    """A processor at IBM; made by `open_processor`.

    Attributes:
        session_id: of the batch or session that jobs belong to; None where there is none yet.
    """

    is_local = False

    def __init__(
        self,
        service: QiskitRuntimeService,
        backend: IBMBackend,
        *,
        mode: Mode,
        fractional_gates: bool,
        hide: Callable[[str], str],
    ) -> None:
        self.name, self.target = str(backend.name), backend.target
        # The estimator puts a measurement of every qubit at the end of the circuits that it gets.
        self.measured_qubits = int(backend.num_qubits)
        default = getattr(backend.configuration(), "default_rep_delay", None)
        self.rep_delay = default or REP_DELAY
        self.session_id: str | None = None
        self._service, self._backend, self._mode, self._hide = service, backend, mode, hide
        self.instance, self._fractional_gates = service.active_instance(), fractional_gates
        self._session: Session | Batch | None = None
        self._on_session: Callable[[str], None] | None = None
        self._max_session_seconds: int | None = None

    def belong_to(
        self, session_id: str | None, *, on_session: Callable[[str], None] | None, max_seconds: int | None
    ) -> None:
        """Say which batch or session is joined again, and how others are begun; as in `open_processor`."""
        self.session_id = session_id if self._mode != "job" else None
        self._on_session, self._max_session_seconds = on_session, max_seconds

    def submit(self, request: JobRequest, tags: list[str]) -> Job:
        with told(f"{self.name}: handing in a job", self._hide):
            mode = self._backend if self._mode == "job" else self._open_session()
            return IBMJob(run_estimator(mode, self._expanded(request), tags=tags), self._service, self._hide)

    def find(self, tag: str) -> list[Job]:
        with told(f"{self.name}: listing jobs", self._hide):
            jobs = self._service.jobs(job_tags=[tag], limit=20, descending=False, instance=self.instance)
        return [IBMJob(job, self._service, self._hide) for job in jobs]

    def job(self, job_id: str) -> Job | None:
        from qiskit_ibm_runtime.exceptions import RuntimeJobNotFound

        with told(f"{self.name}: asking for job {job_id}", self._hide):
            try:
                return IBMJob(self._service.job(job_id), self._service, self._hide)
            except RuntimeJobNotFound:
                return None

    def close(self) -> None:
        """Close the batch or session: it takes no more jobs, and those that it has go on."""
        try:
            session = self._session or self._joined()
            if session is not None:
                with told(f"{self.name}: closing the {self._mode}", self._hide):
                    session.close()
        except HardwareError as error:  # it is the end of other work, whose own error must not be hidden
            what = f"{self._mode} {self.session_id}"
            _log.warning("%s may still be open, and is charged until it is closed (%s)", what, error)
        self._session = None

    def _expanded(self, request: JobRequest) -> JobRequest:
        """The request on the processor's own qubits."""
        size = self._backend.num_qubits
        circuit = QuantumCircuit(size)
        circuit.compose(request.circuit, qubits=request.physical, inplace=True)
        observables = tuple(each.apply_layout(list(request.physical), size) for each in request.observables)
        return dataclasses.replace(request, circuit=circuit, observables=observables)

    def _open_session(self) -> Session | Batch:
        """The batch or session, joined again while it takes jobs, or else a new one."""
        from qiskit_ibm_runtime import Batch, Session

        session = self._session or self._joined()
        if session is not None and (session.details() or {}).get("accepting_jobs"):
            self._session = session
            return session
        kind = Batch if self._mode == "batch" else Session
        try:
            with told(f"{self.name}: opening a {self._mode}", self._hide):
                session = kind(self._backend, max_time=self._max_session_seconds)
        except TransientFault:
            raise
        except HardwareError as error:
            instead = "mode: job" if self._mode == "batch" else "mode: job or mode: batch"
            raise AccountError(
                f"mode: {self._mode} is refused, as the open plan does with sessions ({error}); take {instead}"
            ) from None
        self._session, self.session_id = session, session.session_id
        if self._on_session is not None and session.session_id is not None:
            self._on_session(session.session_id)
        return session

    def _joined(self) -> Session | Batch | None:
        """The batch or session that a solve began; None if the service does not know it."""
        from qiskit_ibm_runtime import Batch, Session
        from qiskit_ibm_runtime.exceptions import IBMInputValueError

        if self.session_id is None:
            return None
        kind = Batch if self._mode == "batch" else Session
        with told(f"{self.name}: asking for {self._mode} {self.session_id}", self._hide):
            try:
                return kind.from_id(self.session_id, self._service, use_fractional_gates=self._fractional_gates)
            except IBMInputValueError:
                return None
