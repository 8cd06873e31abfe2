r"""The amplitude-encoded map: :math:`q_k(v) = v^T A_k v / v^T v` with :math:`A_k = \mathrm{Re}\, M_k(θ)`."""

from __future__ import annotations

import torch
from torch import Tensor

from qdeq_qiskit.equilibrium import FixedPointMap, MapCost


class QuadraticMap(FixedPointMap):
    r"""w ↦ q(R w + x) for symmetric A_k, with

    .. math:: \partial q_k / \partial v = 2 (A_k v - q_k v) / v^T v .

    At v = 0, which encodes as the first basis state, q_k = A_k[0, 0] and the derivative is taken as zero.

    Args:
        operators: A, (K, d, d), symmetric.
        x: features, (B, d).
        lift: R, (d, n).
        cost: circuits that a machine would need.
    """

    def __init__(self, operators: Tensor, x: Tensor, lift: Tensor, cost: MapCost) -> None:
        self._operators = operators
        self._x = x
        self._lift = lift
        self._cost = cost

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._operators, self._x

    @property
    def cost(self) -> MapCost:
        return self._cost

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> QuadraticMap:
        operators, x = inputs
        return QuadraticMap(operators, x, self._lift, self._cost)

    def select(self, rows: Tensor) -> QuadraticMap:
        return QuadraticMap(self._operators, self._x.index_select(0, rows), self._lift, self._cost)

    def frozen(self) -> FixedPointMap:
        return ReducedQuadraticMap.of(self._operators.detach(), self._x.detach(), self._lift, self._cost)

    def value(self, w: Tensor) -> Tensor:
        return self._evaluate(w)[3]

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        v, applied, norm, value = self._evaluate(w)
        slope = applied @ self._lift - value.unsqueeze(-1) * (v @ self._lift).unsqueeze(1)
        return value, slope * (2 / norm).unsqueeze(-1)

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        v, applied, norm, value = self._evaluate(w)
        return (applied - value.unsqueeze(-1) * v.unsqueeze(1)) * (2 / norm).unsqueeze(-1)

    def vjp(self, w: Tensor, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        if self._x.requires_grad or not self._operators.requires_grad:
            return super().vjp(w, cotangent)
        with torch.no_grad():
            v = torch.addmm(self._x, w, self._lift.T)
            norm, is_zero = _norm(v)
            weights = cotangent / norm
            weighted = (weights.T.unsqueeze(-1) * v).mT  # (K, d, B)
            gradient = torch.matmul(weighted, v)
            # At v = 0 the value is A_k[0, 0].
            gradient[:, 0, 0] += (weights * is_zero).sum(0)
            return gradient, None

    def _evaluate(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """v (B, d), A_k v (B, K, d), vᵀv (B, 1) and q (B, K)."""
        outputs, features, _ = self._operators.shape
        v = torch.addmm(self._x, w, self._lift.T)
        applied = (v @ self._operators.reshape(-1, features).T).view(-1, outputs, features)
        norm, is_zero = _norm(v)
        value = (torch.bmm(applied, v.unsqueeze(-1)).squeeze(-1) + is_zero * self._operators[:, 0, 0]) / norm
        return v, applied, norm, value


class ReducedQuadraticMap(FixedPointMap):
    r"""The same map, its quadratic forms reduced once per batch to the n state entries and one constant.

    With ŵ = (w, 1) and P_b = [R | x_b], :math:`q_k = ŵ^T (P^T A_k P) ŵ / ŵ^T (P^T P) ŵ`: an evaluation costs (n+1)²,
    not d². No gradient flows to operators and features through it; solvers alone use it.

    Args:
        forms: Pᵀ A_k P for each sample, and PᵀP as the last one, (B, K+1, n+1, n+1).
        origin: A_k[0, 0], (K,).
        cost: circuits that a machine would need.
    """

    def __init__(self, forms: Tensor, origin: Tensor, cost: MapCost) -> None:
        self._forms = forms
        self._origin = origin
        self._cost = cost

    @classmethod
    def of(cls, operators: Tensor, x: Tensor, lift: Tensor, cost: MapCost) -> ReducedQuadraticMap:
        """Builds the forms for a batch: about K d² operations a sample."""
        batch, features = x.shape
        states = lift.shape[1]
        identity = torch.eye(features, dtype=x.dtype, device=x.device).unsqueeze(0)
        stack = torch.cat((operators, identity))
        on_lift = stack @ lift
        on_x = (x @ stack.reshape(-1, features).T).view(batch, -1, features)
        forms = x.new_empty(batch, len(stack), states + 1, states + 1)
        forms[..., :states, :states] = lift.T @ on_lift
        mixed = on_x @ lift
        forms[..., :states, states] = mixed
        forms[..., states, :states] = mixed
        forms[..., states, states] = torch.bmm(on_x, x.unsqueeze(-1)).squeeze(-1)
        return cls(forms, operators[:, 0, 0], cost)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._forms, self._origin

    @property
    def cost(self) -> MapCost:
        return self._cost

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> ReducedQuadraticMap:
        forms, origin = inputs
        return ReducedQuadraticMap(forms, origin, self._cost)

    def select(self, rows: Tensor) -> ReducedQuadraticMap:
        return ReducedQuadraticMap(self._forms.index_select(0, rows), self._origin, self._cost)

    def value(self, w: Tensor) -> Tensor:
        return self._evaluate(w)[2]

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        applied, norm, value = self._evaluate(w)
        slope = torch.addcmul(applied[:, :-1, :-1], value.unsqueeze(-1), applied[:, -1:, :-1], value=-1)
        return value, slope * (2 / norm).unsqueeze(-1)

    def _evaluate(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """P ŵ-forms (B, K+1, n+1), vᵀv (B, 1) and q (B, K)."""
        batch, forms, size, _ = self._forms.shape
        augmented = torch.nn.functional.pad(w, (0, 1), value=1.0).unsqueeze(-1)
        applied = torch.bmm(self._forms.view(batch, forms * size, size), augmented).view(batch, forms, size)
        quadratic = torch.bmm(applied, augmented).squeeze(-1)
        squared = quadratic[:, -1:]
        is_zero = squared == 0
        norm = squared + is_zero
        return applied, norm, (quadratic[:, :-1] + is_zero * self._origin) / norm


def _norm(v: Tensor) -> tuple[Tensor, Tensor]:
    """vᵀv with 1 in place of 0, (B, 1), and where it was 0."""
    squared = (v * v).sum(-1, keepdim=True)
    is_zero = squared == 0
    return squared + is_zero, is_zero
