"""A processor with the calibration that circuits are compiled for, and who answers requests there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qdeq_qiskit.backends.placement import check_size
from qdeq_qiskit.backends.runtime.errors import ProcessorError
from qdeq_qiskit.backends.runtime.job import Processor
from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.backends.runtime.machine import RunsRequests
from qdeq_qiskit.backends.runtime.qpu_time import Budget
from qdeq_qiskit.noise.snapshots import Snapshot


@final
@dataclass(frozen=True, eq=False)
class Connection:
    """What a machine on a processor needs.

    Attributes:
        processor: who runs jobs.
        snapshot: the calibration that circuits are compiled for, now or when a solve began.
        dispatcher: answers requests, from a ledger or from the processor.
    """

    processor: Processor
    snapshot: Snapshot
    dispatcher: RunsRequests

    @classmethod
    def to(cls, processor: Processor, *, num_qubits: int, max_qpu_seconds: float | None) -> Connection:
        """A connection that nothing is written down of: its ledger ends with this process.

        Args:
            processor: who runs jobs.
            num_qubits: the qubits that are needed.
            max_qpu_seconds: a budget; None for no limit.

        Raises:
            ProcessorError: the processor has fewer qubits.
        """
        try:
            check_size(num_qubits, processor.target)
        except ValueError as error:
            raise ProcessorError(str(error)) from error
        solve = Ledger.open(None).begin("in memory", {}, processor=processor.name)
        budget = None if max_qpu_seconds is None else Budget(max_qpu_seconds)
        snapshot = Snapshot(processor.name, processor.target)
        return cls(processor, snapshot, solve.dispatcher(processor, budget=budget))
