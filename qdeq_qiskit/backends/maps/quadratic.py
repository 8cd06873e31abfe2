r"""The amplitude-encoded map: :math:`q_k(v) = v^T A_k v / v^T v` with :math:`A_k = \mathrm{Re}\, M_k(θ)`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from qdeq_qiskit.backends.maps.quadratic_forms import QuadraticForms, Rest, floor
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost, Newton, Root

MOST_COMPILED_STATES = 6
"""The compiled loop takes less than half the time at 4 state entries, three quarters at 6, and no less from 7 on."""


class QuadraticMap(FixedPointMap):
    r"""w ↦ q(R w + x) for symmetric A_k, with

    .. math:: \partial q_k / \partial v = 2 (A_k v - q_k v) / v^T v .

    At v = 0, which encodes as the first basis state, q_k = A_k[0, 0] and the derivative is zero.

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
        self._forms: QuadraticForms | None = None  # recorded, once they are wanted

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
        if torch.is_grad_enabled() and self._lift.shape[1]:
            # A layer that is applied again and again is differentiated through the reduced forms, which it shares.
            if self._forms is None:
                self._forms = QuadraticForms.of_operators(self._operators, self._x, self._lift)
            return self._forms.evaluate(w)[2].T
        return _forms(self._operators, torch.addmm(self._x, w, self._lift.T))[2].T

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        v = torch.addmm(self._x, w, self._lift.T)
        return _ValueAndSlope.apply(self._operators, v, self._lift, None)

    @property
    def records_known_jacobian(self) -> bool:
        return True

    def recorded_at_root(self, w: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
        v = torch.addmm(self._x, w, self._lift.T)
        return _ValueAndSlope.apply(self._operators, v, self._lift, (w, jacobian))

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        v = torch.addmm(self._x, w, self._lift.T)
        identity = torch.eye(v.shape[1], dtype=v.dtype, device=v.device)
        return _ValueAndSlope.apply(self._operators, v, identity, None)[1]

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        v = torch.addmm(self._x, w, self._lift.T)
        return v, lambda at: _forms(self._operators, at)[2].T

    def vjp(self, w: Tensor, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        if self._x.requires_grad or not self._operators.requires_grad:
            return super().vjp(w, cotangent)
        with torch.no_grad():
            v = torch.addmm(self._x, w, self._lift.T)
            return _weighted_squares(cotangent.T / _squared_norm(v), v), None


class ReducedQuadraticMap(FixedPointMap):
    r"""The same map, its quadratic forms reduced once per batch to the n state entries.

    With x = R c + x⊥ (c by least squares) and u = w + c, numerator and norm of q_k are each a form
    :math:`u^T G u + 2 g^T u + c`, with G = RᵀA_k R for all samples, g = RᵀA_k x⊥ and c = x⊥ᵀA_k x⊥ (and 1 in place of
    A_k for the norm): an evaluation costs n², not d², and vᵀv = ‖R u‖² + ‖x⊥‖² loses no digits where R w nearly
    cancels x. Solvers alone use it; no gradient flows to operators and features through it. The batch is the last
    axis, where the many small sums run fastest.

    Args:
        gram: 2 G of every output, and of the norm as the last one, stacked, ((K+1) n, n).
        samples: 2 g in the order of `gram`, then the K+1 constants, then the offset that makes u of w, one column a
            sample, ((K+1)(n+1) + n, B).
        cost: circuits that a machine would need.
    """

    def __init__(self, gram: Tensor, samples: Tensor, cost: MapCost) -> None:
        rows, states = gram.shape
        self._gram = gram
        self._samples = samples
        self._linear, self._constant, self._offset = samples.split_with_sizes((rows, rows // states, states))
        self._cost = cost

    @classmethod
    def of(cls, operators: Tensor, x: Tensor, lift: Tensor, cost: MapCost) -> ReducedQuadraticMap:
        """Builds the forms for a batch: about K d² operations a sample."""
        features, states = lift.shape
        twice, identity = _of_lift(lift)
        offset, columns = Rest.of(x, lift)
        stack = torch.cat((operators, identity))
        on_lift = torch.matmul(twice, stack)  # (K+1, n, d)
        linear = on_lift.view(-1, features) @ columns
        on_x = (stack.view(-1, features) @ columns).view(len(stack), features, len(x))
        # With these two terms v = 0 has the value A_k[0, 0], and no other v notices: see `floor`.
        constant = torch.add(on_x.mul_(columns).sum(1), stack[:, 0, :1], alpha=floor(x.dtype))
        return cls((on_lift @ lift).view(-1, states), torch.cat((linear, constant, offset)), cost)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._gram, self._samples

    @property
    def cost(self) -> MapCost:
        return self._cost

    @property
    def carries(self) -> bool:
        return True

    @property
    def is_compiled(self) -> bool:
        rows, states = self._gram.shape
        # The loop reads memory by its own count: as many outputs as state entries, and the norm.
        square = rows == (states + 1) * states
        return square and states <= MOST_COMPILED_STATES and self._gram.device.type == "cpu" and _loop() is not None

    def compiled_root(self, start: Tensor, solver: Newton, *, keep_jacobian: bool) -> Root | None:
        newton_root = _loop()
        assert newton_root is not None
        return newton_root(self._gram, self._samples, start, solver, keep_jacobian=keep_jacobian)

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> ReducedQuadraticMap:
        gram, samples = inputs
        return ReducedQuadraticMap(gram, samples, self._cost)

    def select(self, rows: Tensor) -> ReducedQuadraticMap:
        return ReducedQuadraticMap(self._gram, self._samples.index_select(1, rows), self._cost)

    def value(self, w: Tensor) -> Tensor:
        return self._evaluate(w)[2].T.contiguous()

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        slopes, norm, value = self._evaluate(w)
        # of the quotient q_k = N_k / N: (∂N_k − q_k ∂N) / N
        of_forms, of_norm = slopes.split_with_sizes((value.shape[0], 1))
        jacobian = torch.addcmul(of_forms, value.unsqueeze(1), of_norm, value=-1).div_(norm)
        return value.T.contiguous(), jacobian.permute(2, 0, 1)

    def _evaluate(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """∂/∂w of the forms, (K+1, n, B), vᵀv, (1, B), and q, (K, B)."""
        u = w.T + self._offset
        kinds, (states, batch) = self._constant.shape[0], u.shape
        slopes = torch.addmm(self._linear, self._gram, u)
        products = (slopes + self._linear).view(kinds, states, batch).mul_(u)
        forms = torch.add(self._constant, products.sum(1), alpha=0.5)
        numerators, norm = forms.split_with_sizes((kinds - 1, 1))
        return slopes.view(kinds, states, batch), norm, numerators / norm


@cache
def _loop() -> Callable[..., Root | None] | None:
    """Newton's method as a compiled loop; None where numba is not installed or does not go with what is."""
    if find_spec("numba") is None:
        return None
    try:
        from qdeq_qiskit.backends.maps.compiled_newton import newton_root
    except ImportError as error:
        warnings.warn(f"numba cannot be loaded, so nothing is compiled: {error}", RuntimeWarning, stacklevel=2)
        return None
    return newton_root


@lru_cache(maxsize=16)
def _of_lift(lift: Tensor) -> tuple[Tensor, Tensor]:
    """2Rᵀ, (n, d), and 1, (1, d, d); kept for the lifts at hand, which are the same in every step."""
    with torch.inference_mode(False), torch.no_grad():
        return 2 * lift.T, torch.eye(len(lift), dtype=lift.dtype, device=lift.device).unsqueeze(0)


class _ValueAndSlope(torch.autograd.Function):
    """q and (∂q/∂v) R with their gradient for the operators in closed form: q and its slope are linear in A.

    The gradient needs neither of them, so `known` ones are taken over as they are.
    """

    @staticmethod
    def forward(
        ctx: Any, operators: Tensor, v: Tensor, lift: Tensor, known: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(operators, v, lift)
        if known is None:
            return _value_and_slope(operators, v, lift)
        value, slope = known
        return value.view_as(value), slope.view_as(slope)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        operators, v, lift = ctx.saved_tensors
        of_value, of_slope = cotangents
        if torch.is_grad_enabled() or ctx.needs_input_grad[1]:
            return *_recorded_gradients(operators, v, lift, cotangents, ctx.needs_input_grad), None, None
        # With c the cotangent of the slope: ⟨c, dJ_k⟩ = 2/N (R c − (c·Rᵀv)/N v)ᵀ dA_k v
        norm = _squared_norm(v)
        scaled = of_slope.permute(1, 2, 0) * (2 / norm)  # (K, n, B)
        along = (scaled * (lift.T @ v.T)).sum(1)
        return _weighted_squares((of_value.T - along) / norm, v, lift, scaled), None, None, None


def _recorded_gradients(
    operators: Tensor, v: Tensor, lift: Tensor, cotangents: tuple[Tensor, ...], needed: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """The same gradients by autograd, which can be differentiated again."""
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        if create_graph:
            # Aliases: v may itself depend on the operators, which is for autograd to follow, not for this node.
            operators, v = operators.view_as(operators), v.view_as(v)
        else:
            operators, v = operators.detach().requires_grad_(needed[0]), v.detach().requires_grad_(needed[1])
        outputs = _value_and_slope(operators, v, lift)
        wanted = [leaf for leaf, need in zip((operators, v), needed, strict=False) if need]
        found = iter(torch.autograd.grad(outputs, wanted, cotangents, create_graph=create_graph))
    return (next(found) if needed[0] else None, next(found) if needed[1] else None)


def _value_and_slope(operators: Tensor, v: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
    applied, norm, value = _forms(operators, v)
    slope = torch.matmul(lift.T, applied) - value.unsqueeze(1) * (lift.T @ v.T)
    return value.T, (slope * (2 / norm)).permute(2, 0, 1)


def _forms(operators: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A_k v, (K, d, B), vᵀv, (B,), and q, (K, B): the batch last, as it is faster so."""
    outputs, features, _ = operators.shape
    columns, norm = v.T.contiguous(), _squared_norm(v)
    applied = (operators.reshape(-1, features) @ columns).view(outputs, features, len(v))
    quadratic = (applied * columns).sum(1)
    return applied, norm, (quadratic + floor(v.dtype) * operators[:, 0, :1]) / norm


def _weighted_squares(weights: Tensor, v: Tensor, lift: Tensor | None = None, on_lift: Tensor | None = None) -> Tensor:
    """Σ_b (weights_kb v_b + R on_lift_kb) v_bᵀ, (K, d, d), and what the constant terms of numerator and norm add.

    Args:
        weights: (K, B).
        v: (B, d).
        lift: R, (d, n), with `on_lift`, (K, n, B); None for no second term.
    """
    left = weights.unsqueeze(1) * v.T.contiguous()  # (K, d, B)
    if lift is not None and on_lift is not None:
        left.baddbmm_(lift.expand(len(weights), -1, -1), on_lift)
    squares = (left.flatten(0, 1) @ v).view(len(weights), -1, v.shape[1])
    squares[:, 0, 0].add_(weights.sum(1), alpha=floor(v.dtype))
    return squares


def _squared_norm(v: Tensor) -> Tensor:
    """vᵀv, (B,), with `floor` added."""
    return torch.linalg.vecdot(v, v) + floor(v.dtype)
