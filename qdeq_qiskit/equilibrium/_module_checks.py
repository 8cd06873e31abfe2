"""What `Equilibrium` refuses, and what it warns of."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ._map import Bindable, FixedPointMap
from ._options import check_count
from .adjoints import Adjoint
from .penalties import JacobianPenalty
from .solvers import Solver
from .solvers.sampled import SampledSolver


def state_size_of(layer: object, lift: Tensor | None, state_size: int | None) -> int:
    """The number of state entries n.

    Raises:
        ValueError: it is not given, or contradicts the lift.
    """
    if not callable(layer) and not isinstance(layer, Bindable):
        raise ValueError(
            f"layer must be a torch module or a function; it is of type {type(layer).__name__}. A network of "
            "qiskit-machine-learning becomes a module in a connector, as QNNConnector(network)."
        )
    if lift is None:
        if isinstance(layer, Bindable):
            raise ValueError("This layer maps features v = R w + x: give its lift R, for instance nearest_lift(d, n).")
        if state_size is None:
            raise ValueError("Without a lift, state_size (the number of state entries n) must be given.")
        check_count("state_size", state_size, least=1)
        return state_size
    if lift.ndim != 2:
        raise ValueError(f"lift must be a matrix R of shape (d, n); its shape is {tuple(lift.shape)}.")
    if state_size not in (None, lift.shape[1]):
        raise ValueError(f"state_size is {state_size}, but the lift R has {lift.shape[1]} columns: leave it out.")
    return lift.shape[1]


def check_type(name: str, value: object, wanted: type) -> None:
    """Raises ValueError unless `value` is one of the `wanted`."""
    if not isinstance(value, wanted):
        raise ValueError(f"{name} must be of type {wanted.__name__}, as make_{name}(...) gives; it is {value!r}.")


def serves(solver: Solver, adjoint: Adjoint) -> bool:
    """Whether the solver gives what the adjoint needs."""
    recorded = not adjoint.records_solver or not isinstance(solver, SampledSolver)
    return recorded and (not adjoint.uses_inverse or solver.estimates_inverse)


def check_pair(solver: Solver, adjoint: Adjoint) -> None:
    """Raises ValueError where the solver does not give what the adjoint needs."""
    if serves(solver, adjoint):
        return
    if isinstance(solver, SampledSolver) and adjoint.records_solver:
        raise ValueError(
            f"the solver {solver.kind!r} gives an estimate, whose iterations cannot be differentiated "
            f"through: it needs another adjoint than {adjoint.kind!r}, such as 'implicit'."
        )
    raise ValueError(
        f"the adjoint {adjoint.kind!r} needs a solver that estimates the inverse of I − J, such as 'broyden', and the "
        f"solver {solver.kind!r} does not: take that one, or the adjoint 'implicit'."
    )


def refuse_hidden_parameters(fixed_point_map: FixedPointMap, start: Tensor) -> None:
    """A function that closes over trainable tensors would silently leave them without a gradient."""
    row = torch.zeros(1, dtype=torch.int64, device=start.device)
    if fixed_point_map.select(row).frozen().value(start[:1]).requires_grad:
        raise ValueError(
            "The layer is a function that uses tensors which require a gradient but are not its arguments: they would "
            "get none. Make it a torch.nn.Module with these tensors as its parameters."
        )


def effective(penalty: JacobianPenalty | None, fixed_point_map: FixedPointMap) -> JacobianPenalty | None:
    """The penalty, unless it would have no gradient on this map, which is warned of: it would be paid for in vain."""
    if penalty is None or fixed_point_map.jacobian_has_gradient or not penalty.needs_second_derivatives:
        return penalty
    _warn_of_lost_penalty()
    return None


def check_gradient_of(penalty: Tensor) -> None:
    """Warns of a penalty without a gradient, which has no effect on training."""
    if not penalty.requires_grad:
        _warn_of_lost_penalty()


def _warn_of_lost_penalty() -> None:
    warnings.warn(
        "The Jacobian penalty has no gradient: the layer's Jacobian cannot be differentiated (as that of a sampled "
        "layer or a stock TorchConnector cannot). Leave the penalty out (model.penalty: null), take the penalty "
        "'parameter_shift', which needs first derivatives only, or use a layer that is twice differentiable.",
        RuntimeWarning,
        stacklevel=3,
    )
