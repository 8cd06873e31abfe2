"""Where f is a mean over shots: a search that knows its noise, then an estimate with a covariance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from .._map import MapCost
from .._options import check_count, check_name, check_number
from ._solver import Evaluation, Solver, State


@dataclass(frozen=True, kw_only=True)
class SampledSolver(Solver):
    """A fixed point of a sampled f, as an estimate with a covariance.

    1. Search: w ← w + τ (f(w) − w), until ‖f(w) − w‖² ≤ c Σ_k Var f_k(w): the residual is no longer told from noise.
       A sample that does not get there takes Newton steps with a measured Jacobian.
    2. Average: some steps more; ŵ is the mean of their iterates (Polyak and Ruppert).
    3. Estimate, from *fresh* shots at ŵ, which the stopping rule has not selected: with f̄ their mean, Σ its covariance
       and J the measured Jacobian, w* ≈ ŵ + (I − J)⁻¹ (f̄(ŵ) − ŵ), of covariance (I − J)⁻¹ (Σ + N) (I − J)⁻ᵀ, where N
       is what the noise of J adds. If a precision is asked for, this is repeated from the estimate with more shots.

    Where circuits are dear, J need not be measured. With `jacobian` "noiseless" it is that of the same circuit without
    errors, as a classical computer finds it, each output's rows scaled to the values that are measured. The search
    then starts from the noiseless fixed point, takes Newton steps with this J, and needs no average. Noise that does
    more than shrink values shows in how they lie, over all samples of the batch, and widens intervals; in a batch of
    one or two samples it cannot show, and `jacobian_error` alone answers for it.

    Polyak, Juditsky, SIAM J. Control Optim. 30 (1992) 838.
    The derivation is in `docs/explanation/sampled-equilibria.md`.

    Attributes:
        tolerance: on the relative residual, where values have no noise.
        max_iterations: most steps of the search.
        newton_steps: most Newton steps after them, for samples that still need them.
        damping: τ, in (0, 1].
        c: the factor in the stopping rule; noise alone reaches 1 on average.
        average: how many iterates are averaged, where J is measured.
        estimate: shots of the estimate, in those of single evaluations.
        precision: the half-width of the 95% interval wanted for every entry of w*; None for whatever comes out.
        max_shots: how many shots one sample may spend on all of this; None for no limit.
        growth: most by which the shots grow from one estimate to the next.
        jacobian: where J comes from: "measured", or "noiseless" for the scaled one of the noiseless circuit, which
            takes no circuits but must be within reach of a classical computer.
        jacobian_error: the relative error that a noiseless J is taken to have at least; more if the values that are
            measured show more. What it adds is in the covariance.
        jacobian_shots: shots of each circuit of the measured Jacobian; None for those of an evaluation.
        floor: singular values of I − J, J being measured, are raised to this where steps are taken and gradients
            solved for, since noise would else make arbitrarily much of them; not for covariances.
    """

    kind: ClassVar[str] = "sampled"
    uses_jacobian: ClassVar[bool] = True

    tolerance: float = 1e-6
    max_iterations: int = 20
    newton_steps: int = 10
    damping: float = 0.5
    c: float = 2.0
    average: int = 8
    estimate: int = 20
    precision: float | None = None
    max_shots: int | None = None
    growth: float = 8.0
    jacobian: Literal["measured", "noiseless"] = "measured"
    jacobian_error: float = 0.1
    jacobian_shots: int | None = None
    floor: float = 0.2

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, least=0)
        check_count("max_iterations", self.max_iterations, least=1)
        check_count("newton_steps", self.newton_steps, least=0)
        check_number("damping", self.damping, above=0, most=1)
        check_number("c", self.c, above=0)
        check_count("average", self.average, least=0)
        check_count("estimate", self.estimate, least=1)
        check_number("growth", self.growth, least=1.5)
        check_number("floor", self.floor, least=0, most=1)
        check_name("jacobian", self.jacobian, ("measured", "noiseless"))
        check_number("jacobian_error", self.jacobian_error, least=0)
        if self.jacobian_shots is not None:
            check_count("jacobian_shots", self.jacobian_shots, least=1, most=10**16)
        if self.max_shots is not None:
            check_count("max_shots", self.max_shots, least=1, most=10**30)
        if self.precision is not None:
            check_number("precision", self.precision, above=0)
            if self.max_shots is None:
                raise ValueError(
                    f"precision={self.precision:g} may take any number of shots: give max_shots, the most that one "
                    "sample may spend."
                )

    @property
    def goal(self) -> str:
        return "a residual within its noise" + (f" and to ±{self.precision:g}" if self.precision is not None else "")

    def check_price(self, cost: MapCost) -> None:
        """Refuses a price of one sample's evaluation that `max_shots` cannot pay.

        Raises:
            ValueError: the shots of a sample are fewer than the least search and estimate take.
        """
        jacobian = cost.circuits_per_jacobian if self.jacobian == "measured" else 0
        shots = cost.shots_per_circuit
        least = 2 * cost.circuits_per_value * shots + jacobian * (self.jacobian_shots or shots)
        if self.max_shots is not None and self.max_shots < least:
            raise ValueError(
                f"max_shots={self.max_shots} is less than the {least} shots that one evaluation"
                f"{', one Jacobian' if jacobian else ''} and one estimate take: raise it, or lower the backend's shots"
                f"{' or jacobian_shots' if jacobian else ''}."
            )

    def step(self, now: Evaluation, state: State) -> tuple[Tensor, State]:
        """The damped step of the search; what comes after it is the statistical driver's."""
        return now.w + self.damping * now.difference, ()
