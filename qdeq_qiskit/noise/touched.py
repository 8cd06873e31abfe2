"""Whether noise acts on a circuit at all."""

from __future__ import annotations

from collections.abc import Iterable

from qiskit import QuantumCircuit

from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Location, circuit_gates


def check_touched(circuit: QuantumCircuit, noise: CircuitNoise, *, allow_untouched: bool) -> None:
    """Refuse noise that misses the circuit's gates, which would pass for a perfect machine.

    Noise of readout and delays only, which is about no gate at all, is not refused.

    Args:
        circuit: compiled, as the noise was built for.
        noise: the noise on it.
        allow_untouched: accept two-qubit gates without an error.

    Raises:
        ValueError: the noise touches none of the circuit's gates, or leaves a two-qubit gate untouched.
    """
    gates = circuit_gates(circuit)
    touched = noise.touched(circuit)
    if not noise.names and (noise.assignments or noise.idle):
        return
    sets = f"the circuit has {_listed(gates)}; the noise is about {_about(noise)}"
    if gates and not touched:
        raise ValueError(f"the noise touches none of the circuit's gates: {sets}")
    missed = {(name, qubits) for name, qubits in gates - touched if len(qubits) == 2}
    if missed and not allow_untouched:
        raise ValueError(
            f"the noise leaves two-qubit gates without an error: {_listed(missed)}; {sets}, and touches "
            f"{_listed(touched)}; if that is meant, set allow_untouched: true, a key of the backend, beside "
            "its noise"
        )


def _about(noise: CircuitNoise) -> str:
    return "; ".join(sorted(noise.names)) or "no gate"


def _listed(gates: Iterable[Location]) -> str:
    """Gate names with their qubits, such as `cz (0, 1) (1, 2), sx (0)`."""
    qubits: dict[str, list[str]] = {}
    for name, where in sorted(gates):
        qubits.setdefault(name, []).append(f"({', '.join(map(str, where))})")
    return ", ".join(f"{name} {' '.join(places)}" for name, places in qubits.items()) or "none"
