"""IBM's processors, and calibrated copies of them on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, final

from pydantic import PrivateAttr
from qiskit.transpiler import Target
from torch import nn

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.compiled import CompiledCircuit, compile_circuit
from qdeq_qiskit.backends.kinds._ibm_options import IBMOptions
from qdeq_qiskit.backends.kinds.snapshot import SnapshotBackend
from qdeq_qiskit.backends.mitigated import check_mitigation
from qdeq_qiskit.backends.runtime.connection import Connection
from qdeq_qiskit.backends.runtime.errors import ProcessorError
from qdeq_qiskit.backends.runtime.isa import check_gates
from qdeq_qiskit.backends.runtime.job import Processor
from qdeq_qiskit.backends.runtime.local import LocalProcessor
from qdeq_qiskit.backends.runtime.machine import Execution, RuntimeMachine
from qdeq_qiskit.backends.runtime.qpu_time import QPUTime
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Solver
from qdeq_qiskit.noise import CircuitNoise, MitigationRecipe
from qdeq_qiskit.noise.snapshots import Snapshot


@final
class IBMBackend(IBMOptions):
    """A processor of IBM by its name, or `least_busy`; a name such as fake_torino is a copy on this machine.

    Encoder and ansatz are compiled together, once, on the qubits that promise the least error, and run by Runtime's
    estimator. Credentials are those of the account that was saved, or of the environment.
    """

    kind: Literal["ibm"] = "ibm"

    _connection: Connection | None = PrivateAttr(default=None)
    _compiled: list[tuple[QNNCircuit, Target, CompiledCircuit]] = PrivateAttr(default_factory=list)

    def open(
        self,
        num_qubits: int,
        *,
        session_id: str | None = None,
        on_session: Callable[[str], None] | None = None,
        begins: bool = True,
    ) -> Connection:
        """A connection to the processor; nothing is written down of what is asked there.

        Args:
            num_qubits: the qubits that are needed.
            session_id: of a session to go on with; None for a new one, if the mode has them.
            on_session: told the id of a batch or session that is begun.
            begins: whether new work is meant; what was handed in before can be had from a processor that is paused.

        Raises:
            HardwareError: no account, no such processor, it is paused or too small, or its plan has no sessions.
        """
        return Connection.to(
            self._processor(num_qubits, session_id, on_session, begins),
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
            idle=self.decouples and self.is_fake,
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
            ProcessorError: its gates or the mitigation cannot be had there.
        """
        connection = self._connected(qnn.num_qubits)
        return self._machine(self.compile(qnn, connection.snapshot), connection)

    def machine_of(self, compiled: CompiledCircuit, *, stream: int = 0) -> RuntimeMachine:
        """What runs a circuit that is compiled already, for this processor.

        Args:
            compiled: the circuit.
            stream: at least 0; machines of other streams draw other shots under the recipe's seed.

        Raises:
            ValueError: as `layer`.
        """
        machine = self._machine(compiled, self._connected(compiled.num_qubits))
        machine.restart(stream)
        return machine

    def _machine(self, compiled: CompiledCircuit, connection: Connection) -> RuntimeMachine:
        processor, recipe = connection.processor, self.mitigation or MitigationRecipe()
        check_gates(compiled.circuit, compiled.physical, processor.target, processor.name)
        # What a processor's calibration says of its noise matters only to what is done against it.
        if recipe.readout != "none" or self.decouples:
            noise = connection.snapshot.noise(compiled, idle_relaxation=self.decouples)
        else:
            noise = CircuitNoise(compiled.num_qubits)
        try:
            check_mitigation(compiled, noise, recipe, self.num_shots)
        except ValueError as error:
            raise ProcessorError(f"{processor.name}: {error}") from error
        return RuntimeMachine(
            compiled,
            connection.dispatcher,
            noise=noise,
            recipe=recipe,
            shots=self.num_shots,
            seed=self.seed,
            execution=Execution(self.init_qubits, self.rep_delay, self.max_execution_time),
            time=QPUTime(processor.rep_delay),
            measured_qubits=processor.measured_qubits,
        )

    def _connected(self, num_qubits: int) -> Connection:
        """The connection that this was bound to, or one to a copy on this machine."""
        if self._connection is None and not self.is_fake:
            raise ValueError(
                f"backend ibm: name: {recipes.shown(self.name)} is a processor, and what is done there is written into "
                "a run's ledger, so that nothing is lost or done twice: qdeq submit RUN --backend RECIPE, for a run "
                "that is finished; a copy of a processor on this machine, such as fake_torino, takes this too"
            )
        return self._connection or self.open(num_qubits)

    def _processor(
        self,
        num_qubits: int,
        session_id: str | None,
        on_session: Callable[[str], None] | None,
        begins: bool,
    ) -> Processor:
        if self.is_fake:
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
            begins=begins,
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
            idle_relaxation=self.decouples,
        )

    def default_solver(self) -> Solver:
        return self.solver.make()
