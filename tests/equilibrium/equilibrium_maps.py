"""Layers f(w, x) whose fixed points are understood, and oracles that share no code with the library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize
from torch import Tensor, nn


class Linear(nn.Module):
    """f = A w + x; w* = (I − A)⁻¹ x."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, w: Tensor, x: Tensor) -> Tensor:
        return w @ self.matrix.mT + x


class Tanh(nn.Module):
    """f = tanh(A w + B x + c)."""

    def __init__(self, matrix: Tensor, injection: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)
        self.injection = nn.Parameter(injection)
        self.bias = nn.Parameter(bias)

    def forward(self, w: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(w @ self.matrix.mT + x @ self.injection.mT + self.bias)


class Readout(nn.Module):
    """q_k(v) = vᵀ A_k v / vᵀ v: what an amplitude-encoded circuit computes. A_k symmetric with eigenvalues ±1."""

    def __init__(self, operators: Tensor) -> None:
        super().__init__()
        self.operators = nn.Parameter(operators)

    def forward(self, v: Tensor) -> Tensor:
        symmetric = (self.operators + self.operators.mT) / 2
        return torch.einsum("bi,kij,bj->bk", v, symmetric, v) / v.square().sum(1, keepdim=True)


class LiftedReadout(nn.Module):
    """f = q(R w + x) for the same q."""

    def __init__(self, operators: Tensor, lift: Tensor) -> None:
        super().__init__()
        self.readout = Readout(operators)
        self.register_buffer("lift", lift)

    def forward(self, w: Tensor, x: Tensor) -> Tensor:
        return self.readout(x + w @ self.lift.mT)


@dataclass
class Case:
    """A layer with a batch of features."""

    layer: nn.Module
    x: Tensor
    state_size: int


def readout_operators(count: int, size: int, seed: int) -> Tensor:
    """Random symmetric matrices with eigenvalues ±1."""
    generator = torch.Generator().manual_seed(seed)
    orthogonal = torch.linalg.qr(torch.randn(count, size, size, generator=generator, dtype=torch.float64))[0]
    signs = torch.tensor([(-1.0) ** i for i in range(size)], dtype=torch.float64)
    return orthogonal @ torch.diag(signs) @ orthogonal.mT


def repeated_lift(features: int, state_size: int) -> Tensor:
    """Each state entry repeated, features / state_size times."""
    return torch.eye(state_size, dtype=torch.float64).repeat_interleave(features // state_size, dim=0)


def case(name: str, samples: int = 3, seed: int = 0) -> Case:
    """The named case, in double precision."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    if name == "contraction":
        matrix = normal(3, 3)
        return Case(Linear(0.6 * matrix / torch.linalg.matrix_norm(matrix, 2)), normal(samples, 3), 3)
    if name == "rotation":
        # By 100°, lengthening by 1.1: plain iteration spirals outwards, yet I − A is far from singular.
        cos, sin = 1.1 * np.cos(np.deg2rad(100)), 1.1 * np.sin(np.deg2rad(100))
        turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        return Case(Linear(turn), normal(samples, 2), 2)
    if name == "tanh":
        matrix = normal(3, 3)
        return Case(
            Tanh(0.7 * matrix / torch.linalg.matrix_norm(matrix, 2), normal(3, 4), normal(3)), normal(samples, 4), 3
        )
    if name == "quantum":
        lift = repeated_lift(6, 3)
        return Case(LiftedReadout(readout_operators(3, 6, seed), lift), 1.5 + normal(samples, 6), 3)
    raise KeyError(name)


CASES = ("contraction", "rotation", "tanh", "quantum")


def residual(layer: nn.Module, w: Tensor, x: Tensor) -> float:
    """The largest ‖f(w) − w‖ / ‖f(w)‖ in the batch."""
    with torch.no_grad():
        value = layer(w, x)
        return float(((value - w).norm(dim=1) / value.norm(dim=1)).max())


def dense_implicit_gradients(layer: nn.Module, w: Tensor, x: Tensor, cotangent: Tensor) -> list[Tensor]:
    """(x, *parameters) gradients of Σ cotangent · w*, sample by sample, from whole Jacobians in numpy."""
    parameters = list(layer.parameters())
    totals = [torch.zeros_like(x), *(torch.zeros_like(p) for p in parameters)]
    for b in range(len(x)):
        w_b, x_b = w[b : b + 1].detach().requires_grad_(), x[b : b + 1].detach().requires_grad_()
        value = layer(w_b, x_b)[0]
        targets = [w_b, x_b, *parameters]
        rows = [torch.autograd.grad(v, targets, retain_graph=True, allow_unused=True) for v in value]
        columns = [
            np.stack([np.zeros(t.shape) if row[i] is None else row[i].numpy() for row in rows]).reshape(len(value), -1)
            for i, t in enumerate(targets)
        ]
        u = np.linalg.solve(np.eye(len(value)) - columns[0].T, cotangent[b].detach().numpy())
        for i, total in enumerate(totals):
            part = torch.from_numpy(u @ columns[i + 1]).reshape(targets[i + 1].shape)
            if i == 0:
                total[b] = part[0]
            else:
                total += part
    return totals


def finite_difference_gradients(layer: nn.Module, w: Tensor, x: Tensor, cotangent: Tensor) -> list[Tensor]:
    """The same by central differences of scipy's roots on the branch of w, parameter by parameter."""
    x = x.detach().clone()
    entries = [x, *(p.data for p in layer.parameters())]

    def loss() -> float:
        total = 0.0
        for b in range(len(x)):

            def residual_of(w_b: np.ndarray, b: int = b) -> np.ndarray:
                with torch.no_grad():
                    point = torch.from_numpy(w_b).unsqueeze(0)
                    return (layer(point, x[b : b + 1]) - point)[0].numpy()

            root = optimize.root(residual_of, w[b].detach().numpy(), tol=1e-13).x
            total += float(cotangent[b].detach().numpy() @ root)
        return total

    step, results = 1e-5, []
    for tensor in entries:
        flat, result = tensor.view(-1), torch.zeros(tensor.numel(), dtype=tensor.dtype)
        for i in range(len(flat)):
            original = float(flat[i])
            flat[i] = original + step
            above = loss()
            flat[i] = original - step
            below = loss()
            flat[i] = original
            result[i] = (above - below) / (2 * step)
        results.append(result.view_as(tensor))
    return results
