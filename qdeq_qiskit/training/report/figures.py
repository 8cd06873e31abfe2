"""The report's figures; each function takes numbers and gives a figure, none touches matplotlib's global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from qdeq_qiskit.training.report.style import ACCENT, INK, MAIN, MUTED, PALE, styled


@styled
def learning_curves(
    history: Sequence[dict[str, Any]], *, best_epoch: int, control: float | None, penalised: bool = False
) -> Figure:
    """Loss, accuracy and solver iterations over epochs, and spectral radii if tracked; the chosen epoch is marked."""
    epochs = [row["epoch"] for row in history]
    tracked = any(np.isfinite(row.get("valid_spectral_radius", np.nan)) for row in history)
    figure = Figure(figsize=(14.0 if tracked else 10.5, 3.1), layout="constrained")
    loss, accuracy, iterations, *further = figure.subplots(1, 4 if tracked else 3)
    marker = "o" if len(epochs) == 1 else ""
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        axes.plot(epochs, [row[f"train_{name}"] for row in history], color=PALE, marker=marker, label="training")
        axes.plot(epochs, [row[f"valid_{name}"] for row in history], color=MAIN, marker=marker, label="validation")
    loss.set(title="Loss", ylabel="cross entropy" + " (training: + penalty)" * penalised)
    accuracy.set(title="Accuracy", ylabel="share of images recognised")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    if control is not None:
        accuracy.axhline(
            control, color=ACCENT, linewidth=1.2, linestyle=(0, (4, 3)), label="logistic regression (test)"
        )
    iterations.plot(epochs, [row["train_iterations"] for row in history], color=PALE, marker=marker, label="training")
    iterations.plot(epochs, [row["valid_iterations"] for row in history], color=MAIN, marker=marker, label="validation")
    iterations.set(title="Solver work", ylabel="iterations per image")
    for axes, name in ((loss, "loss"), (iterations, "iterations")):
        highest = max(row[f"{split}_{name}"] for split in ("train", "valid") for row in history)
        axes.set_ylim(0, 1.1 * highest or 1.0)  # a line as thick as these needs room above it
    accuracy.margins(y=0.1)
    for axes in further:
        _spectral_radii(axes, history, marker)
    for axes in (loss, accuracy, iterations, *further):
        axes.axvline(best_epoch, color=MUTED, linewidth=0.9, linestyle=":", label=f"chosen epoch ({best_epoch})")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    accuracy.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none")
    loss.legend(loc="best")
    return figure


def _spectral_radii(axes: Axes, history: Sequence[dict[str, Any]], marker: str) -> None:
    """Spectral radii of ∂f/∂w at the validation images' equilibria over epochs, beside where iteration would fail."""
    epochs = [row["epoch"] for row in history]
    for name, colour, label in (("_max", PALE, "largest"), ("", MAIN, "median")):
        radii = [row.get(f"valid_spectral_radius{name}", np.nan) for row in history]
        axes.plot(epochs, radii, color=colour, marker=marker, label=label)
    axes.axhline(1, color=ACCENT, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set(title="Contraction (validation)", ylabel="spectral radius of ∂f/∂w")
    axes.set_ylim(0, 1.1 * max(1.0, axes.get_ylim()[1]))
    axes.legend(loc="best")


@styled
def convergence(trace: np.ndarray, *, tolerance: float | None) -> Figure:
    """Relative residual against evaluations of f: median, the middle 80%, and the worst sample."""
    figure = Figure(figsize=(5.1, 4.2), layout="constrained")
    axes = figure.subplots()
    shown = np.maximum(trace, np.finfo(np.float32).tiny)
    low, median, high = np.quantile(shown, (0.1, 0.5, 0.9), axis=1)
    evaluations = np.arange(1, len(trace) + 1)
    axes.fill_between(evaluations, low, high, color=PALE, alpha=0.6, linewidth=0, label="middle 80 %")
    axes.plot(evaluations, median, color=MAIN, marker="o", markersize=4, label="median")
    axes.plot(evaluations, shown.max(axis=1), color=ACCENT, linewidth=1, linestyle=":", label="worst")
    if tolerance is not None:
        axes.axhline(tolerance, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="tolerance")
    axes.set_yscale("log")
    axes.set_ylim(top=5 * max(1.0, float(high.max())))  # a single stray sample may go a million times higher
    axes.set(
        title="How the equilibrium is approached",
        xlabel="evaluations of f",
        ylabel="relative residual  ‖f(w) − w‖ / ‖f(w)‖",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right")
    return figure


@styled
def iteration_histogram(iterations: np.ndarray) -> Figure:
    """How many solver iterations the test samples took."""
    figure = Figure(figsize=(5.1, 3.3), layout="constrained")
    axes = figure.subplots()
    counts = np.bincount(iterations.astype(int))
    axes.bar(np.arange(len(counts)), counts / counts.sum(), width=0.8, color=MAIN)
    mean = float(iterations.mean())
    axes.axvline(mean, color=ACCENT, linewidth=1.2, linestyle=(0, (4, 3)), label=f"mean {mean:.1f}")
    axes.set(title="Iterations to the equilibrium", xlabel="solver iterations", ylabel="share of test images")
    axes.set_xlim(max(-0.6, float(iterations.min()) - 1.6), len(counts) + 0.6)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper right")
    return figure


@styled
def spectral_radius(radius: np.ndarray) -> Figure:
    """Distribution of the spectral radius of ∂f/∂w at the equilibria, NaN where a sampled one was not found."""
    radius = radius[np.isfinite(radius)]
    figure = Figure(figsize=(5.1, 3.3), layout="constrained")
    axes = figure.subplots()
    limit = max(1.1, float(radius.max(initial=0)) * 1.05)
    sns.histplot(
        x=radius,
        bins=44,
        binrange=(0, limit),
        stat="probability",
        color=MAIN,
        edgecolor="white",
        linewidth=0.4,
        alpha=1,
        ax=axes,
    )
    axes.axvline(1, color=ACCENT, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.set_xlim(0, limit)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)  # room for the text
    axes.text(
        1 - 0.015 * limit,
        0.97,
        "plain iteration\nstops converging",
        color=ACCENT,
        fontsize=9,
        ha="right",
        va="top",
        transform=axes.get_xaxis_transform(),
    )
    axes.set(
        title="How strongly f contracts at the equilibrium",
        xlabel="spectral radius of ∂f/∂w",
        ylabel="share of test images",
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.grid(axis="x", visible=False)
    return figure


@styled
def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> Figure:
    """True against predicted classes, in images."""
    size = len(class_names)
    counts = np.zeros((size, size), dtype=int)
    np.add.at(counts, (labels, predicted), 1)
    figure = Figure(figsize=(5.1, 4.2), layout="constrained")
    axes = figure.subplots()
    palette = sns.light_palette(MAIN, as_cmap=True)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    sns.heatmap(
        share,
        annot=counts,
        fmt="d",
        cmap=palette,
        vmin=0,
        vmax=1,
        square=True,
        linewidths=1,
        linecolor="white",
        cbar_kws={"label": "share of the true class", "shrink": 0.85},
        xticklabels=list(class_names),
        yticklabels=list(class_names),
        annot_kws={"fontsize": 9 if size <= 6 else 7},
        ax=axes,
    )
    axes.set(title="Confusion matrix (images)", xlabel="predicted class", ylabel="true class")
    axes.tick_params(length=0)
    long_names = max(map(len, class_names)) > 3
    axes.tick_params(axis="x", rotation=45 if long_names else 0)
    axes.tick_params(axis="y", rotation=0)
    return figure


@styled
def predictions(
    pixels: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> Figure:
    """Some test images with what the model says; mistakes, if there are any, in the second row."""
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    right = np.flatnonzero(predicted == labels)
    wrong = np.flatnonzero(predicted != labels)
    columns = 8
    # Every class in turn, so that the first row is not eight times the same.
    first = [row for k in range(len(class_names)) for row in right[labels[right] == k][: columns // 2]]
    first = sorted(first, key=lambda row: (list(right[labels[right] == labels[row]]).index(row), labels[row]))[:columns]
    second = wrong[np.argsort(-confidence[wrong])][:columns]
    rows = [first] + ([list(second)] if len(second) else [])
    figure = Figure(figsize=(10.5, 1.75 * len(rows) + 0.1), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for line, chosen in enumerate(rows):
        for axes, row in zip(grid[line], chosen, strict=False):
            axes.imshow(pixels[row], cmap="gray_r", interpolation="nearest")
            answer = f"{class_names[predicted[row]]} ({confidence[row]:.0%} sure)"
            correct = predicted[row] == labels[row]
            axes.set_title(
                answer if correct else f"{class_names[labels[row]]}, read as\n{answer}",
                fontsize=8.5,
                loc="center",
                color=INK if correct else ACCENT,
                fontweight="normal",
                pad=4,
            )
    return figure
