"""How sure mitigated values are: the share of the extrapolation, and that of the readout's calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qiskit.quantum_info import Pauli

from qdeq_qiskit.noise.assignment_inversion import readout_line
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.mitigation import MitigationCost, ZeroNoiseExtrapolation


def extrapolation_weights(
    zne: ZeroNoiseExtrapolation, curved: np.ndarray, at_zero: np.ndarray, values: np.ndarray, variances: np.ndarray
) -> np.ndarray:
    """The derivatives of the fit at zero by the values at the noise factors, (..., F).

    Runtime's own variance is no use: it is scaled by the residuals of the fit, of which there are one or two.

    Args:
        zne: says which curve was fitted.
        curved: where the fit is none by a line, (...).
        at_zero: the fit at zero, (...).
        values: at the noise factors, (..., F).
        variances: of these, (..., F).
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
    return np.asarray(np.einsum("...j,...fj,...f->...f", np.linalg.pinv(normal)[..., 0, :], design, precision))


def calibration_covariance(
    strings: Sequence[Pauli], values: np.ndarray, noise: CircuitNoise, cost: MitigationCost
) -> np.ndarray:
    r"""What the calibration's own shots add to the covariance of Pauli strings, (N, T, T), of values (N, T).

    Runtime multiplies a string by :math:`\exp(2 p_w)` for each of its wires, with the rate of flips p_w that R random
    circuits of S shots show. A wire that is flipped at random reads a + b or a − b on average, so that
    :math:`4\,\mathrm{var}\,p_w = [b^2 + (1 - a^2 - b^2)/S]/R`. To first order two strings share the error of the wires
    that both have.
    """
    supports = np.array([string.z | string.x for string in strings])  # (T, n)
    shares = np.zeros(supports.shape[1])
    for wire in np.flatnonzero(supports.any(axis=0)):
        a, b = readout_line(noise, int(wire))
        shares[wire] = (b**2 + (1 - a**2 - b**2) / cost.shots_per_circuit) / cost.randomizations
    return np.asarray(values[:, :, None] * ((supports * shares) @ supports.T) * values[:, None, :])
