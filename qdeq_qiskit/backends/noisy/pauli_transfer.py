r"""Gates and channels in real Pauli coordinates.

A state has the coordinates :math:`F_P = \mathrm{Tr}(P ρ)`, an operator M has :math:`T_P = 2^{-n} \mathrm{Tr}(P M)`, so
that :math:`\mathrm{Tr}(M ρ) = T F`. A channel E is a real matrix, its Pauli transfer matrix
:math:`R_{PQ} = 2^{-n} \mathrm{Tr}(P\, E(Q))`: states evolve by F ↦ R F, operators backwards by T ↦ T R (Greenbaum,
arXiv 1509.02921, section 2). Strings P are counted wire by wire in the order 1, X, Y, Z, wire 0 first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import SuperOp

from qdeq_qiskit.backends.program import PAULIS, GateProgram, Operation, generator

Matrix = NDArray[np.float64]

ChannelOf = Callable[[str, tuple[int, ...], float | None], SuperOp | None]
"""(gate name, qubits, duration of a delay in seconds) → the channel that acts after the gate, in Qiskit's order."""

_LETTERS = "ixyz"


@dataclass(frozen=True)
class Turn:
    """exp(−i (scale·φ/2) P) for a Pauli string P on the wires of its step.

    Attributes:
        pauli: a letter of "ixyz" for each wire.
        slot: index of φ.
        scale: what φ is multiplied by.
    """

    pauli: str
    slot: int
    scale: float = 1.0


@dataclass(frozen=True)
class Step:
    """A gate with the channel after it.

    Attributes:
        wires: what it acts on, the most significant first.
        turns: Pauli rotations that commute; they act first. None for a fixed gate.
        transfer: the transfer matrix that acts then, (4ᵐ, 4ᵐ); None for the identity.
    """

    wires: tuple[int, ...]
    turns: tuple[Turn, ...] = ()
    transfer: Matrix | None = field(default=None, compare=False)


def noisy_steps(program: GateProgram, channel: ChannelOf | None) -> list[Step]:
    """The program's gates as steps, in their order.

    Args:
        program: a compiled circuit, its gates named as the noise knows them.
        channel: the noise; None for none.
    """
    return [_step(operation, channel) for operation in program.operations]


