"""A compiled circuit with its noise, taken apart for the effective route."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np
import torch
from qiskit.circuit import Parameter
from torch import Tensor

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.evolution import evolve
from qdeq_qiskit.backends.feature_angles import FeatureAngles
from qdeq_qiskit.backends.noisy.measured_groups import MeasuredObservables
from qdeq_qiskit.backends.noisy.pauli_transfer import noisy_steps, without_trailing
from qdeq_qiskit.backends.program import AngleMap, GateProgram
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.noise import CircuitNoise

# A state of n wires has 4ⁿ coordinates. One for each sample is evolved behind an entangling encoder; behind single
# gates it is a product, and only the operators have so many.
MOST_WIRES = {"product": 8, "prepared": 7}

# Where single outcomes are wanted, there is an operator for each, and all of them are pulled back whenever the weights
# change. That takes up to 3 seconds for 128 outcomes of 7 wires, and up to 30 for 256 of 8.
_FREE_WIRES = 7
_MOST_OUTCOMES = 64


_log = logging.getLogger(__name__)


class NotEffectiveError(ValueError):
    """The effective route cannot take a circuit, for the reason that the message tells."""


@final
class NoisyCircuit:
    """The encoder and the weight block of a compiled circuit, each a list of gates with the channels after them.

    Args:
        qnn: what was compiled.
        compiled: the circuit on its wires.
        noise: what goes wrong there.
        encoder_noise: False to leave the channels of the encoder out.

    Attributes:
        kind: "product": the encoder has gates on single wires only; "prepared": it entangles.
        encoder: the encoder's steps.
        block: the weight block's steps; gates of a product encoder that can wait until then are among them.
        observables: what is measured.

    Raises:
        NotEffectiveError: the encoder has weights, or there are too many wires.
    """

    def __init__(
        self, qnn: QNNCircuit, compiled: CompiledCircuit, noise: CircuitNoise, *, encoder_noise: bool = True
    ) -> None:
        self.qnn = qnn
        self.compiled = compiled
        self.noise = noise
        self.encoder_noise = encoder_noise
        self.num_wires = compiled.num_qubits
        self.observables = MeasuredObservables.of(compiled)
        encoder = noisy_steps(compiled.prefix, noise.channel if encoder_noise else None)
        block = noisy_steps(compiled.suffix, noise.channel)
        self.kind: Literal["product", "prepared"] = "prepared"
        if all(len(step.wires) == 1 for step in encoder):
            self.kind = "product"
            encoder, waiting = without_trailing(encoder)
            block = [*waiting, *block]
        self.encoder, self.block = encoder, block
        _check(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> NoisyCircuit:
        """Itself, which nothing changes: copies of a layer share it."""
        return self

    @property
    def num_prefix_slots(self) -> int:
        """How many of the compiled circuit's angles are the encoder's."""
        return self.compiled.prefix.num_slots

    @property
    def num_input_shifts(self) -> int:
        """How many shifted circuits the derivatives by all angles of the uncompiled circuit's inputs take."""
        inputs, source = set(self.qnn.input_parameters), self.compiled.source
        slots = zip(source.slots, source.angle_map.expressions, strict=True)
        return sum(slot.num_shifts for slot, angle in slots if inputs & angle.parameters)

    def input_angles(self) -> FeatureAngles:
        """The encoder's compiled angles from features."""
        inputs, amplitudes = self.qnn.input_parameters, self.qnn.num_amplitudes
        return self._angles(slice(None, self.num_prefix_slots), inputs, amplitudes)

    def weight_angles(self) -> FeatureAngles:
        """The weight block's compiled angles from the weights."""
        return self._angles(slice(self.num_prefix_slots, None), self.qnn.weight_parameters, None)

    def ideal_isometry(self) -> np.ndarray | None:
        """V, (2ⁿ, d), with V v / ‖v‖ what the encoder would prepare without noise; None if it is not linear in v.

        A gate's angles say nothing of the global phase, so that of every column is chosen for V to be linear.
        """
        if self.qnn.num_amplitudes is None:
            return None
        d = self.qnn.num_amplitudes
        sums = torch.eye(d, dtype=torch.float64)
        sums[1:, 0] = 1.0
        check = torch.linspace(-1.0, 1.3, d, dtype=torch.float64).unsqueeze(0)
        states = _ideal_states(self.compiled.prefix, self.input_angles()(torch.cat((sums, check))), self.num_wires)
        first, others = states[0], states[1:-1]
        overlap = others @ first.conj()
        others = others * (overlap.conj() / overlap.abs()).unsqueeze(1) * 2**0.5 - first
        isometry = torch.cat((first.unsqueeze(0), others)).T
        wanted = isometry @ (check[0] / check.norm()).to(isometry)
        linear = abs(abs(torch.vdot(wanted, states[-1])) - 1) < 1e-9
        orthonormal = torch.allclose(isometry.mH @ isometry, torch.eye(d, dtype=isometry.dtype), atol=1e-9)
        return isometry.numpy() if linear and orthonormal else None

    def _angles(self, rows: slice, parameters: Sequence[Parameter], num_amplitudes: int | None) -> FeatureAngles:
        matrix, offset = self.compiled.matrix[rows], self.compiled.offset[rows]
        used = np.flatnonzero(matrix.any(axis=0))
        expressions = tuple(self.compiled.source.angle_map.expressions[slot] for slot in used)
        angle_map = AngleMap(tuple(parameters), expressions)
        return FeatureAngles(
            angle_map, len(parameters), num_amplitudes=num_amplitudes, compilation=(matrix[:, used], offset)
        )


