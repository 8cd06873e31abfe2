r"""The columns of W(φ) from Qiskit Aer: one statevector of W's Choi state holds them all.

With m = ⌈log₂ d⌉ ancillas maximally entangled with the m least significant wires,

.. math:: (1 ⊗ W)\; 2^{-m/2} \sum_{i < 2^m} |i⟩_{anc} |i⟩ = 2^{-m/2} \sum_i |i⟩_{anc}\, W|i⟩ ,

so one run on n + m qubits replaces d runs on n. Derivatives come from shifted *operators*, all in one run by parameter
binding. Every parameter of the circuit given to Aer is the plain angle p of one Pauli rotation, for which
∂W/∂p = ½ W(p + π). A controlled rotation is split into two of these, CRX(φ) = RX_t(φ/2) · RZX_{c,t}(−φ/2) and alike:
Aer 0.18.2 simulates a bound crx, cry or crz at angle 0 and reports success, and the split gives the exact rule
∂W/∂φ = ¼ [W(φ/2 + π) − W(−φ/2 + π)], each half shifted on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from torch import Tensor

from qdeq_qiskit.backends.aer import aer_devices, require_aer
from qdeq_qiskit.backends.engines.engine import Engine
from qdeq_qiskit.backends.evolution import complex_dtype
from qdeq_qiskit.backends.program import GateProgram
from qdeq_qiskit.backends.slot_circuit import fixed_gate

# Statevectors of one run are kept at once, by Aer and as handed out; more shifts are split over several runs.
_MAX_BYTES_PER_RUN = 2**26
_FEWEST_FUSED_QUBITS = 14
_BYTES_PER_AMPLITUDE = 16  # handed out in double precision, whatever they were computed in


class AerEngine(Engine):
    """Evaluates W(φ) with `AerSimulator(method="statevector")`.

    Args:
        program: the weight block.
        num_columns: d, the number of basis states that inputs can reach.
        device: "cpu" for Aer's CPU, "cuda" for its GPU (one GPU: binding over several gives wrong results in Aer).
        dtype: float64 for double precision, float32 for single.

    Raises:
        ImportError: Aer is not installed.
        ValueError: a GPU is asked for that Aer or torch does not have; nothing falls back to the CPU.
        RuntimeError: Aer does not reproduce the program (checked once, at generic angles), or a run failed.
    """

    name: ClassVar[str] = "aer"

    def __init__(self, program: GateProgram, *, num_columns: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(program, num_columns=num_columns, device=device, dtype=dtype)
        self._choi = _choi_circuit(program, num_columns)
        self._simulator, self._run_options = _simulator(device, dtype, self._choi.circuit.num_qubits)
        self._check_against_reference()

    def evaluate(self, angles: Tensor) -> tuple[Tensor, Any]:
        (states,) = self._runs(self._values(angles)[None])
        return self._columns(next(states)), None

    def pullback(self, angles: Tensor, kept: Any, cotangent: Tensor) -> Tensor:
        # Overlaps are taken state by state as Aer hands them out: copies of all would be the memory of all again.
        bra = cotangent.detach().cpu().numpy().T.astype(complex).ravel()
        overlaps = [
            np.vdot(bra, state[: bra.size]).real for states in self._runs(self._shifted(angles)) for state in states
        ]
        found = torch.as_tensor(np.array(overlaps), dtype=self.dtype, device=self.device)
        return self._to_slots(found * self._scale)

    def derivatives(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        values = np.concatenate((self._values(angles)[None], self._shifted(angles)))
        columns = torch.stack([self._columns(state) for states in self._runs(values) for state in states])
        return columns[0], self._to_slots(columns[1:])

    @property
    def _scale(self) -> float:
        """2^(m/2), by which columns are longer than their parts of a state."""
        return 2 ** ((self._choi.circuit.num_qubits - self.program.num_qubits) / 2)

    def _columns(self, state: np.ndarray) -> Tensor:
        """W's columns, (2ⁿ, d), of a Choi state."""
        columns = state.reshape(-1, 2**self.program.num_qubits)[: self.num_columns].T * self._scale
        return torch.as_tensor(columns, dtype=complex_dtype(self.dtype), device=self.device)

    def _values(self, angles: Tensor) -> np.ndarray:
        """The bound values p, (A,), of the A plain parameters."""
        return self._choi.factors * angles.detach().cpu().numpy().astype(float)[self._choi.slots]

    def _shifted(self, angles: Tensor) -> np.ndarray:
        """One row for each plain parameter, with that parameter shifted by π: (A, A)."""
        return self._values(angles) + np.pi * np.eye(len(self._choi.slots))

    def _to_slots(self, shifted: Tensor) -> Tensor:
        """Chain rule from the A shifted operators (or their overlaps), (A, ...), to the G slots, (G, ...)."""
        factors = torch.as_tensor(0.5 * self._choi.factors, dtype=self.dtype, device=self.device)
        index = torch.as_tensor(self._choi.slots, device=self.device)
        result = shifted.new_zeros(self.program.num_slots, *shifted.shape[1:])
        return result.index_add_(0, index, shifted * factors.reshape(-1, *(1,) * (shifted.ndim - 1)))

    def _runs(self, values: np.ndarray) -> Iterator[Iterator[np.ndarray]]:
        """Choi states, one for each row of `values`, (S, A), in runs of as many as memory takes."""
        rows = max(1, _MAX_BYTES_PER_RUN // (2**self._choi.circuit.num_qubits * _BYTES_PER_AMPLITUDE))
        for start in range(0, len(values), rows):
            yield self._run(values[start : start + rows])

    def _run(self, values: np.ndarray) -> Iterator[np.ndarray]:
        """The states of one Aer run, for values (S, A)."""
        binds = [dict(zip(self._choi.parameters, values.T.tolist(), strict=True))] if values.shape[1] else None
        result = self._simulator.run(self._choi.circuit, parameter_binds=binds, **self._run_options).result()
        if not result.success:
            raise RuntimeError(f"Aer failed: {result.status}")
        wanted = "GPU" if self.device.type == "cuda" else "CPU"
        devices = {experiment.metadata["device"] for experiment in result.results}
        if len(result.results) != len(values) or devices != {wanted}:
            raise RuntimeError(
                f"Aer returned {len(result.results)} states from {sorted(devices)}, not {len(values)} from {wanted}"
            )
        for row in range(len(values)):
            state = np.asarray(result.data(row)["statevector"])
            norm = np.linalg.norm(state)
            if not abs(norm - 1) < 1e-3:
                raise RuntimeError(f"Aer returned a state of norm {norm}, which should be 1")
            yield state

    def _check_against_reference(self) -> None:
        """Aer reports success even for gates whose binding it got wrong, so each circuit is compared once."""
        angles = torch.linspace(0.3, 2.9, self.program.num_slots, dtype=self.dtype, device=self.device)
        error = (self.evaluate(angles)[0] - self.reference_columns(angles)).abs().max().item()
        if not error < (1e-10 if self.dtype == torch.float64 else 1e-4):
            names = sorted({operation.name for operation in self.program.operations})
            raise RuntimeError(
                f"Aer {require_aer().__version__} simulates a circuit of the gates {names} "
                f"with an error of {error:.1e}; use `engine: torch`, or another release of Aer"
            )


@dataclass(frozen=True)
class _ChoiCircuit:
    """The circuit given to Aer, and how its A plain parameters follow from the slots: p_a = factors[a] φ[slots[a]]."""

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]
    slots: np.ndarray
    factors: np.ndarray


