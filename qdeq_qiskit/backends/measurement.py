"""What a machine hands back: values, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Measurement:
    """Expectation values of K observables for N rows of angles, double precision, on the CPU.

    Attributes:
        values: (N, K); NaN for rows whose angles are not finite.
        covariance: of the values of each row about their means, (N, K, K), as estimated from the same shots; zero
            where values are exact. Rows are independent of one another.
    """

    values: Tensor
    covariance: Tensor


@dataclass(frozen=True, eq=False)
class ShiftedMeasurement:
    """Values at some angles and their derivatives there, from shifted circuits; B rows, S slots, K observables.

    Attributes:
        at: the values at the angles themselves, B rows.
        derivatives: with respect to each slot's angle, (B, K, S).
        covariance: of each slot's derivatives, (B, S, K, K); those of two slots share no circuit, nor do they share
            one with the values, so all of them are independent.
    """

    at: Measurement
    derivatives: Tensor
    covariance: Tensor
