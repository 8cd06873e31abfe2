r"""The reduced quadratic forms of an amplitude-encoded map, as autograd records them; see `ReducedQuadraticMap`."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class QuadraticForms(NamedTuple):
    """What q(R w + x) of a batch amounts to, whatever the number of features.

    Attributes:
        gram: 2 G of every output, and of the norm as the last one, stacked, ((K+1) n, n).
        samples: 2 g in the order of `gram`, then the K+1 constants, then the offset that makes u of w, one column a
            sample, ((K+1)(n+1) + n, B).
    """

    gram: Tensor
    samples: Tensor

    @classmethod
    def of_operators(cls, operators: Tensor, x: Tensor, lift: Tensor) -> QuadraticForms:
        """From A, (K, d, d), features, (B, d), and the lift R, (d, n); differentiable to every order."""
        outputs, features, _ = operators.shape
        rest = Rest.of(x, lift)
        # Both halves, though they are the same numbers: the gradient of symmetric operators is then symmetric, too.
        on_lift = torch.matmul(lift.T, operators) + torch.matmul(operators, lift).mT  # (K, n, d)
        on_rest = (operators.reshape(-1, features) @ rest.columns).view(outputs, features, len(x))
        linear = on_lift.reshape(-1, features) @ rest.columns
        constant = (on_rest * rest.columns).sum(1) + floor(x.dtype) * operators[:, 0, :1]
        return cls.joined((on_lift @ lift).view(-1, lift.shape[1]), linear, constant, rest, lift)

    @classmethod
    def joined(cls, gram: Tensor, linear: Tensor, constant: Tensor, rest: Rest, lift: Tensor) -> QuadraticForms:
        """Those of the outputs, (K n, n), (K n, B) and (K, B), with those of the norm.

        Args:
            gram: 2 G.
            linear: 2 g.
            constant: c, with what `floor` adds.
            rest: of the features.
            lift: R.
        """
        of_norm = rest.columns.square().sum(0, keepdim=True) + floor(constant.dtype)
        samples = torch.cat((linear, 2 * lift.T @ rest.columns, constant, of_norm, rest.offset))
        return cls(torch.cat((gram, 2 * lift.T @ lift)), samples)

    def evaluate(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """∂/∂w of the forms, (K+1, n, B), vᵀv, (1, B), and q, (K, B), at w, (B, n)."""
        rows, states = self.gram.shape
        linear, constant, offset = self.samples.split_with_sizes((rows, len(self.samples) - rows - states, states))
        u = w.T + offset
        slopes = torch.addmm(linear, self.gram, u)
        products = (slopes + linear).view(len(constant), states, len(w)) * u
        forms = constant + 0.5 * products.sum(1)
        numerators, norm = forms.split_with_sizes((len(constant) - 1, 1))
        return slopes.view_as(products), norm, numerators / norm


class Rest(NamedTuple):
    """Features without what the lift can reach: x = R c + x⊥, c by least squares.

    Attributes:
        offset: c, (n, B).
        columns: x⊥, (d, B).
    """

    offset: Tensor
    columns: Tensor

    @classmethod
    def of(cls, x: Tensor, lift: Tensor) -> Rest:
        """Of features, (B, d)."""
        offset = inverse_of(lift) @ x.T
        return cls(offset, torch.addmm(x.T, lift, offset, alpha=-1))


@lru_cache(maxsize=16)
def inverse_of(lift: Tensor) -> Tensor:
    """R⁺, (n, d); kept for the lifts at hand, which are the same in every step."""
    with torch.inference_mode(False), torch.no_grad():
        return torch.linalg.pinv(lift.double()).to(lift.dtype)


def floor(dtype: torch.dtype) -> float:
    """ε in (vᵀA_k v + ε A_k[0, 0]) / (vᵀv + ε): gives v = 0 its value, and vanishes in rounding above ‖v‖ ≈ 1e-11.

    (Above 1e-137 in double precision.)
    """
    return 1e-290 if dtype == torch.float64 else 1e-30
