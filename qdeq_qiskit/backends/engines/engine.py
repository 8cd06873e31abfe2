"""What an exact engine gives: the columns of a weight block W(φ), and their derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from qdeq_qiskit.backends.evolution import basis_columns, complex_dtype, evolve
from qdeq_qiskit.backends.program import GateProgram


class Engine(ABC):
    """Evaluates W(φ) of one program on its first d basis states.

    Args:
        program: the weight block; angles φ, one for each of its G slots.
        num_columns: d, the number of basis states that inputs can reach.
        device: where tensors live, "cpu" or "cuda".
        dtype: real dtype of the angles; columns have the complex dtype of the same precision.
    """

    name: ClassVar[str]

    def __init__(self, program: GateProgram, *, num_columns: int, device: torch.device, dtype: torch.dtype) -> None:
        self.program = program
        self.num_columns = num_columns
        self.device = device
        self.dtype = dtype

    def columns(self, angles: Tensor) -> Tensor:
        """The first d columns of W(φ), (2ⁿ, d), complex, in wire order; differentiable in φ to every order.

        Args:
            angles: φ, (G,).
        """
        return _Columns.apply(angles, self)

    @abstractmethod
    def evaluate(self, angles: Tensor) -> tuple[Tensor, Any]:
        """The columns, (2ⁿ, d), and whatever `pullback` can reuse; nothing is recorded for autograd."""

    @abstractmethod
    def pullback(self, angles: Tensor, kept: Any, cotangent: Tensor) -> Tensor:
        """∂L/∂φ, (G,), from ∂L/∂W, (2ⁿ, d), in torch's convention dL = Re Σ conj(cotangent) dW."""

    @abstractmethod
    def derivatives(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        """The columns, (2ⁿ, d), and ∂W/∂φ_g for every slot, (G, 2ⁿ, d)."""

    @property
    def column_multiplications(self) -> int:
        """Complex multiplications that `columns` costs; those of W as a whole, if it must be known anyway."""
        return 4**self.program.num_qubits * self.num_columns

    @property
    def factor_rows(self) -> int:
        """F·D of `factors`: so many multiplications of one amplitude when they are applied."""
        return 2**self.program.num_qubits

    def factors(self, angles: Tensor) -> Tensor:
        """W(φ) as matrices that `apply` takes one after another, (F, D, D), complex; differentiable to every order.

        Args:
            angles: φ, (G,).
        """
        if self.num_columns != 2**self.program.num_qubits:
            raise ValueError(f"{self.num_columns} columns are not all of W, which its factors are wanted of")
        return self.columns(angles).unsqueeze(0)

    def apply(self, factors: Tensor, states: Tensor) -> Tensor:
        """W applied to states, (2ⁿ, ...), in wire order, given its factors; differentiable to every order."""
        return (factors[0] @ states.flatten(1)).view_as(states)

    def apply_adjoint(self, factors: Tensor, states: Tensor) -> Tensor:
        """W† applied to states, (2ⁿ, ...), in wire order, given the factors of W; differentiable to every order."""
        return (factors[0].mH @ states.flatten(1)).view_as(states)

    def reference_columns(self, angles: Tensor) -> Tensor:
        """The columns by gate-by-gate evolution in torch: slow, and differentiable to every order."""
        start = basis_columns(
            self.program.num_qubits, self.num_columns, dtype=complex_dtype(self.dtype), device=self.device
        )
        return evolve(self.program, angles, start.T).T


class _Columns(torch.autograd.Function):
    """Engine.evaluate with Engine.pullback as its gradient; second derivatives go through the reference."""

    @staticmethod
    def forward(ctx: Any, angles: Tensor, engine: Engine) -> Tensor:
        columns, ctx.kept = engine.evaluate(angles.detach())
        ctx.engine = engine
        ctx.save_for_backward(angles)
        return columns

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, None]:
        (angles,) = ctx.saved_tensors
        if not ctx.engine.program.num_slots:
            return torch.zeros_like(angles), None
        if not torch.is_grad_enabled():
            return ctx.engine.pullback(angles, ctx.kept, cotangents[0]), None
        columns = ctx.engine.reference_columns(angles)
        (gradient,) = torch.autograd.grad(columns, angles, cotangents[0], create_graph=True)
        return gradient, None
