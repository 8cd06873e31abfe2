"""By what a request is known again: a digest of the circuit, its observables and options, apart from the angles."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterExpression

from qdeq_qiskit.backends.runtime.job import JobRequest

_DIGITS = 10  # of angles and coefficients that are part of the circuit


def fingerprint(request: JobRequest) -> str:
    """SHA-256 of everything in a request but its rows, equal in every process.

    Parameters count by their place, not by their names: each process makes its own. The duration is left out, which
    follows from the circuit and the processor.
    """
    content = {
        "circuit": _gates(request.circuit),
        "observables": [_terms(observable.to_list()) for observable in request.observables],
        "physical": list(request.physical),
        "cost": dataclasses.asdict(request.cost),
        "options": request.options,
        "seed": request.seed,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _gates(circuit: QuantumCircuit) -> list[Any]:
    places = {parameter: place for place, parameter in enumerate(circuit.parameters)}
    return [
        [
            instruction.operation.name,
            [circuit.find_bit(qubit).index for qubit in instruction.qubits],
            [_angle(value, places) for value in instruction.operation.params],
        ]
        for instruction in circuit.data
    ]


def _angle(value: Any, places: dict[Parameter, int]) -> Any:
    if isinstance(value, Parameter):
        return f"#{places[value]}"
    if isinstance(value, ParameterExpression) and value.parameters:
        return str(value)
    return round(float(value), _DIGITS)


def _terms(terms: list[tuple[str, complex]]) -> list[Any]:
    return [[label, round(complex(value).real, _DIGITS), round(complex(value).imag, _DIGITS)] for label, value in terms]
