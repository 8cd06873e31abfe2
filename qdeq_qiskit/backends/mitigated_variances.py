"""How sure mitigated values are: the share of the extrapolation, and that of the readout's calibration."""

from __future__ import annotations

import numpy as np

from qdeq_qiskit.noise.mitigation import MitigationCost, ZeroNoiseExtrapolation


def extrapolated_variance(
    zne: ZeroNoiseExtrapolation, curved: np.ndarray, at_zero: np.ndarray, values: np.ndarray, variances: np.ndarray
) -> np.ndarray:
    """The variance of the fit at zero, (...), from values and variances at the noise factors, (..., F).

    `curved` says where the fit is none by a line, (...).

    Runtime's own is no use: it is scaled by the residuals of the fit, of which there are one or two.
    """
    factors = np.array(zne.noise_factors)
    if zne.extrapolator != "exponential":
        degree = 1 if zne.extrapolator == "linear" else int(zne.extrapolator[-1])
        design = np.broadcast_to(factors[:, None] ** np.arange(degree + 1), (*values.shape, degree + 1))
    else:
        # y = A exp(−r x), linearised in A and in A·r where the fit is; a line where there is no exponential.
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.log(np.abs(at_zero / values[..., 0])) / factors[0]
        rate = np.where(curved & np.isfinite(rate) & (at_zero * values[..., 0] > 0), rate, 0.0)[..., None]
        decay = np.exp(-rate * factors)
        design = np.stack([decay, -factors * decay], axis=-1)
    # Weighted least squares: the value at zero is the first coefficient, linear in the values.
    precision = 1 / np.maximum(variances, 1e-300)
    precision = precision / precision.max(axis=-1, keepdims=True)
    normal = np.einsum("...fi,...f,...fj->...ij", design, precision, design)
    weights = np.einsum("...j,...fj,...f->...f", np.linalg.pinv(normal)[..., 0, :], design, precision)
    return np.asarray((weights**2 * variances).sum(axis=-1))


def calibration_variance(
    observables: list[list[tuple[float, list[tuple[float, float]]]]], values: np.ndarray, cost: MitigationCost
) -> np.ndarray:
    r"""What the calibration's own shots add, (N, K).

    Runtime multiplies a term by :math:`\exp(2 p_w)` for each of its wires, with the rate of flips p_w that R random
    circuits of S shots show. A wire that is flipped at random reads a + b or a − b on average, so that
    :math:`4\,\mathrm{var}\,p_w = [b^2 + (1 - a^2 - b^2)/S]/R`. An observable of one term has its value to the
    first order; for sums, whose terms are not known one by one, each is taken as ±1, an upper bound.
    """
    result = np.zeros_like(values)
    for k, terms in enumerate(observables):
        relative = [
            sum(b**2 + (1 - a**2 - b**2) / cost.shots_per_circuit for a, b in lines) / cost.randomizations
            for _, lines in terms
        ]
        if len(terms) == 1:
            result[:, k] = values[:, k] ** 2 * relative[0]
        else:
            result[:, k] = sum(size**2 * share for (size, _), share in zip(terms, relative, strict=True))
    return result
