"""A penalty's probe in random directions, which forms no Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .._map import FixedPointMap
from .._options import check_count, check_name
from ._penalty import JacobianPenalty

_DISTRIBUTIONS = ("rademacher", "normal")
_SPACES = ("full", "reduced")


@dataclass(frozen=True, kw_only=True)
class HutchinsonPenalty(JacobianPenalty):
    """mean over samples and probes of ‖εᵀ M‖² / size, with random ε of covariance 1: unbiased for ‖M‖²_F / size.

    M is R ∂q/∂v with size d (full, the paper's) or ∂f/∂w with size n (reduced). One vector-Jacobian product a probe,
    for maps of many state entries that autograd differentiates twice. Draws from torch's generator.

    Hutchinson, Commun. Stat. Simul. Comput. 18 (1989) 1059; used by Bai, Koltun, Kolter, arXiv 2106.14342.

    Attributes:
        probes: how many ε of each sample are averaged over.
        distribution: of ε's entries: "rademacher" (±1, the least variance) or "normal" (as in the paper).
        space: "full" or "reduced"; without a lift they are one.
    """

    kind: ClassVar[str] = "hutchinson"
    uses_jacobian: ClassVar[bool] = False

    probes: int = 1
    distribution: Literal["rademacher", "normal"] = "rademacher"
    space: Literal["full", "reduced"] = "full"

    def __post_init__(self) -> None:
        check_count("probes", self.probes, least=1)
        check_name("distribution", self.distribution, _DISTRIBUTIONS)
        check_name("space", self.space, _SPACES)

    @property
    def jacobian_evaluations(self) -> int:
        return self.probes

    def measure(
        self, fixed_point_map: FixedPointMap, w: Tensor, jacobian: Tensor | None, lift: Tensor | None
    ) -> Tensor:
        full = self.space == "full" and lift is not None
        point, layer = fixed_point_map.at_features(w) if full else (w, fixed_point_map.value)
        raised = lift.mT if full and lift is not None else None
        size = w.shape[1] if raised is None else raised.shape[1]
        square = self._squares(point, layer, raised, size)
        return square / (max(len(w), 1) * self.probes * size)

    def _squares(self, point: Tensor, layer: Callable[[Tensor], Tensor], raised: Tensor | None, size: int) -> Tensor:
        """Σ ‖εᵀ M‖² over samples and probes."""
        if not point.requires_grad:
            point = point.detach().requires_grad_()
        value = layer(point)
        total = value.new_zeros(())
        if not value.requires_grad:  # q is constant
            return total
        for _ in range(self.probes):
            probe = torch.randn(len(value), size, dtype=value.dtype, device=value.device)
            if self.distribution == "rademacher":
                probe = torch.where(probe < 0, -1.0, 1.0).to(probe)
            along = probe if raised is None else probe @ raised.mT
            product = torch.autograd.grad(value, point, along, create_graph=True, materialize_grads=True)[0]
            total = total + product.square().sum()
        return total
