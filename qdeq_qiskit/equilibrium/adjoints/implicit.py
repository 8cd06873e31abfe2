"""The exact gradient, by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from .._map import FixedPointMap
from .._options import check_number
from .._spectrum import Spectrum
from ..solvers import SOLVERS, Solver, make_solver
from ._adjoint import Adjoint, FoundRoot
from ._dense import DenseRule
from ._iterative import IterativeRule
from ._through_inputs import attach_through_inputs


@dataclass(frozen=True, kw_only=True)
class ImplicitAdjoint(Adjoint):
    """Solves (I − Jᵀ) u = g, then gives uᵀ ∂f/∂θ and uᵀ ∂f/∂x: the exact gradient, whatever the solver did.

    With z = R w, g is Rᵀ ∂L/∂z. Without a `solver` the system is solved by elimination, with the dense n×n Jacobian of
    each sample: one Jacobian, exact to rounding. With one it is solved as the fixed point of u ↦ Jᵀu + g, on
    vector-Jacobian products, and J is never formed: for maps of many state entries that autograd differentiates.
    Samples stop one by one; what did not converge is in `Solution.backward`. Both are differentiable again, to any
    order that the map is.

    Bai, Kolter, Koltun: Deep equilibrium models, arXiv 1909.01377, theorem 1; in the reduced space of w.

    Attributes:
        solver: of the backward pass, one that uses no Jacobian: an object, its kind, or a mapping with `kind` and
            options. None for elimination.
        floor: where J is measured with shots, no singular value of I − J may be below this; such samples are in
            `Solution.floored`. Exact Jacobians are left as they are, and 0 leaves all.
    """

    kind: ClassVar[str] = "implicit"

    solver: Any = None
    floor: float = 0.2

    def __post_init__(self) -> None:
        object.__setattr__(self, "solver", _solver(self.solver))
        check_number("floor", self.floor, least=0, most=1)

    @property
    def uses_jacobian(self) -> bool:
        return self.solver is None

    @property
    def solves(self) -> bool:
        return self.solver is not None

    def steadied(self, fixed_point_map: FixedPointMap, jacobian: Tensor) -> tuple[Tensor, Tensor | None]:
        if not fixed_point_map.is_sampled or not self.floor:
            return jacobian, None
        spectrum = Spectrum.of(jacobian, self.floor)
        return spectrum.floored_jacobian.to(jacobian), spectrum.acted

    def attach(self, fixed_point_map: FixedPointMap, found: FoundRoot) -> Tensor:
        if self.solver is None:
            assert found.jacobian is not None
            return attach_through_inputs(fixed_point_map, found.w, DenseRule(), found.jacobian, found.value)
        rule = IterativeRule(self.solver, found.report)
        return attach_through_inputs(fixed_point_map, found.w, rule, None, found.value)


def _solver(choice: Any) -> Solver | None:
    """The backward solver as an object.

    Raises:
        ValueError: no such solver, or one that wants a Jacobian.
    """
    if isinstance(choice, str):
        choice = make_solver(choice)
    elif isinstance(choice, Mapping):
        options = dict(choice)
        if "kind" not in options:
            raise ValueError(f"the adjoint's solver needs a kind, such as {{'kind': 'broyden'}}; it is {choice!r}.")
        choice = make_solver(options.pop("kind"), **options)
    if choice is None or (isinstance(choice, Solver) and not _takes_jacobians(choice)):
        return choice
    if isinstance(choice, Solver):
        able = ", ".join(repr(kind) for kind, solver in SOLVERS.items() if not _takes_jacobians(solver))
        raise ValueError(
            f"the adjoint's solver {choice.kind!r} wants Jacobians, of which the dense adjoint (solver: null) needs "
            f"but one: choose one of {able}, or leave it out."
        )
    raise ValueError(f"the adjoint's solver must be a solver, its kind, or a mapping with one; it is {choice!r}.")


def _takes_jacobians(solver: Solver | type[Solver]) -> bool:
    return solver.uses_jacobian or solver.asks_for_jacobian
