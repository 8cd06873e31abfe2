"""From a root without a gradient to one with it: the adjoint, the penalty, and what both cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._backward_report import BackwardReport
from ._map import FixedPointMap
from ._module_checks import check_gradient_of
from ._root import Root
from ._spread import finite_rows, spread_rows
from .adjoints import Adjoint, FoundRoot
from .penalties import JacobianPenalty


@dataclass(frozen=True, eq=False)
class Differentiated:
    """Fixed points as the rest of the model gets them.

    Attributes:
        value: w*, (B, n), with its gradient where there is one.
        jacobian: ∂f/∂w there, (B, n, n), without a gradient, if it is at hand; NaN for samples without one.
        penalty: the Jacobian penalty with its gradient, if there is one.
        evaluations: evaluations of f beside the solver's, of each sample or (B,).
        jacobian_evaluations: evaluations of ∂f/∂w beside the solver's, of each sample or (B,).
        floored: for which samples the adjoint raised singular values of I − J, (B,); None where it never does.
        report: what an adjoint that solves something will tell of it.
    """

    value: Tensor
    jacobian: Tensor | None
    penalty: Tensor | None = None
    evaluations: Tensor | int = 0
    jacobian_evaluations: Tensor | int = 0
    floored: Tensor | None = None
    report: BackwardReport | None = None


def differentiate(
    fixed_point_map: FixedPointMap,
    root: Root,
    adjoint: Adjoint,
    penalty: JacobianPenalty | None,
    lift: Tensor | None,
    *,
    use_jacobian: bool,
    on_failure: str,
) -> Differentiated:
    """Gives a batch's fixed points their gradient.

    Samples without any finite value are left out: their rows would make NaN of every gradient of the weights.

    Args:
        fixed_point_map: the map, not frozen.
        root: what the solver found.
        adjoint: how fixed points are differentiated.
        penalty: the Jacobian penalty, if one is wanted.
        lift: R, (d, n), or None.
        use_jacobian: whether the penalty may build on the solver's Jacobian.
        on_failure: what happens where a backward solve does not converge.
    """
    rows = finite_rows(root)
    some = fixed_point_map if rows is None else fixed_point_map.select(rows)
    w, jacobian, inverse = (
        part if rows is None or part is None else part.index_select(0, rows)
        for part in (root.w, root.jacobian, root.inverse)
    )
    assert w is not None
    values, further = 0, 0  # evaluations of f and of ∂f/∂w that every sample takes
    missing: Tensor | int = 0  # Jacobians that some of them take
    value, penalised, floored = None, None, None
    if penalty is not None and penalty.uses_jacobian:
        if use_jacobian and jacobian is not None:
            value, recorded = some.recorded_at_root(w.detach(), jacobian)
        else:
            value, recorded = some.value_and_jacobian(w.detach())
            further = further + 1
        penalised = penalty.measure(some, w.detach(), recorded, lift)
        jacobian = recorded.detach()
    elif penalty is not None:
        penalised = penalty.measure(some, w.detach(), None, lift)
        values, further = values + penalty.evaluations, further + penalty.jacobian_evaluations
    if penalised is not None:
        check_gradient_of(penalised)
    if adjoint.uses_jacobian:
        if jacobian is None or some.is_sampled:
            jacobian, missing = _completed(jacobian, some, w)
        jacobian, floored = adjoint.steadied(some, jacobian)
    report = BackwardReport(len(w), fixed_point_map.cost, on_failure=on_failure) if adjoint.solves else None
    if report is not None and rows is not None:
        report.of_rows(rows, len(root.w))
    attached = adjoint.attach(some, FoundRoot(w, jacobian, inverse, value, report))
    if rows is None:
        return Differentiated(attached, jacobian, penalised, values, further + missing, floored, report)
    zeros = torch.zeros_like(root.evaluations)
    return Differentiated(
        root.w.index_copy(0, rows, attached),
        None if jacobian is None else spread_rows(jacobian, rows, root),
        penalised,
        zeros.index_fill(0, rows, values),
        zeros.index_add(0, rows, zeros[rows] + further + missing),
        None if floored is None else zeros.bool().index_copy(0, rows, floored),
        report,
    )


def _completed(jacobian: Tensor | None, fixed_point_map: FixedPointMap, w: Tensor) -> tuple[Tensor, Tensor | int]:
    """∂f/∂w at the fixed points w, (B, n, n), with what was missing of it, and how many evaluations that took, (B,)."""
    if jacobian is None:
        with torch.no_grad():
            return fixed_point_map.frozen().jacobian_at_root(w), 1
    if not fixed_point_map.is_sampled:
        return jacobian, 0
    # The statistical solver leaves out samples without an estimate.
    rows = jacobian.isnan().flatten(1).any(1).nonzero().squeeze(1)
    if not len(rows):
        return jacobian, 0
    with torch.no_grad():
        measured = fixed_point_map.frozen().select(rows).jacobian_at_root(w.index_select(0, rows))
    count = torch.zeros(len(w), dtype=torch.int64, device=w.device)
    return jacobian.index_copy(0, rows, measured), count.index_fill(0, rows, 1)
