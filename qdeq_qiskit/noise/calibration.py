"""A backend's calibration in a file: plain YAML or JSON, read back without executing anything."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from qiskit.circuit import Gate
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.providers import BackendV2, QubitProperties
from qiskit.transpiler import InstructionProperties, Target

from qdeq_qiskit import recipes
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.noise.snapshots import Snapshot
from qdeq_qiskit.recipes import RecipeError

FORMAT = "qdeq-calibration-1"
_SUFFIXES = (".yaml", ".yml", ".json")
_TIMING = ("granularity", "min_length", "pulse_alignment", "acquire_alignment")
_WITHOUT_ERROR = ("measure", "reset", "delay")
_MISREADING = ("prob_meas1_prep0", "prob_meas0_prep1")

Probability = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]
Steps = Annotated[int, Field(ge=1, le=2**31)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@final
class QubitCalibration(_Section):
    """One qubit."""

    t1: float | None = Field(default=None, gt=0, description="T1, in seconds.")
    t2: float | None = Field(default=None, gt=0, description="T2, in seconds.")
    frequency: float | None = Field(default=None, gt=0, description="Frequency, in hertz.")


@final
class GateCalibration(_Section):
    """One gate on certain qubits, or one readout."""

    duration: Seconds | None = Field(default=None, description="In seconds.")
    error: Probability | None = Field(default=None, description="Average gate error, or probability of a wrong bit.")
    prob_meas1_prep0: Probability | None = Field(default=None, description="Probability of reading 1 after 0.")
    prob_meas0_prep1: Probability | None = Field(default=None, description="Probability of reading 0 after 1.")

    @model_validator(mode="after")
    def _tells_both_misreadings(self) -> GateCalibration:
        given = [key for key in _MISREADING if getattr(self, key) is not None]
        if len(given) == 1:
            raise ValueError(
                f"{given[0]} is given alone; a readout has both {' and '.join(_MISREADING)}, or error only"
            )
        return self


@final
class Calibration(_Section):
    """A processor's calibration, as the file holds it."""

    format: Literal["qdeq-calibration-1"] = Field(description="What the file is: qdeq-calibration-1.")
    processor: str = Field(description="The processor's name.")
    dt: float | None = Field(default=None, gt=0, description="The system's time step, in seconds.")
    timing: dict[Literal["granularity", "min_length", "pulse_alignment", "acquire_alignment"], Steps] = Field(
        default_factory=dict, description="What schedules keep to, in units of dt."
    )
    qubits: tuple[QubitCalibration, ...] = Field(description="One entry a qubit.")
    gates: dict[str, dict[str, GateCalibration]] = Field(
        description="By gate name and qubits, such as {cz: {0-1: {duration: 6.8e-8, error: 0.005}}}."
    )

    @model_validator(mode="after")
    def _is_a_processor(self) -> Calibration:
        if not self.qubits:
            raise ValueError("qubits is empty; a processor has at least one")
        known = get_standard_gate_name_mapping()
        for name, entries in self.gates.items():
            if name not in known:
                raise ValueError(f"gates has {name!r}, which is not a gate of Qiskit's standard library")
            for key in entries:
                qubits = _qubits_of(key)
                wanted = known[name].num_qubits
                if qubits is None or not len({*qubits}) == len(qubits) == wanted or max(qubits) >= len(self.qubits):
                    raise ValueError(
                        f"gates.{name} has {key!r}; expected {wanted} of the qubits 0 to "
                        f"{len(self.qubits) - 1}, joined by '-', none of them twice"
                    )
        return self

    def target(self) -> Target:
        """The processor for the transpiler and for noise."""
        known = get_standard_gate_name_mapping()
        target = Target(
            num_qubits=len(self.qubits),
            dt=self.dt,
            qubit_properties=[QubitProperties(qubit.t1, qubit.t2, qubit.frequency) for qubit in self.qubits],
            **self.timing,
        )
        for name, entries in self.gates.items():
            target.add_instruction(known[name], {_qubits_of(key): _properties(entry) for key, entry in entries.items()})
        return target


def save_calibration(backend: BackendV2, path: str | Path) -> Path:
    """Write what a backend says of itself now: basis gates, coupling, durations, errors, readout, T1 and T2.

    Args:
        backend: a real one or a fake one; its target is what is saved.
        path: a file ending in .yaml, .yml or .json; overwritten if it exists, and never half-written.

    Returns:
        The path.

    Raises:
        ValueError: the suffix is another one, the backend has a gate that is not in Qiskit's standard library, or a
            value that no calibration has, such as a T1 of zero.
        OSError: the file cannot be written.
    """
    path = _with_suffix(path)
    if not isinstance(backend, BackendV2):
        raise TypeError(f"save_calibration: expected a BackendV2, not {type(backend).__name__}")
    write_atomically(path, calibration_text(Snapshot.of_backend(backend), json_syntax=path.suffix == ".json"))
    return path


