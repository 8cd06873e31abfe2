"""IBM's processors, and calibrated copies of them on this machine."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Literal, final

from pydantic import ConfigDict, Field, PrivateAttr, field_validator, model_validator
from qiskit.transpiler import Target
from torch import nn

from qdeq_qiskit.backends.compiled import CompiledCircuit, compile_circuit
from qdeq_qiskit.backends.kinds._backend import Backend
from qdeq_qiskit.backends.kinds.snapshot import SnapshotBackend
from qdeq_qiskit.backends.mitigated import check_mitigation
from qdeq_qiskit.backends.runtime.connection import Connection
from qdeq_qiskit.backends.runtime.isa import check_gates
from qdeq_qiskit.backends.runtime.local import LocalProcessor
from qdeq_qiskit.backends.runtime.machine import Execution, RuntimeMachine
from qdeq_qiskit.backends.runtime.qpu_time import QPUTime
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.backends.spsa import WeightGradient
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import SampledSolver, Solver
from qdeq_qiskit.noise import MitigationRecipe
from qdeq_qiskit.noise.snapshots import Snapshot

_RESILIENCE = {0: "none", 1: "trex", 2: "trex+zne+twirling"}
_SECRET = re.compile("token|api.?key|password|secret|credential", re.IGNORECASE)
# What fits into a job; see `estimation.MAX_EXECUTIONS`.
_MAX_SHOTS = 5_000_000


@final
class IBMBackend(Backend):
    """A processor of IBM by its name, or `least_busy`; a name such as fake_torino is a copy on this machine.

    Encoder and ansatz are compiled together, once, on the qubits that promise the least error, and run by Runtime's
    estimator. Credentials are those of the account that was saved, or of the environment.
    """

    # A token that was put here by mistake must not come back in an error.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["ibm"] = "ibm"
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
        default=None, ge=1, description="Seconds after which a session or batch ends; null for the service's own limit."
    )
    shots: int | None = Field(
        default=None, ge=1, le=_MAX_SHOTS, description="Shots of each circuit; this or precision, one of them."
    )
    precision: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Standard error that a single ±1 observable has at most; taken as 1/precision² shots.",
    )
    seed: int | None = Field(
        default=0, ge=0, description="Seed of what a simulator draws; null for a new one every time."
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
    transpiler_seed: int = Field(default=0, ge=0, description="Seed of the transpiler.")
    rep_delay: float | None = Field(
        default=None, ge=0, le=1, description="Seconds between two shots; null for the processor's own."
    )
    init_qubits: bool = Field(default=True, description="Whether qubits are reset before each shot.")
    weight_gradient: WeightGradient = Field(
        default="parameter_shift",
        description="How gradients of the weights are measured: parameter_shift, or spsa (two circuits a sample).",
    )
    max_qpu_seconds: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="Most seconds of the processor; null for no limit."
    )
    max_execution_time: int | None = Field(
        default=None, ge=1, description="Seconds of the processor after which a job is cancelled; null for no limit."
    )

    _connection: Connection | None = PrivateAttr(default=None)
    _compiled: list[tuple[QNNCircuit, Target, CompiledCircuit]] = PrivateAttr(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _has_no_secrets(cls, data: Any) -> Any:
        if isinstance(data, dict) and (found := [str(name) for name in data if _SECRET.search(str(name))]):
            raise ValueError(
                f"{found[0]}: credentials do not belong into a recipe, which is copied into every run directory; save "
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

    @model_validator(mode="after")
    def _takes_shots(self) -> IBMBackend:
        if (self.shots is None) == (self.precision is None):
            given = "none of them" if self.shots is None else "both"
            raise ValueError(f"shots, precision: exactly one of them says how often circuits run; {given} is given")
        if self.num_shots > _MAX_SHOTS:
            raise ValueError(
                f"precision {self.precision:g} takes {self.num_shots:,} shots of a circuit, and a job has at most "
                f"{_MAX_SHOTS:,}; take at least {1 / math.sqrt(_MAX_SHOTS):.1g}"
            )
        return self

    @model_validator(mode="after")
    def _runs_as_told(self) -> IBMBackend:
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

    def open(
        self,
        num_qubits: int,
        *,
        session_id: str | None = None,
        on_session: Callable[[str | None], None] | None = None,
    ) -> Connection:
        """A connection to the processor; nothing is written down of what is asked there.

        Args:
            num_qubits: the qubits that are needed.
            session_id: of a session to go on with; None for a new one, if the mode has them.
            on_session: told the id of the session that is used, and None where there is none.

        Raises:
            HardwareError: no account, no such processor, it is paused or too small, or its plan has no sessions.
        """
        return Connection.to(
            self._processor(num_qubits, session_id, on_session),
            num_qubits=num_qubits,
            max_qpu_seconds=self.max_qpu_seconds,
        )

    @property
    def connection(self) -> Connection | None:
        """What it was bound to by `on`, if it was."""
        return self._connection

    def on(self, connection: Connection) -> IBMBackend:
        """The same options, on a processor that was opened before, with its dispatcher."""
        bound = self.model_copy()
        bound._connection, bound._compiled = connection, []
        return bound

    def compile(self, qnn: QNNCircuit, snapshot: Snapshot | None = None) -> CompiledCircuit:
        """The circuit in the processor's gates on the qubits that promise the least error; kept for the next time.

        Args:
            qnn: the circuit.
            snapshot: the processor; None for that of the connection, or the copy on this machine.

        Raises:
            ValueError: the circuit does not fit on the processor.
        """
        target = (snapshot or self._connected(qnn.num_qubits).snapshot).target
        for known, there, compiled in self._compiled:
            if known is qnn and there is target:
                return compiled
        compiled = compile_circuit(
            qnn,
            target=target,
            optimization_level=self.optimization_level,
            seed=self.transpiler_seed,
            # On a processor the estimator schedules by itself; simulated wires relax during delays only.
            idle=self._decouples and self.is_fake,
        )
        self._compiled.append((qnn, target, compiled))
        return compiled

    def layer(self, qnn: QNNCircuit, weight: nn.Parameter | None = None) -> SampledLayer:
        return SampledLayer(
            qnn,
            self.machine(qnn),
            noisy_encoder=True,
            weight_gradient=self.weight_gradient,
            weight=weight,
        )

    def machine(self, qnn: QNNCircuit) -> RuntimeMachine:
        """What runs the circuit, row by row of its angles.

        Raises:
            ValueError: as `layer`.
        """
        connection = self._connected(qnn.num_qubits)
        return self._machine(self.compile(qnn, connection.snapshot), connection)

    def machine_of(self, compiled: CompiledCircuit) -> RuntimeMachine:
        """What runs a circuit that is compiled already, for this processor.

        Raises:
            ValueError: as `layer`.
        """
        return self._machine(compiled, self._connected(compiled.num_qubits))

    def _machine(self, compiled: CompiledCircuit, connection: Connection) -> RuntimeMachine:
        processor, recipe = connection.processor, self.mitigation or MitigationRecipe()
        check_gates(compiled.circuit, compiled.physical, processor.target, processor.name)
        noise = connection.snapshot.noise(compiled, idle_relaxation=self._decouples)
        check_mitigation(compiled, noise, recipe, self.num_shots)
        return RuntimeMachine(
            compiled,
            connection.dispatcher,
            noise=noise,
            recipe=recipe,
            shots=self.num_shots,
            seed=self.seed,
            execution=Execution(self.init_qubits, self.rep_delay, self.max_execution_time),
            time=QPUTime(processor.rep_delay),
        )

    @property
    def _decouples(self) -> bool:
        return self.mitigation is not None and self.mitigation.dynamical_decoupling is not None

    def _connected(self, num_qubits: int) -> Connection:
        """The connection that this was bound to, or one to a copy on this machine."""
        if self._connection is None and not self.is_fake:
            raise ValueError(
                f"{self.name} is a processor, and what is done there is written into a run's ledger, so that nothing "
                "is lost or done twice: qdeq submit RUN --backend RECIPE, for a run that is finished; a copy of a "
                "processor on this machine, such as fake_torino, takes this too"
            )
        return self._connection or self.open(num_qubits)

    def _processor(
        self, num_qubits: int, session_id: str | None, on_session: Callable[[str | None], None] | None
    ) -> Any:
        if self.is_fake:
            if self.fractional_gates:
                raise ValueError(f"fractional_gates: {self.name} is a copy of a processor without them; leave it out")
            return LocalProcessor.fake(self.name, rep_delay=self.rep_delay)
        from qdeq_qiskit.backends.runtime.ibm_processor import open_processor

        return open_processor(
            self.name,
            instance=self.instance,
            channel=self.channel,
            num_qubits=num_qubits,
            fractional_gates=self.fractional_gates,
            mode=self.mode,
            max_session_seconds=self.max_session_seconds,
            rep_delay=self.rep_delay,
            session_id=session_id,
            on_session=on_session,
        )

    def snapshot(self) -> SnapshotBackend:
        """The exact expectation values of the same circuits on a copy of a processor, unmitigated.

        Raises:
            ValueError: it is no copy.
        """
        if not self.is_fake:
            raise ValueError(f"{self.name} is a processor; exact expectation values are those of a copy of one")
        return SnapshotBackend(
            name=self.name,
            shots=None,
            optimization_level=self.optimization_level,
            transpiler_seed=self.transpiler_seed,
            idle_relaxation=self._decouples,
        )

    def default_solver(self) -> Solver:
        # On FakeTorino and MNIST-4 this takes 23 to 36 s of a processor for 20 images, by the formula of `qpu_time`;
        # with a measured Jacobian and 4096 shots an evaluation it is 1,400 s.
        return SampledSolver(jacobian="noiseless", precision=0.05, max_shots=50_000)

    def describe(self) -> str:
        shots = f"{self.num_shots} shots"
        mitigated = "" if self.mitigation is None or self.mitigation.is_none else f", {self.mitigation.describe()}"
        fractional = ", fractional gates" if self.fractional_gates else ""
        return f"{self.name}{' (local)' if self.is_fake else f', {self.mode} mode'}; {shots}{fractional}{mitigated}"