def without_trailing(steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
    """The steps up to the last rotation that each wire hangs on, and the fixed ones that can wait until after them."""
    blocked: set[int] = set()
    kept: list[Step] = []
    trailing: list[Step] = []
    for step in reversed(steps):
        if step.turns or blocked.intersection(step.wires):
            blocked.update(step.wires)
            kept.append(step)
        else:
            trailing.append(step)
    # A channel after the last rotation of a wire can wait as well.
    last: list[Step] = []
    for index, step in enumerate(kept):
        later = {wire for other in kept[:index] for wire in other.wires}
        if step.turns and step.transfer is not None and not later.intersection(step.wires):
            kept[index] = Step(step.wires, step.turns)
            last.append(Step(step.wires, (), step.transfer))
    return kept[::-1], [*last, *trailing[::-1]]


def unitary_transfer(matrix: NDArray[np.complexfloating]) -> Matrix:
    """The transfer matrix, (4ᵐ, 4ᵐ), of a unitary, (2ᵐ, 2ᵐ), both most significant wire first."""
    strings = pauli_strings(len(matrix).bit_length() - 1)
    images = matrix @ strings @ matrix.conj().T
    return _overlaps(strings, images)


def channel_transfer(channel: SuperOp) -> Matrix:
    """The transfer matrix, (4ᵐ, 4ᵐ), of a channel on qubits q₀, …, qₘ₋₁; its most significant wire is qₘ₋₁.

    Raises:
        ValueError: the channel does not map Hermitian operators to Hermitian ones.
    """
    superop = np.asarray(channel.data)
    size = len(superop)
    strings = pauli_strings((size.bit_length() - 1) // 2)
    # Qiskit stacks the columns of a density matrix.
    columns = strings.transpose(0, 2, 1).reshape(size, size)
    images = (columns @ superop.T).reshape(strings.shape).transpose(0, 2, 1)
    return _overlaps(strings, images)


@cache
def pauli_strings(num_wires: int) -> NDArray[np.complex128]:
    """All Pauli strings as matrices, (4ⁿ, 2ⁿ, 2ⁿ), the first wire most significant."""
    strings = np.ones((1, 1, 1), dtype=complex)
    single = np.stack([PAULIS[letter] for letter in _LETTERS])
    for _ in range(num_wires):
        size = 2 * strings.shape[1]
        strings = np.einsum("pij,qkl->pqikjl", strings, single).reshape(-1, size, size)
    return strings


def on_wires(matrix: Matrix, wires: Sequence[int], array: Matrix, array_wires: Sequence[int]) -> Matrix:
    """A transfer matrix applied to the Pauli axis of an array, (4ᵇ, N), that belongs to `array_wires`."""
    size, count = len(wires), len(array_wires)
    axes = [list(array_wires).index(wire) for wire in wires]
    tensor = array.reshape(*(4,) * count, -1)
    square = matrix.reshape((4,) * (2 * size))
    moved = np.tensordot(square, tensor, axes=(range(size, 2 * size), axes))
    return np.moveaxis(moved, range(size), axes).reshape(array.shape)


def paired(pauli: str) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """How exp(−iφP/2) acts on all strings of P's wires: (those that stay, a, b), with

    F_a ↦ cos φ F_a − sin φ F_b and F_b ↦ sin φ F_a + cos φ F_b.
    """
    num_wires = len(pauli)
    index = np.arange(4**num_wires)
    digits = index[:, None] // 4 ** np.arange(num_wires)[::-1] % 4
    turn = np.array([_LETTERS.index(letter) for letter in pauli])
    anticommuting = np.sum((digits != turn) & (digits > 0) & (turn > 0), axis=1) % 2 == 1
    letters, phases = _products()
    partner = letters[turn, digits] @ 4 ** np.arange(num_wires)[::-1]
    # Conjugation takes Q to cos φ Q − i sin φ PQ.
    sign = np.real(-1j * np.prod(phases[turn, digits], axis=1))
    first = index[anticommuting & (sign > 0)]
    return index[~anticommuting], first, partner[first]


@cache
def _products() -> tuple[NDArray[np.intp], NDArray[np.complex128]]:
    """σ_i σ_j = phase · σ_k: k and the phase, (4, 4) each."""
    strings = pauli_strings(1)
    overlaps = np.einsum("iab,jbc,kca->ijk", strings, strings, strings) / 2
    letters = np.abs(overlaps).argmax(axis=2)
    return letters, np.take_along_axis(overlaps, letters[..., None], axis=2)[..., 0]


def _step(operation: Operation, channel: ChannelOf | None) -> Step:
    noise = None if channel is None else channel(operation.name, operation.qubits, operation.duration)
    transfer = None
    if noise is not None:
        transfer = _reordered(channel_transfer(noise), operation.qubits[::-1], operation.wires)
    if operation.slot is not None:
        return Step(operation.wires, _turns(operation.name, operation.slot), transfer)
    assert operation.matrix is not None
    gate = unitary_transfer(operation.matrix)
    return Step(operation.wires, (), gate if transfer is None else transfer @ gate)


def _turns(name: str, slot: int) -> tuple[Turn, ...]:
    """A rotation as Pauli rotations: one, or for a controlled rotation the two that its generator is the sum of."""
    matrix = generator(name)
    num_wires = len(matrix).bit_length() - 1
    weights = np.einsum("pij,ji->p", pauli_strings(num_wires), matrix).real / len(matrix)
    letters = [np.base_repr(index, 4).rjust(num_wires, "0") for index in range(len(weights))]
    return tuple(
        Turn("".join(_LETTERS[int(digit)] for digit in digits), slot, float(weight))
        for digits, weight in zip(letters, weights, strict=True)
        if abs(weight) > 1e-12
    )


def _reordered(matrix: Matrix, wires: tuple[int, ...], wanted: tuple[int, ...]) -> Matrix:
    """A transfer matrix on `wires`, with its axes in the order of the `wanted` ones."""
    if wires == wanted:
        return matrix
    size = len(wires)
    order = [wires.index(wire) for wire in wanted]
    tensor = matrix.reshape((4,) * (2 * size)).transpose(*order, *(size + axis for axis in order))
    return tensor.reshape(matrix.shape)


def _overlaps(strings: NDArray[np.complex128], images: NDArray[np.complexfloating]) -> Matrix:
    """2⁻ᵐ Tr(P · image_Q), real, (4ᵐ, 4ᵐ)."""
    size = len(strings)
    traces = strings.transpose(0, 2, 1).reshape(size, -1) @ images.reshape(size, -1).T / strings.shape[1]
    if np.abs(traces.imag).max() > 1e-9:
        raise ValueError("this map takes Hermitian operators to others, so it is no quantum channel")
    return np.ascontiguousarray(traces.real)
