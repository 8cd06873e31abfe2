"""Snapshots: calibrated copies of processors, and the noise on the qubits in use."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, final

import numpy as np
from qiskit.circuit import Measure
from qiskit.providers import BackendV2, QubitProperties
from qiskit.transpiler import Target

from qdeq_qiskit.aer import require_aer_noise
from qdeq_qiskit.noise.aer_noise import superop_of
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Compiled, Location, circuit_gates, one_qubit_gates
from qdeq_qiskit.recipes import choices, shown

_log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, eq=False)
class Snapshot:
    """A processor at the time of a calibration.

    Attributes:
        name: the processor's name.
        target: its gates, coupling, durations, errors, T1 and T2.
    """

    name: str
    target: Target

    @classmethod
    def of_backend(cls, backend: BackendV2) -> Snapshot:
        """What a backend says of itself now."""
        return cls(str(backend.name), backend.target)

    @classmethod
    def fake(cls, name: str) -> Snapshot:
        """A snapshot that ships with Qiskit Runtime, such as `fake_torino`.

        Raises:
            ValueError: there is none of that name.
        """
        if name not in fake_backends():
            known = choices(name, fake_backends(), "there are", more="`qdeq recipes noise` lists some")
            raise ValueError(f"there is no fake backend {shown(name)}; {known}")
        return _fake(name)

    def noise(self, compiled: Compiled, *, idle_relaxation: bool = False) -> CircuitNoise:
        """The noise on the qubits in use, equal to Aer's `NoiseModel.from_backend` on them.

        After a gate: depolarising, so that with the relaxation that follows the average gate error is the calibrated
        one; then relaxation of each qubit for the gate's duration. At readout: the calibrated assignment errors.

        Args:
            compiled: a circuit compiled for this processor.
            idle_relaxation: let qubits relax during delays too.

        Raises:
            ImportError: Aer is not installed.
            ValueError: the circuit is not compiled for this processor, or nothing would relax during delays.
        """
        device = require_aer_noise().device
        self._check(compiled)
        part = restricted(self.target, circuit_gates(compiled.circuit), compiled.physical)
        warn_of_impossible_t2(self, compiled.physical)
        errors = {
            (name, tuple(qubits)): superop_of(error)
            for name, qubits, error in device.basic_device_gate_errors(target=part)
        }
        readout = device.basic_device_readout_errors(target=part)
        times = {wire: _relaxation_times(part.qubit_properties[wire]) for wire in range(part.num_qubits)}
        if idle_relaxation and not np.isfinite(list(times.values())).any():
            raise ValueError(
                f"idle_relaxation: {self.name} gives neither T1 nor T2 of the qubits in use, "
                f"{list(compiled.physical)}, so nothing would relax; leave it out"
            )
        return CircuitNoise(
            part.num_qubits,
            errors=errors,
            # Aer's rows are what was prepared.
            assignments={qubits[0]: np.array(error.probabilities).T for qubits, error in readout},
            idle={wire: pair for wire, pair in times.items() if np.isfinite(pair).any()} if idle_relaxation else {},
            names=frozenset(f"{name} of {self.name}" for name, _ in errors)
            or frozenset({f"the gates of {self.name}, all of them without an error"}),
        )

    def _check(self, compiled: Compiled) -> None:
        """Refuse a circuit that was not compiled for this processor."""
        outside = [qubit for qubit in compiled.physical if qubit >= self.target.num_qubits]
        missing = sorted(
            f"{name} {tuple(compiled.physical[wire] for wire in qubits)}"
            for name, qubits in circuit_gates(compiled.circuit)
            if not outside and not _has(self.target, name, tuple(compiled.physical[wire] for wire in qubits))
        )
        if outside or missing:
            what = f"qubits {outside}" if outside else f"{', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''}"
            raise ValueError(
                f"the circuit is not compiled for {self.name}: it uses {what}, which the processor does not have "
                f"({self.target.num_qubits} qubits; {', '.join(sorted(_gate_names(self.target)))}); compile it with "
                "this processor as target"
            )


def restricted(target: Target, gates: Iterable[Location], physical: Sequence[int]) -> Target:
    """A target of the wires in use only: some gates, every one-qubit gate, and readout.

    Args:
        target: the whole processor.
        gates: (name, qubits) that the circuit has, qubits being its wires.
        physical: the processor's qubit of each wire.
    """
    wires = range(len(physical))
    properties = target.qubit_properties or [QubitProperties()] * target.num_qubits
    part = Target(num_qubits=len(physical), dt=target.dt, qubit_properties=[properties[qubit] for qubit in physical])
    wanted: dict[str, set[tuple[int, ...]]] = {"measure": {(wire,) for wire in wires}}
    for name, qubits in {*gates, *one_qubit_gates(target, wires)}:
        wanted.setdefault(name, set()).add(qubits)
    for name, places in sorted(wanted.items()):
        if name not in target.operation_names:
            continue
        known = target[name]
        entries = {}
        for qubits in sorted(places):
            there = tuple(physical[wire] for wire in qubits)
            if known is not None and there in known:
                entries[qubits] = known[there]
        if entries:
            part.add_instruction(target.operation_from_name(name), entries)
    return part


def warn_of_impossible_t2(snapshot: Snapshot, qubits: Iterable[int]) -> None:
    """Log the qubits whose calibrated T2 is above 2·T1, which is measured now and then; 2·T1 is used."""
    for qubit in qubits:
        values = (snapshot.target.qubit_properties or {qubit: QubitProperties()})[qubit]
        if values.t1 is not None and values.t2 is not None and values.t2 > 2 * values.t1:
            _log.warning(
                "%s: qubit %d is calibrated with T2 = %.3g µs, above 2·T1 = %.3g µs; 2·T1 is used",
                snapshot.name,
                qubit,
                values.t2 * 1e6,
                2 * values.t1 * 1e6,
            )


@cache
def fake_backends() -> dict[str, type[Any]]:
    """The fake backends of Qiskit Runtime that are installed, by name."""
    from qiskit_ibm_runtime import fake_provider
    from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

    named: dict[str, type[Any]] = {}
    for item in vars(fake_provider).values():
        if isinstance(item, type) and issubclass(item, FakeBackendV2) and "backend_name" in vars(item):
            named[vars(item)["backend_name"]] = item
    return dict(sorted(named.items()))


@cache
def _fake(name: str) -> Snapshot:
    snapshot = Snapshot.of_backend(fake_backends()[name]())
    snapshot.target.description = name  # by which errors of the compilation call it
    return snapshot


def _relaxation_times(values: QubitProperties) -> tuple[float, float]:
    """(T1, T2), infinite where they are not known, T2 at most 2·T1, as in Aer."""
    t1 = np.inf if values.t1 is None else values.t1
    return t1, min(2 * t1, np.inf if values.t2 is None else values.t2)


def _has(target: Target, name: str, qubits: tuple[int, ...]) -> bool:
    return name in target.operation_names and (target[name] is None or qubits in target[name] or None in target[name])


def _gate_names(target: Target) -> list[str]:
    return [
        name
        for name in target.operation_names
        if not isinstance(target.operation_from_name(name), type | Measure) and name not in ("delay", "reset")
    ]
