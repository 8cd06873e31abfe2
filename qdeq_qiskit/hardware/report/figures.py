"""Figures of a solve that a training run has not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from qdeq_qiskit.training.report.style import ACCENT, MAIN, MUTED, styled


@styled
def half_widths(half_width: np.ndarray, confidence: np.ndarray) -> Figure:
    """Each image's half-width of w*, against the probability that its class is the exact one's."""
    figure = Figure(figsize=(5.1, 3.6), layout="constrained")
    axes = figure.subplots()
    known = np.isfinite(half_width) & np.isfinite(confidence)
    sure = confidence >= 0.95
    for chosen, colour, label in ((known & sure, MAIN, "at least 95 % sure"), (known & ~sure, ACCENT, "less sure")):
        if chosen.any():
            axes.scatter(half_width[chosen], confidence[chosen], s=26, color=colour, alpha=0.8, label=label)
    axes.axhline(0.95, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(
        title="How well each image is known",
        xlabel="95 % half-width of w*, widest entry",
        ylabel="probability of the same class",
    )
    axes.set_xlim(left=0)
    axes.margins(y=0.1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    if known.any():
        axes.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none")
    return figure


@styled
def tuning_losses(losses: Sequence[float]) -> Figure:
    """The loss before each step."""
    figure = Figure(figsize=(5.1, 3.3), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses, color=MAIN, marker="o", markersize=5)
    axes.set(title="Training on the processor", xlabel="step", ylabel="cross entropy before it")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, 1.15 * max(losses) or 1.0)
    return figure
