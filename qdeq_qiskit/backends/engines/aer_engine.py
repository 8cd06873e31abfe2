r"""The columns of W(φ) from Qiskit Aer: one statevector of W's Choi state holds them all.

With m = ⌈log₂ d⌉ ancillas maximally entangled with the m least significant wires,

.. math:: (1 ⊗ W)\; 2^{-m/2} \sum_{i < 2^m} |i⟩_{anc} |i⟩ = 2^{-m/2} \sum_i |i⟩_{anc}\, W|i⟩ ,

so one run on n + m qubits replaces d runs on n.

The gradient by all angles takes one more run, on one more qubit. Let |V⟩ be the Choi state and |Λ⟩ the cotangent's
columns on the same qubits, normalised. From :math:`(|0⟩|V⟩ + |1⟩|Λ⟩)/\sqrt 2` Aer undoes gate after gate, from the last
one on; where gate j stands, with generator H_j, both parts are what a reverse pass needs of them, and

.. math:: ∂L/∂φ_j = \tfrac12 \operatorname{Im} ⟨Λ_j| H_j |V_j⟩ = -\tfrac12 ⟨Y ⊗ H_j⟩

times both norms, which Aer gives as an expectation value. Operators shifted by π, ∂W/∂p = ½ W(p + π) for a Pauli
rotation, are as exact, but one run each through the whole circuit: ten times the work for the paper's circuits, and all
their states to be handed out. They remain what `derivatives` takes, where every operator itself is wanted. A controlled
rotation is two Pauli rotations there, ∂W/∂φ = ¼ [W(φ/2 + π) − W(−φ/2 + π)], each half shifted on its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from qiskit import QuantumCircuit
from torch import Tensor

from qdeq_qiskit.backends.aer import aer_devices, require_aer
from qdeq_qiskit.backends.engines.aer_circuits import BoundCircuit, adjoint_circuit, choi_circuit, num_ancillas
from qdeq_qiskit.backends.engines.aer_states import AerStates, Applied
from qdeq_qiskit.backends.engines.engine import Engine
from qdeq_qiskit.backends.evolution import basis_columns, complex_dtype, evolve_along
from qdeq_qiskit.backends.program import GateProgram

# Statevectors of one run are kept at once, by Aer and as handed out; more shifts are split over several runs.
_MAX_BYTES_PER_RUN = 2**26
_FEWEST_FUSED_QUBITS = 14
_BYTES_PER_AMPLITUDE = 16  # handed out in double precision, whatever they were computed in


class AerEngine(Engine):
    """Evaluates W(φ) with `AerSimulator(method="statevector")`.

    Args:
        program: the weight block.
        num_columns: d, the number of basis states that inputs can reach; with fewer than all, `apply` sends states
            through Aer.
        device: "cpu" for Aer's CPU, "cuda" for its GPU (one GPU: binding over several gives wrong results in Aer).
        dtype: float64 for double precision, float32 for single.

    Raises:
        ImportError: Aer is not installed.
        ValueError: a GPU is asked for that Aer or torch does not have; nothing falls back to the CPU.
        RuntimeError: Aer does not reproduce the program or its gradient (checked once, at generic angles), or a run
            failed.
    """

    name: ClassVar[str] = "aer"

    def __init__(self, program: GateProgram, *, num_columns: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(program, num_columns=num_columns, device=device, dtype=dtype)
        self._complex = complex_dtype(dtype)
        self._choi = choi_circuit(program, num_columns)
        self._adjoint = adjoint_circuit(program, num_ancillas(num_columns))
        self._simulator, self._run_options = _simulator(device, dtype, self._choi.circuit.num_qubits)
        self._through = AerStates(program, self._run)
        self._check_against_reference()

    def evaluate(self, angles: Tensor) -> tuple[Tensor, np.ndarray]:
        """The columns, and the Choi state, (2ⁿ⁺ᵐ,), that `pullback` starts from."""
        (states,) = self._states(self._choi.values(_numbers(angles))[None])
        state = next(states)
        return self._columns(state), state

    def pullback(self, angles: Tensor, kept: np.ndarray, cotangent: Tensor) -> Tensor:
        bra = np.zeros_like(kept, dtype=complex)
        bra[: cotangent.numel()] = cotangent.detach().cpu().numpy().T.ravel()
        length, norm = float(np.linalg.norm(bra)), float(np.linalg.norm(kept))
        if not self.program.num_slots or length == 0 or not np.isfinite(length):
            return torch.full((self.program.num_slots,), 0 * length, dtype=self.dtype, device=self.device)
        both = np.concatenate((kept / norm, bra / length)) / np.sqrt(2)
        values = self._adjoint.values(_numbers(angles))[None]
        (saved,) = self._run(self._adjoint.from_state(both), self._adjoint, values)
        found = np.array([saved[str(slot)] for slot in range(self.program.num_slots)])
        if not np.isfinite(found).all():
            raise RuntimeError("Aer returned overlaps that are not finite")
        return torch.as_tensor(-0.5 * length * norm * self._scale * found, dtype=self.dtype, device=self.device)

    def derivatives(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        values = self._choi.values(_numbers(angles))
        shifted = values + np.pi * np.eye(len(values))  # each plain parameter in turn
        runs = self._states(np.concatenate((values[None], shifted)))
        columns = torch.stack([self._columns(state) for states in runs for state in states])
        return columns[0], self._to_slots(columns[1:])

    def factors(self, angles: Tensor) -> Tensor:
        """W as one matrix where all of its columns are known, (1, 2ⁿ, 2ⁿ); otherwise φ, (G,): Aer takes states."""
        return super().factors(angles) if self._has_whole else angles.to(self.dtype)

    def apply(self, factors: Tensor, states: Tensor) -> Tensor:
        return super().apply(factors, states) if self._has_whole else self._applied(factors, states, adjoint=False)

    def apply_adjoint(self, factors: Tensor, states: Tensor) -> Tensor:
        if self._has_whole:
            return super().apply_adjoint(factors, states)
        return self._applied(factors, states, adjoint=True)

    def announcement(self, samples: int) -> str:
        """What it costs to send so many samples' states through W by Aer, as measured on them."""
        angles = torch.ones(self.program.num_slots, dtype=self.dtype, device=self.device)
        states = torch.ones(2**self.program.num_qubits, samples, dtype=self._complex, device=self.device)
        self._through.forward(angles, states)  # the first run starts Aer, which takes longer
        start = time.perf_counter()
        self._through.forward(angles, states)
        seconds = time.perf_counter() - start
        return (
            f"Aer takes {seconds:.2g} seconds to send the states of {samples} samples through the weight block, "
            "and more to come back with gradients"
        )

    @property
    def _has_whole(self) -> bool:
        return self.num_columns == 2**self.program.num_qubits

    def _applied(self, angles: Tensor, states: Tensor, *, adjoint: bool) -> Tensor:
        if states.numel() == 0:
            return states
        found: Tensor = Applied.apply(angles, states.flatten(1), self._through, adjoint)
        return found.view_as(states)

    @property
    def _scale(self) -> float:
        """2^(m/2), by which columns are longer than their parts of a state."""
        return 2 ** (num_ancillas(self.num_columns) / 2)

    def _columns(self, state: np.ndarray) -> Tensor:
        """W's columns, (2ⁿ, d), of a Choi state."""
        columns = state.reshape(-1, 2**self.program.num_qubits)[: self.num_columns].T * self._scale
        return torch.as_tensor(columns, dtype=self._complex, device=self.device)

    def _to_slots(self, shifted: Tensor) -> Tensor:
        """Chain rule from the A shifted operators, (A, ...), to the G slots, (G, ...)."""
        factors = torch.as_tensor(0.5 * self._choi.factors, dtype=self.dtype, device=self.device)
        index = torch.as_tensor(self._choi.slots, device=self.device)
        result = shifted.new_zeros(self.program.num_slots, *shifted.shape[1:])
        return result.index_add_(0, index, shifted * factors.reshape(-1, *(1,) * (shifted.ndim - 1)))

    def _states(self, values: np.ndarray) -> Iterator[Iterator[np.ndarray]]:
        """Choi states, one for each row of `values`, (S, A), in runs of as many as memory takes."""
        rows = max(1, _MAX_BYTES_PER_RUN // (2**self._choi.circuit.num_qubits * _BYTES_PER_AMPLITUDE))
        for start in range(0, len(values), rows):
            run = self._run(self._choi.circuit, self._choi, values[start : start + rows])
            yield (_checked(np.asarray(saved["statevector"])) for saved in run)

    def _run(self, circuit: QuantumCircuit, bound: BoundCircuit, values: np.ndarray) -> Iterator[dict[str, Any]]:
        """What one Aer run of a circuit with these parameters saves, for values (S, A)."""
        binds = [dict(zip(bound.parameters, values.T.tolist(), strict=True))] if values.shape[1] else None
        result = self._simulator.run(circuit, parameter_binds=binds, **self._run_options).result()
        if not result.success:
            raise RuntimeError(f"Aer failed: {result.status}")
        wanted = "GPU" if self.device.type == "cuda" else "CPU"
        devices = {experiment.metadata["device"] for experiment in result.results}
        if len(result.results) != len(values) or devices != {wanted}:
            raise RuntimeError(
                f"Aer returned {len(result.results)} results from {sorted(devices)}, not {len(values)} from {wanted}"
            )
        return (result.data(row) for row in range(len(values)))

    def _check_against_reference(self) -> None:
        """Aer reports success even for gates whose binding it got wrong, so each circuit is compared once.

        Gradients are compared along one generic direction, for which the reference keeps no state of every gate.
        """
        angles = torch.linspace(0.3, 2.9, self.program.num_slots, dtype=self.dtype, device=self.device)
        direction = angles.cos() + 1.5
        start = basis_columns(self.program.num_qubits, self.num_columns, dtype=self._complex, device=self.device)
        reference, tangent = evolve_along(self.program, angles, direction, start.T)
        columns, kept = self.evaluate(angles)
        phases = torch.arange(columns.numel(), dtype=self.dtype, device=self.device).view_as(columns)
        cotangent = torch.polar(torch.full_like(phases, columns.numel() ** -0.5), phases)
        along = self.pullback(angles, kept, cotangent) @ direction
        error = max(
            (columns - reference.T).abs().max().item(),
            (along - (cotangent.conj() * tangent.T).sum().real).abs().item(),
        )
        if not error < (1e-10 if self.dtype == torch.float64 else 1e-4):
            names = sorted({operation.name for operation in self.program.operations})
            raise RuntimeError(
                f"Aer {require_aer().__version__} simulates a circuit of the gates {names} "
                f"with an error of {error:.1e}; use `engine: torch`, or another release of Aer"
            )


def _numbers(angles: Tensor) -> np.ndarray:
    return angles.detach().cpu().numpy().astype(float)


def _checked(state: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(state)
    if not abs(norm - 1) < 1e-3:
        raise RuntimeError(f"Aer returned a state of norm {norm}, which should be 1")
    return state


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
