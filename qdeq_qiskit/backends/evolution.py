r"""State evolution, gate by gate, in torch: slow, obvious, differentiable to every order.

It is the reference that the fast engines are tested against, their path to second derivatives, and the evaluator of
circuits that do not factor into an encoder and a weight block.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qdeq_qiskit.backends.program import GateProgram, Operation, generator


def complex_dtype(dtype: torch.dtype) -> torch.dtype:
    """The complex dtype of the same precision as a real one."""
    return torch.complex128 if dtype == torch.float64 else torch.complex64


def basis_columns(num_qubits: int, num_columns: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The first `num_columns` computational basis states as columns, (2ⁿ, d), complex."""
    return torch.eye(2**num_qubits, num_columns, dtype=dtype, device=device)


def evolve(program: GateProgram, angles: Tensor, states: Tensor) -> Tensor:
    """U(φ) applied to a batch of states.

    Args:
        program: the circuit U.
        angles: φ, (G,) for all states or (B, G) for each its own.
        states: complex, (B, 2ⁿ), in wire order (wire 0 the most significant bit).

    Returns:
        (B, 2ⁿ).
    """
    for operation in program.operations:
        states = apply(operation, _matrix(operation, angles, states), states, program.num_qubits)
    return states


def evolve_along(program: GateProgram, angles: Tensor, direction: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """U(φ) applied to a batch of states, (B, 2ⁿ), and its derivative along `direction`, (G,), applied to them."""
    moved = torch.zeros_like(states)
    for operation in program.operations:
        matrix = _matrix(operation, angles, states)
        states, moved = (apply(operation, matrix, each, program.num_qubits) for each in (states, moved))
        if operation.slot is not None:
            h = torch.as_tensor(generator(operation.name), dtype=states.dtype, device=states.device)
            moved = moved - 0.5j * direction[operation.slot] * apply(operation, h, states, program.num_qubits)
    return states, moved


def apply(operation: Operation, matrix: Tensor, states: Tensor, num_qubits: int) -> Tensor:
    """One gate on a batch of states (B, 2ⁿ); its matrix is (2ᵐ, 2ᵐ), or (B, 2ᵐ, 2ᵐ)."""
    batch = states.shape[0]
    rest = [wire for wire in range(num_qubits) if wire not in operation.wires]
    order = [0, *(1 + wire for wire in (*operation.wires, *rest))]
    inverse = sorted(range(num_qubits + 1), key=order.__getitem__)
    size = 2 ** len(operation.wires)
    tensor = states.reshape(batch, *(2,) * num_qubits).permute(order).reshape(batch, size, 2**num_qubits // size)
    return (matrix @ tensor).reshape(batch, *(2,) * num_qubits).permute(inverse).reshape(batch, 2**num_qubits)


def rotation_parts(name: str, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(1 − H², H², −iH) of a rotation, (3, 2ᵐ, 2ᵐ): U(φ) is their sum with weights (1, cos φ/2, sin φ/2)."""
    h = torch.as_tensor(generator(name), dtype=dtype, device=device)
    square = h @ h
    return torch.stack((torch.eye(len(h), dtype=dtype, device=device) - square, square, -1j * h))


def _matrix(operation: Operation, angles: Tensor, states: Tensor) -> Tensor:
    if operation.slot is None:
        return torch.as_tensor(operation.matrix, dtype=states.dtype, device=states.device)
    half = angles[..., operation.slot] / 2
    weights = torch.stack((torch.ones_like(half), half.cos(), half.sin()), dim=-1).to(states.dtype)
    parts = rotation_parts(operation.name, dtype=states.dtype, device=states.device)
    return torch.einsum("...p,pij->...ij", weights, parts)
