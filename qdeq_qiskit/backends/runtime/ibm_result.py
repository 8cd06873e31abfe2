"""The result of a job at IBM, read as plain data.

The client's own reader of JSON makes objects of classes, and of bytes, that the text names, so it is not used: numbers
are all that a result has to hold. Whatever is wrong with the text is a matter of the job, not of the connection.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qiskit_ibm_runtime.decoders.defaults import ClientSideEstimatorDecoder
from qiskit_ibm_runtime.decoders.executor.decoder import AVAILABLE_DECODERS
from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder
from qiskit_ibm_runtime.results.quantum_program import QuantumProgramResult

if TYPE_CHECKING:
    from qiskit_ibm_runtime import RuntimeJobV2


def text_of(job: RuntimeJobV2) -> str | None:
    """What the service sent, unread; None if it sent nothing."""
    return job.result(decoder=_AsSent)


def estimates_of(text: str | None) -> Any:
    """The estimator's answer to the one PUB of a job, worked out from its outcomes.

    Raises:
        Exception: of any kind, where the text is not the result of an estimator's job.
    """
    if text is None:
        raise ValueError("it is empty")
    version = json.loads(text)["schema_version"]
    convert, model = AVAILABLE_DECODERS[version]
    result = convert(model.model_validate_json(text))
    if not isinstance(result, QuantumProgramResult) or not ClientSideEstimatorDecoder.is_applicable(result):
        raise ValueError("it is not that of an estimator")
    return ClientSideEstimatorDecoder.decode(result)[0]


class _AsSent(ResultDecoder):
    """Reads nothing."""

    @classmethod
    def decode(cls, data: Any) -> Any:
        return data