def _check(circuit: NoisyCircuit) -> None:
    compiled, weights = circuit.compiled, set(circuit.qnn.weight_parameters)
    used = np.flatnonzero(compiled.matrix[: circuit.num_prefix_slots].any(axis=0))
    if any(weights & set(compiled.source.angle_map.expressions[slot].parameters) for slot in used):
        raise NotEffectiveError(
            "the encoder depends on weights (data re-uploading), so that no part of the circuit is the same operator "
            "for all samples"
        )
    most = MOST_WIRES[circuit.kind]
    if circuit.num_wires > most:
        raise NotEffectiveError(
            f"the compiled circuit has {circuit.num_wires} wires, so that operators have 4^{circuit.num_wires} "
            f"coordinates; the limit is {most} wires behind "
            f"{'an encoder of single gates' if circuit.kind == 'product' else 'an entangling encoder'}"
        )


def check_outcomes(circuit: NoisyCircuit, *, insist: bool) -> None:
    """Whether to compute the probabilities of all outcomes, as shots need them, is fast enough.

    Args:
        circuit: the circuit.
        insist: whether this route was asked for by name; then what it costs is only said, in a log line.

    Raises:
        NotEffectiveError: it is too slow.
    """
    outcomes = circuit.observables.num_outcomes
    if circuit.num_wires <= _FREE_WIRES or outcomes <= _MOST_OUTCOMES:
        return
    found = f"the compiled circuit has {circuit.num_wires} wires with {outcomes} outcomes"
    price = "whose operators take seconds to half a minute for each new value of the weights"
    if insist:
        _log.warning("%s, %s", found, price)
        return
    raise NotEffectiveError(
        f"{found}, {price}; the limit is {_FREE_WIRES} wires, or {_MOST_OUTCOMES} outcomes. method = 'effective' does "
        "it all the same, which pays where many samples share the weights"
    )


def _ideal_states(prefix: GateProgram, angles: Tensor, num_wires: int) -> Tensor:
    start = torch.zeros(len(angles), 2**num_wires, dtype=torch.complex128)
    start[:, 0] = 1
    return evolve(prefix, angles, start)
