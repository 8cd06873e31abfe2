"""Answers of some samples as answers of the whole batch."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from ._reason import Reason
from ._root import Root
from ._solution import Solution


def finite_rows(root: Root) -> Tensor | None:
    """The samples with a finite residual, or None if all have one."""
    if not root.unconverged:
        return None
    finite = root.residual.isfinite()
    return None if bool(finite.all()) else finite.nonzero().squeeze(1)


def spread_rows(some: Tensor, rows: Tensor, root: Root) -> Tensor:
    """`some` in its rows, NaN in the others."""
    return some.new_full((len(root.w), *some.shape[1:]), torch.nan).index_copy(0, rows, some)


def spread(solution: Solution, rows: Tensor, start: Tensor, lift: Tensor | None) -> Solution:
    """The solution of the samples `rows`, as one of the whole batch, the others being NOT_FINITE."""
    rest = {
        "value": start,
        "state": start if lift is None else start @ lift.mT,
        "residual": start.new_full((len(start),), torch.inf),
        "reason": torch.full((len(start),), int(Reason.NOT_FINITE), device=start.device),
    }
    rest["relative_residual"] = rest["residual"]
    none = torch.zeros_like(rest["reason"])
    spread: dict[str, Any] = {}
    for field in fields(solution):
        part = getattr(solution, field.name)
        if not isinstance(part, Tensor) or field.name == "penalty":
            continue
        if field.name in ("jacobian", "covariance"):
            whole = part.new_full((len(start), *part.shape[1:]), torch.nan)
        else:
            whole = rest.get(field.name, none.to(part.dtype))
        spread[field.name] = whole.index_copy(0, rows, part)
    if solution.trace is not None:
        spread["trace"] = [rest["residual"].index_copy(0, rows, part) for part in solution.trace]
    return replace(solution, **spread)