def calibration_text(snapshot: Snapshot, *, json_syntax: bool = True) -> str:
    """A processor as text, in JSON or in YAML; `read_calibration` reads it back.

    Raises:
        ValueError: the processor has a value that no calibration has, such as a T1 of zero.
    """
    try:
        calibration = _calibration_of(snapshot)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{'.'.join(map(str, first['loc']))} is {first['input']!r}: " if first["loc"] else ""
        raise ValueError(f"save_calibration: {snapshot.name} cannot be saved; {where}{first['msg']}") from None
    data = calibration.model_dump(exclude_none=True)
    data["qubits"] = list(data["qubits"])
    text = json.dumps(data, indent=1, allow_nan=False) if json_syntax else yaml.safe_dump(data, sort_keys=False)
    return text + "\n" * (not text.endswith("\n"))


def read_calibration(text: str, *, source: str) -> Snapshot:
    """The processor of a text in JSON that `calibration_text` wrote.

    Args:
        text: the calibration.
        source: what messages call it.

    Raises:
        RecipeError: (a ValueError) it is damaged, or something else.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{source}: is not a calibration: {error}") from None
    calibration: Calibration = recipes.check(data, Calibration, source=source)
    return Snapshot(calibration.processor, calibration.target())


def load_calibration(path: str | Path) -> Snapshot:
    """A calibration that `save_calibration` wrote.

    Raises:
        RecipeError: (a ValueError) the file is missing, damaged, or something else; one line that names it.
    """
    path = _with_suffix(path).expanduser().absolute()
    if not path.is_file():
        raise RecipeError(f"{path}: there is no such calibration file; save_calibration(backend, path) writes one")
    state = path.stat()
    return _loaded(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _loaded(path: Path, _modified: int, _size: int) -> Snapshot:
    data = recipes.read_yaml(path)  # YAML's flow style is JSON
    if data.get("format") != FORMAT:
        raise RecipeError(
            f"{path}: is not a calibration: its format is {data.get('format')!r}, not {FORMAT!r}; "
            "save_calibration(backend, path) writes one"
        )
    calibration: Calibration = recipes.check(data, Calibration, source=str(path))
    return Snapshot(calibration.processor, calibration.target())


def _calibration_of(snapshot: Snapshot) -> Calibration:
    target = snapshot.target
    qubits = target.qubit_properties or [QubitProperties()] * target.num_qubits
    return Calibration(
        format="qdeq-calibration-1",
        processor=snapshot.name,
        dt=target.dt,
        timing={name: getattr(target, name) for name in _TIMING},
        qubits=tuple(QubitCalibration(t1=each.t1, t2=each.t2, frequency=each.frequency) for each in qubits),
        gates={name: _entries(target, name) for name in sorted(target.operation_names) if _is_calibrated(target, name)},
    )


def _is_calibrated(target: Target, name: str) -> bool:
    """Whether an operation is a gate, or another one that circuits of ours have; not control flow."""
    operation = target.operation_from_name(name)
    return target[name] is not None and (isinstance(operation, Gate) or name in _WITHOUT_ERROR)


def _entries(target: Target, name: str) -> dict[str, GateCalibration]:
    return {
        "-".join(map(str, qubits)): GateCalibration(
            duration=getattr(values, "duration", None),
            error=getattr(values, "error", None),
            **{key: getattr(values, key, None) for key in _MISREADING},
        )
        for qubits, values in sorted(target[name].items())
    }


def _properties(entry: GateCalibration) -> InstructionProperties | None:
    """As a target holds it; None where nothing is known, as for delays."""
    if entry == GateCalibration():
        return None
    properties = InstructionProperties(duration=entry.duration, error=entry.error)
    for key in _MISREADING:
        if getattr(entry, key) is not None:
            setattr(properties, key, getattr(entry, key))
    return properties


def _qubits_of(key: str) -> tuple[int, ...] | None:
    parts = key.split("-")
    return tuple(map(int, parts)) if all(re.fullmatch(r"0|[1-9]\d{0,5}", part, re.ASCII) for part in parts) else None


def _with_suffix(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise RecipeError(f"{path}: a calibration file ends in {', '.join(_SUFFIXES)}")
    return path
