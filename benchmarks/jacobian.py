"""The Jacobian of one QNN, ours against stock Qiskit: same process, same circuit, same batch, same numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from qiskit_machine_learning.neural_networks import EstimatorQNN

from .row import Row
from .stock_circuit import angle_circuit, heisenberg_qnn, stock_qnn
from .timing import interleaved

BATCH = 256
Point = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Features, (B, 16), and weights, (39,)."""


def rows(*, quick: bool) -> Iterator[Row]:
    """Milliseconds for ∂q/∂(inputs, weights) of a batch of 256, and how many times longer stock Qiskit takes."""
    qnn = angle_circuit()
    ours, stock = heisenberg_qnn(qnn, engine="torch"), stock_qnn(qnn)
    samples = 1 if quick else 4
    difference = assert_agreement(ours, stock, samples=samples)
    timings = interleaved(
        {"ours": _jacobian_of_fresh_points(ours, BATCH), "stock": _jacobian_of_fresh_points(stock, samples)},
        repetitions={"ours": 100, "stock": 1 if quick else 5},
        warmup=1,
    )
    stock_scaled = timings["stock"].median * BATCH / samples
    details = {
        "ours": timings["ours"].summary(),
        f"stock, {samples} samples": timings["stock"].summary(),
        "largest_difference": difference,
    }
    yield Row(
        "jacobian",
        f"Jacobian of the angle-encoded 4-qubit QNN, batch {BATCH}, EstimatorQNN with HeisenbergGradient",
        timings["ours"].median,
        "ms",
        target=stock_scaled / 1000,
        peer=stock_scaled,
        peer_name=f"stock EstimatorQNN with ParamShift on Aer ({stock_scaled / BATCH / 1000:.2f} s a sample, "
        f"measured on {samples}, times {BATCH})",
        note=f"values and Jacobians agree to {difference:.0e}; stock time grows in proportion to samples; "
        "the target is a thousandth of stock",
        details=details,
    )


def assert_agreement(ours: EstimatorQNN, stock: EstimatorQNN, *, samples: int) -> float:
    """The largest difference of values and Jacobians between the two.

    Raises:
        AssertionError: they differ by more than rounding.
    """
    features, weights = next(_points(samples))
    both = [(qnn.forward(features, weights), *qnn.backward(features, weights)) for qnn in (ours, stock)]
    largest = max(float(np.abs(mine - theirs).max()) for mine, theirs in zip(*both, strict=True))
    assert largest < 1e-10, f"ours and stock Qiskit differ by {largest:.1e}"
    return largest


def _jacobian_of_fresh_points(qnn: EstimatorQNN, samples: int) -> Callable[[], object]:
    """The Jacobian at another point with each call, so that nothing kept from the last call helps."""
    points = _points(samples)
    return lambda: qnn.backward(*next(points))


def _points(samples: int) -> Iterator[Point]:
    for seed in itertools.count():
        generator = np.random.default_rng(seed)
        yield generator.normal(size=(samples, 16)), generator.uniform(-np.pi, np.pi, 39)