def _simulator(device: torch.device, dtype: torch.dtype, qubits: int) -> tuple[Any, dict[str, Any]]:
    """The simulator, and the options that each of its runs takes."""
    aer = require_aer()
    precision = "double" if dtype == torch.float64 else "single"
    options = {"method": "statevector", "precision": precision, "runtime_parameter_bind_enable": True}
    if device.type == "cpu":
        # Aer fuses gates from 14 qubits on, which it does better once they are bound.
        options["runtime_parameter_bind_enable"] = qubits < _FEWEST_FUSED_QUBITS
        return aer.AerSimulator(device="CPU", **options), {}
    found = aer_devices()
    if "GPU" not in found or not torch.cuda.is_available():
        raise ValueError(
            f"device {str(device)!r} was asked for, but Aer sees {found} and torch "
            f"{'sees' if torch.cuda.is_available() else 'does not see'} a GPU; install qiskit-aer-gpu instead of "
            "qiskit-aer and a CUDA build of torch, or choose device 'cpu'"
        )
    return aer.AerSimulator(device="GPU", **options), {"target_gpus": [device.index or 0]}


# Each slot's gate as plain Pauli rotations: (gate, which of its qubits, p / φ). CRY's second half is a ZY rotation,
# which Aer has not: it is the ZX one between S† and S on the target, since S X S† = Y.
_HALVES = {
    "crx": (("rx", (1,), 0.5), ("rzx", (0, 1), -0.5)),
    "cry": (("ry", (1,), 0.5), ("sdg", (1,), None), ("rzx", (0, 1), -0.5), ("s", (1,), None)),
    "crz": (("rz", (1,), 0.5), ("rzz", (0, 1), -0.5)),
}


def _choi_circuit(program: GateProgram, num_columns: int) -> _ChoiCircuit:
    """Wire w is Aer's qubit n−1−w, so that rows are in wire order; the ancillas above them count the columns."""
    num_qubits = program.num_qubits
    ancillas = (num_columns - 1).bit_length()
    circuit = QuantumCircuit(num_qubits + ancillas)
    for qubit in range(ancillas):
        circuit.h(qubit)
        circuit.cx(qubit, num_qubits + qubit)
    free = iter(ParameterVector("p", 2 * program.num_slots))
    parameters, slots, factors = [], [], []
    for operation in program.operations:
        qubits = [num_qubits - 1 - wire for wire in operation.wires]
        if operation.slot is None:
            circuit.append(fixed_gate(operation), qubits[::-1])
            continue
        everywhere = tuple(range(len(qubits)))
        for name, which, factor in _HALVES.get(operation.name, ((operation.name, everywhere, 1.0),)):
            targets = [qubits[index] for index in which]
            if factor is None:
                getattr(circuit, name)(*targets)
                continue
            parameters.append(next(free))
            slots.append(operation.slot)
            factors.append(factor)
            getattr(circuit, name)(parameters[-1], *targets)
    circuit.append(require_aer().library.SaveStatevector(circuit.num_qubits), circuit.qubits)
    return _ChoiCircuit(circuit, tuple(parameters), np.array(slots, dtype=int), np.array(factors, dtype=float))
