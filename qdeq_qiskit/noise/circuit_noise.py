"""What goes wrong at each gate and readout of one compiled circuit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, final

import numpy as np
from qiskit.quantum_info import SuperOp

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.compiled_gates import Location, circuit_gates

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit_aer.noise import NoiseModel

IDLE = "delay"


@final
@dataclass(frozen=True, eq=False)
class CircuitNoise:
    """A channel after each gate, an assignment matrix at each readout, relaxation during delays.

    Qubits are the wires of the compiled circuit. A gate without an entry is ideal.

    Attributes:
        num_qubits: number of wires, n.
        errors: superoperators, (4ᵏ, 4ᵏ) for k qubits, by gate name and qubits, in Qiskit's qubit order.
        assignments: (2, 2) a wire, P(measured | prepared) in row `measured` and column `prepared`.
        idle: (T1, T2) in seconds, of wires that relax during delays.
        names: the gates that the noise is about, in words, whether or not the circuit has them.
        dt: the time step of delays that are not given in seconds; None if there are none.
    """

    num_qubits: int
    errors: Mapping[Location, np.ndarray] = field(default_factory=dict)
    assignments: Mapping[int, np.ndarray] = field(default_factory=dict)
    idle: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    dt: float | None = None

    def __post_init__(self) -> None:
        for name in ("errors", "assignments", "idle"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __deepcopy__(self, memo: dict[int, Any]) -> CircuitNoise:
        """Itself, which nothing changes."""
        return self

    def __reduce__(self) -> tuple[type[CircuitNoise], tuple[Any, ...]]:
        """As plain dictionaries: the read-only views of them cannot be pickled."""
        errors, assignments, idle = (dict(each) for each in (self.errors, self.assignments, self.idle))
        return CircuitNoise, (self.num_qubits, errors, assignments, idle, self.names, self.dt)

    @property
    def noisy_gates(self) -> frozenset[Location]:
        """The gates that have an error, also one scaled to zero, and also gates that the circuit does not have.

        One-qubit gates that are put around the circuit later have errors too; `touched` leaves them out.
        """
        return frozenset(self.errors)

    def touched(self, circuit: QuantumCircuit) -> frozenset[Location]:
        """The circuit's own gates that have an error, also one scaled to zero.

        Args:
            circuit: compiled, as the noise was built for.
        """
        return self.noisy_gates & circuit_gates(circuit)

    def channel(self, gate: str, qubits: tuple[int, ...], duration: float | None = None) -> SuperOp | None:
        """What acts after a gate; None if nothing does.

        Args:
            gate: the gate's name.
            qubits: its qubits, in the circuit's order.
            duration: in seconds; only for a delay, and needed there if its wire relaxes.

        Raises:
            ValueError: a delay on a wire that relaxes has no duration.
        """
        superop = self.errors.get((gate, tuple(qubits)))
        if gate == IDLE and qubits[0] in self.idle:
            if duration is None:
                raise ValueError(f"the delay on wire {qubits[0]} has no duration in seconds, so how it relaxes is open")
            relaxing = channels.relaxation(*self.idle[qubits[0]], duration)
            superop = relaxing if superop is None else relaxing @ superop
        if superop is None or np.array_equal(superop, np.eye(len(superop))):
            return None
        return SuperOp(superop)

    def assignment(self, qubit: int) -> np.ndarray:
        """P(measured | prepared), (2, 2): row `measured`, column `prepared`."""
        return np.array(self.assignments.get(qubit, np.eye(2)))

    def then(self, other: CircuitNoise) -> CircuitNoise:
        """This noise, followed by another one of the same circuit."""
        if self.num_qubits != other.num_qubits:
            raise ValueError(f"noise of {self.num_qubits} wires cannot be joined to noise of {other.num_qubits}")
        return CircuitNoise(
            self.num_qubits,
            errors=_joined(self.errors, other.errors, lambda first, second: second @ first),
            assignments=_joined(self.assignments, other.assignments, lambda first, second: second @ first),
            idle=_joined(self.idle, other.idle, _both_relax),
            names=self.names | other.names,
            dt=self.dt or other.dt,
        )

    def scaled(self, factor: float) -> CircuitNoise:
        """The noise λ = k + f times: k times, then once more with probability f; idle time times λ.

        Raises:
            ValueError: the factor is negative or not finite.
        """
        if not 0 <= factor < np.inf:
            raise ValueError(f"noise is scaled by a finite factor of at least 0, not by {factor}")
        if factor == 1:
            return self
        return replace(
            self,
            errors={location: channels.repeated(superop, factor) for location, superop in self.errors.items()},
            assignments={qubit: channels.repeated(matrix, factor) for qubit, matrix in self.assignments.items()},
            idle={wire: _slower(times, factor) for wire, times in self.idle.items()},
        )

    def twirled(self) -> CircuitNoise:
        """Every gate's error replaced by its Pauli twirl; readout and delays stay, as they do on a machine."""
        errors = {
            location: superop if location[0] == IDLE else channels.pauli_twirl(superop)
            for location, superop in self.errors.items()
        }
        return replace(self, errors=errors)

    def to_aer(self) -> NoiseModel:
        """The same noise for an `AerSimulator`, readout and delays included.

        Raises:
            ImportError: Aer is not installed.
        """
        from qdeq_qiskit.noise.aer_noise import noise_model_of

        return noise_model_of(self)

    @classmethod
    def from_aer(
        cls,
        noise_model: NoiseModel,
        gates: Iterable[Location],
        *,
        num_qubits: int | None = None,
        physical: Iterable[int] | None = None,
    ) -> CircuitNoise:
        """The noise that an Aer noise model puts on some gates.

        Args:
            noise_model: any model of errors at gates and independent errors at readouts.
            gates: (name, qubits) of the compiled circuit, qubits being its wires.
            num_qubits: number of wires; by default one more than the largest in `gates`.
            physical: the model's qubit for each wire; by default the wire itself.

        Raises:
            ImportError: Aer is not installed.
            ValueError: the model has a joint readout error of several qubits, a quantum error at measurements, noise
                that depends on more than the gate's name and qubits, or relaxation of too few qubits.
        """
        from qdeq_qiskit.noise.aer_noise import noise_of_model

        gates = sorted(gates)
        if num_qubits is None:
            num_qubits = 1 + max((qubit for _, qubits in gates for qubit in qubits), default=-1)
        return noise_of_model(noise_model, gates, tuple(range(num_qubits) if physical is None else physical))


def _joined(first: Mapping[Any, Any], second: Mapping[Any, Any], both: Callable[[Any, Any], Any]) -> dict[Any, Any]:
    """The union of two mappings; a key that both have gets both values joined."""
    overlap = {key: both(first[key], second[key]) for key in first.keys() & second.keys()}
    return {**first, **second, **overlap}


def _slower(times: tuple[float, float], factor: float) -> tuple[float, float]:
    """(T1, T2) with which a delay relaxes as one λ times as long did."""
    t1, t2 = times
    return (t1 / factor, t2 / factor) if factor else (np.inf, np.inf)


def _both_relax(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Two relaxations at once: their rates add."""
    t1, t2 = (1 / rate if rate else np.inf for rate in (1 / a + 1 / b for a, b in zip(first, second, strict=True)))
    return t1, t2
