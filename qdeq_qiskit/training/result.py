"""What must stand in a run's `result.json` and `run.json` for them to be used; both are files, which may be damaged."""

from __future__ import annotations

from typing import Annotated, final

from pydantic import BaseModel, ConfigDict, Field

# Numbers are numbers; further keys may be there, since files of other versions have them.
_STRICT = ConfigDict(extra="allow", strict=True)


@final
class TestFigures(BaseModel):
    """How the best epoch did on the test images."""

    model_config = _STRICT

    accuracy: float
    accuracy_interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    macro_f1: float
    log_loss: float
    samples: int
    median_residual: float | None
    converged_fraction: float | None
    mean_iterations: float
    mean_evaluations: float


@final
class ControlFigures(BaseModel):
    """The classical control."""

    model_config = _STRICT

    name: str
    accuracy: float
    parameters: int


@final
class Parameters(BaseModel):
    """How many numbers were learned."""

    model_config = _STRICT

    circuit: int
    head: int


@final
class SampleCounts(BaseModel):
    """How many images there were."""

    model_config = _STRICT

    train: int
    valid: int
    test: int


@final
class RunResult(BaseModel):
    """What came out of a run."""

    model_config = _STRICT

    best_epoch: int
    epochs: int
    steps: int
    seconds: float
    ms_per_step: float
    seed: int
    test_accuracy: float
    valid_accuracy: float
    control_accuracy: float
    median_residual: float | None
    converged_fraction: float | None
    mean_iterations: float
    circuits: int
    shots: int
    test: TestFigures
    control: ControlFigures
    parameters: Parameters
    samples: SampleCounts
    backend: str
    peak_memory_mb: int | float | None = None
    gpu_peak_memory_mb: int | float | None = None
    cpu_seconds: float | None = None
    added_memory_mb: int | float | None = None
    processes: int = 1


@final
class RunOrigin(BaseModel):
    """Where a run came from."""

    model_config = _STRICT

    name: str | None = None
    data_dir: str | None = None
    data: dict[str, str] | None = None
    begun: str
    versions: dict[str, str]
