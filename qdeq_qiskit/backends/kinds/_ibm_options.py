"""What a recipe of kind ibm says, and what it must not say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds._backend import Backend
from qdeq_qiskit.backends.runtime.estimation import MAX_EXECUTIONS
from qdeq_qiskit.backends.solver_choice import SolverChoice
from qdeq_qiskit.backends.spsa import WeightGradient
from qdeq_qiskit.equilibrium import SampledSolver
from qdeq_qiskit.noise import MitigationRecipe
from qdeq_qiskit.noise.snapshots import Snapshot

_RESILIENCE = {0: "none", 1: "trex", 2: "trex+zne+twirling"}

# On FakeTorino and MNIST-4 this takes 23 to 36 s of a processor for 20 images, by the formula of `qpu_time`; with a
# measured Jacobian and 4096 shots an evaluation it is 1,400 s.
_SOLVER = SolverChoice.of(SampledSolver(jacobian="noiseless", precision=0.05, max_shots=50_000))


class IBMOptions(Backend):
    """Where jobs run, how often each circuit, and what is done against noise."""

    # A token that was put here by mistake must not come back in an error.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(
        default="least_busy", min_length=1, description="A processor, such as ibm_torino, least_busy, or fake_torino."
    )
    instance: str | None = Field(
        default=None, description="Name or CRN of the service's instance; null for the account's own."
    )
    channel: Literal["ibm_quantum_platform", "ibm_cloud"] | None = Field(
        default=None, description="Channel of the account: ibm_quantum_platform or ibm_cloud; null for the account's."
    )
    mode: Literal["job", "batch", "session"] = Field(
        default="job",
        description="job: each job queues by itself; batch: jobs that are handed in together; session: the processor "
        "is kept between jobs, which not every plan has.",
    )
    max_session_seconds: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        description="Seconds after which a session or batch ends; null for the service's own limit.",
    )
    shots: int | None = Field(
        default=None, ge=1, le=MAX_EXECUTIONS, description="Shots of each circuit; this or precision, one of them."
    )
    precision: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Standard error that a single ±1 observable has at most; taken as 1/precision² shots.",
    )
    seed: int | None = Field(
        default=0, ge=0, lt=2**63, description="Seed of what a simulator draws; null for a new one every time."
    )
    mitigation: MitigationRecipe | None = Field(
        default=None,
        description="What is done against the noise: short names, such as trex+zne, or a mapping. resilience: 0, 1 or "
        "2 in its place stands for none, trex and trex+zne+twirling.",
    )
    fractional_gates: bool = Field(
        default=False, description="Whether rx and rzz with any angle are native gates; not with twirling."
    )
    optimization_level: Literal[0, 1, 2, 3] = Field(default=3, description="Effort of the transpiler, 0 to 3.")
    transpiler_seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the transpiler.")
    rep_delay: float | None = Field(
        default=None, ge=0, le=1, description="Seconds between two shots; null for the processor's own."
    )
    init_qubits: bool = Field(
        default=True, description="Whether qubits are reset before each shot; those of a copy always are."
    )
    solver: SolverChoice = Field(
        default=_SOLVER,
        description="How fixed points are found, where the model does not say: kind sampled; options of it that are "
        "left out are jacobian: noiseless, precision: 0.05, max_shots: 50000, and the solver's own.",
    )
    weight_gradient: WeightGradient = Field(
        default="parameter_shift",
        description="How gradients of the weights are measured: parameter_shift, or spsa (two circuits a sample).",
    )
    max_qpu_seconds: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Most seconds of the processor; null for no limit."
    )
    max_execution_time: int | None = Field(
        default=None,
        ge=1,
        le=10**9,
        description="Seconds of the processor after which a job is cancelled; null for no limit.",
    )

    @model_validator(mode="before")
    @classmethod
    def _has_no_secrets(cls, data: Any) -> Any:
        if (found := next(_secrets(data), None)) is not None:
            raise ValueError(
                f"{found}: credentials do not belong into a recipe, which is copied into every run directory; save "
                "them once with QiskitRuntimeService.save_account(token=..., instance=...), or set QISKIT_IBM_TOKEN"
            )
        return data

    @model_validator(mode="before")
    @classmethod
    def _from_resilience(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "resilience" not in data:
            return data
        rest = {key: value for key, value in data.items() if key != "resilience"}
        level = data["resilience"]
        if isinstance(level, bool) or level not in _RESILIENCE:
            raise ValueError(f"resilience must be 0, 1 or 2, not {level!r}; mitigation says more")
        if rest.get("mitigation") is not None:
            raise ValueError(f"resilience: {level} stands for mitigation: {_RESILIENCE[level]}; give one of the two")
        return {**rest, "mitigation": _RESILIENCE[level]}

    @field_validator("name")
    @classmethod
    def _is_known_if_it_is_fake(cls, name: str) -> str:
        if name.startswith("fake"):
            Snapshot.fake(name)
        return name

    @field_validator("solver", mode="before")
    @classmethod
    def _fill_in_solver(cls, value: Any) -> Any:
        """Options that are left out are the default's, so that one of them can be changed by itself."""
        if value is None:
            return _SOLVER
        if not isinstance(value, dict) or value.get("kind", _SOLVER.kind) != _SOLVER.kind:
            return value
        return {**_SOLVER.model_dump(), **value}

    @field_validator("solver")
    @classmethod
    def _knows_noise(cls, choice: SolverChoice) -> SolverChoice:
        solver = choice.make()
        if not isinstance(solver, SampledSolver) and not getattr(solver, "average", False):
            raise ValueError(
                f"{choice.kind} waits for a residual of {solver.tolerance:g}, which shot noise hides, and would spend "
                "circuits until its iterations run out; take kind: sampled, or krasnoselskii_mann with "
                "average: true"
            )
        return SolverChoice.of(solver)

    @model_validator(mode="after")
    def _takes_shots(self) -> Self:
        if (self.shots is None) == (self.precision is None):
            given = (
                "none of them is given: give shots"
                if self.shots is None
                else f"both are given ({self.shots:,} and {self.precision:g}), so set one of them to null"
            )
            raise ValueError(f"shots, precision: exactly one of them says how often circuits run; {given}")
        if self.num_shots > MAX_EXECUTIONS:
            raise ValueError(
                f"precision {self.precision:g} takes {self.num_shots:,} shots of a circuit, and a job has at most "
                f"{MAX_EXECUTIONS:,}; take at least {1 / math.sqrt(MAX_EXECUTIONS):.1g}"
            )
        return self

    @model_validator(mode="after")
    def _runs_as_told(self) -> Self:
        if self.is_fake and self.mode != "job":
            raise ValueError(
                f"mode: {self.mode} keeps a processor between jobs, and {self.name} is a copy on this machine, where "
                "no job waits; leave mode out"
            )
        if self.is_fake and self.fractional_gates:
            raise ValueError(f"fractional_gates: {self.name} is a copy of a processor without them; leave it out")
        if self.fractional_gates and self.mitigation is not None and self.mitigation.twirling is not None:
            raise ValueError(
                "fractional_gates: twirling puts Paulis around Clifford gates and undoes them after, which an rzz of "
                "any angle does not allow; leave out one of the two"
            )
        if self.max_session_seconds is not None and self.mode == "job":
            raise ValueError("max_session_seconds: there is no session in mode job; take mode batch or session")
        return self

    @property
    def exact(self) -> bool:
        return False

    @property
    def noisy(self) -> bool:
        return True

    @property
    def is_fake(self) -> bool:
        """Whether it is a copy of a processor on this machine."""
        return self.name.startswith("fake")

    @property
    def num_shots(self) -> int:
        """Shots of each circuit."""
        if self.shots is not None:
            return self.shots
        assert self.precision is not None
        return math.ceil(round(self.precision**-2, 6))

    @property
    def decouples(self) -> bool:
        """Whether pulses are put on waiting wires."""
        return self.mitigation is not None and self.mitigation.dynamical_decoupling is not None

    def describe(self) -> str:
        shots = f"{self.num_shots} shots"
        mitigated = "" if self.mitigation is None or self.mitigation.is_none else f", {self.mitigation.describe()}"
        fractional = ", fractional gates" if self.fractional_gates else ""
        return f"{self.name}{' (local)' if self.is_fake else f', {self.mode} mode'}; {shots}{fractional}{mitigated}"


def _secrets(data: Any, *above: str) -> Iterator[str]:
    """The keys, at any depth, that promise a credential."""
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, value in entries:
        if recipes.SECRET.search(str(name)):
            yield ".".join((*above, str(name)))
        yield from _secrets(value, *above, str(name))
