"""The figures of the explanations: `python docs/figures.py` writes them into docs/images, in a minute."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from sklearn.datasets import load_digits

from qdeq_qiskit.backends import ExactLayer, load_backend
from qdeq_qiskit.circuits import CircuitRecipe, QNNCircuit
from qdeq_qiskit.equilibrium import (
    JFB,
    Anderson,
    Broyden,
    Equilibrium,
    KrasnoselskiiMann,
    Newton,
    PhantomGradient,
    Picard,
    Unrolled,
    nearest_lift,
)
from qdeq_qiskit.models import Features, Pooling
from qdeq_qiskit.recipes import load
from qdeq_qiskit.training.report.style import ACCENT, INK, MAIN, MUTED, PALE, style

IMAGES = Path(__file__).parent / "images"


def main(folder: Path = IMAGES) -> None:
    """Draw them all, and write them into a folder."""
    for draw in (one_qubit, solvers, gradients, encoder_noise):
        with style():
            figure = draw()
            figure.savefig(folder / f"{draw.__name__.replace('_', '-')}.png", dpi=160, bbox_inches="tight")
            plt.close(figure)


def one_qubit() -> plt.Figure:
    """An equilibrium of one qubit as the crossing of a curve with the diagonal, and what the input does to it."""
    x, theta = ParameterVector("x", 1), ParameterVector("θ", 2)
    encoder, ansatz = QuantumCircuit(1), QuantumCircuit(1)
    encoder.ry(x[0], 0)
    ansatz.rx(theta[0], 0)
    ansatz.ry(theta[1], 0)
    layer = ExactLayer(QNNCircuit.compose(encoder, ansatz, [SparsePauliOp("Z")]), precision="double")
    layer.weight.data = torch.tensor([0.4, 2.0], dtype=torch.double)
    lift = torch.ones(1, 1, dtype=torch.double)
    w = torch.linspace(-1, 1, 201, dtype=torch.double).unsqueeze(1)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.7), layout="constrained")
    with torch.no_grad():
        axes[0].plot(w, w, color=MUTED, linewidth=1, label="w")
        axes[0].plot(w, layer(w + 0.6), color=MAIN, label="f(w) = q(w + x), x = 0.6")
        path = [-0.9]
        for _ in range(12):
            path.append(float(layer(torch.tensor([[path[-1] + 0.6]], dtype=torch.double))))
        stairs = np.repeat(path, 2)
        axes[0].plot(stairs[:-1], np.r_[-0.9, stairs[2:]], color=ACCENT, linewidth=1, label="w ← f(w)")
        inputs = torch.linspace(-math.pi, math.pi, 401, dtype=torch.double).unsqueeze(1)
        solution = Equilibrium(layer, lift=lift, solver=Newton(tolerance=1e-10))(inputs)
        axes[1].plot(inputs, layer(inputs), color=MUTED, linewidth=1.2, label="one layer, q(x)")
        axes[1].plot(inputs, solution.value, color=MAIN, label="equilibrium, w*(x)")
    axes[0].set(xlabel="w", ylabel="⟨Z⟩", title="Where the circuit's output is its own input", aspect="equal")
    axes[1].set(xlabel="x", title="The same circuit, once and at equilibrium")
    axes[0].legend(loc="upper left")
    axes[1].legend(loc="lower left")
    return figure


def solvers() -> plt.Figure:
    """How fast each solver gets there on the same images."""
    layer, lift, features = _model("qdeq4-amplitude", seed=3)
    choices = {
        "newton": (Newton(tolerance=1e-12), MAIN, "-"),
        "broyden": (Broyden(tolerance=1e-12), ACCENT, "-"),
        "anderson": (Anderson(tolerance=1e-12), INK, "-"),
        "picard": (Picard(tolerance=1e-12), MUTED, "--"),
        "krasnoselskii_mann": (KrasnoselskiiMann(tolerance=1e-12, max_iterations=60), PALE, "--"),
    }
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.5), sharey=True, layout="constrained")
    for name, (solver, colour, dashes) in choices.items():
        with torch.no_grad():
            solution = Equilibrium(layer, lift=lift, solver=solver, trace=True, on_failure="record")(features)
        trace = torch.stack(solution.trace).clamp_min(1e-16)
        for axis, values in zip(axes, (trace.median(1).values, trace.max(1).values), strict=True):
            axis.semilogy(range(1, len(values) + 1), values, dashes, color=colour, label=name)
    for axis, title in zip(axes, ("Median of 256 images", "The worst of them"), strict=True):
        axis.set(xlabel="evaluations of f", title=title, xlim=(1, 30), ylim=(1e-13, 2))
    axes[0].set_ylabel("relative residual")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def gradients() -> plt.Figure:
    """How far cheaper gradients are from the exact one, over the effort that is put into them."""
    layer, lift, features = _model("qdeq4-amplitude", seed=3)
    cotangent = torch.randn(len(features), 4, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    steps = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]

    def gradient(solver: object, adjoint: object) -> torch.Tensor:
        equilibrium = Equilibrium(layer, lift=lift, solver=solver, adjoint=adjoint, on_failure="record")
        value = (equilibrium(features).value * cotangent).sum()
        return torch.autograd.grad(value, layer.weight)[0]

    exact = gradient(Newton(tolerance=1e-13), None)
    error = lambda solver, adjoint: float((gradient(solver, adjoint) - exact).norm() / exact.norm())  # noqa: E731
    found = Newton(tolerance=1e-13)
    unrolled = [error(Picard(tolerance=0.0, max_iterations=count), Unrolled()) for count in steps]
    phantom = [error(found, PhantomGradient(steps=count, damping=1.0)) for count in steps]
    damped = [error(found, PhantomGradient(steps=count, damping=0.5)) for count in steps]
    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axis.semilogy(steps, unrolled, "o-", color=ACCENT, markersize=4, label="unrolled: so many iterations w ← f(w)")
    axis.semilogy(steps, phantom, "s-", color=MAIN, markersize=4, label="phantom at w*: so many terms, τ = 1")
    axis.semilogy(steps, damped, "^-", color=PALE, markersize=4, label="the same, τ = ½")
    axis.axhline(error(found, JFB()), color=MUTED, linestyle="--", linewidth=1.2, label="jfb")
    axis.set(xlabel="iterations, or terms", ylabel="relative error", title="Weight gradients against the implicit one")
    axis.legend(loc="lower left")
    return figure


def encoder_noise() -> plt.Figure:
    """How much of what noise does is done by the encoder's gates, for both encodings."""
    scales = np.array([0.1, 0.2, 0.5, 1.0, 2.0, 4.0])
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.5), sharey=True, layout="constrained")
    for axis, name, title in zip(
        axes, ("qdeq4-amplitude", "qdeq4-angle"), ("Amplitude encoding", "Angle encoding"), strict=True
    ):
        layer, lift, features = _model(name, seed=3)
        ideal = _root(layer, lift, features)
        whole, ansatz = [], []
        for scale in scales:
            for encoder, moved in ((True, whole), (False, ansatz)):
                options = [f"noise.scale={scale}", f"encoder_noise={str(encoder).lower()}", "precision=double"]
                noisy = load_backend("noisy", options).layer(layer.qnn, weight=layer.weight)
                moved.append((_root(noisy, lift, features) - ideal).norm(dim=1).median())
        axis.loglog(0.75 * scales, whole, "o-", color=ACCENT, markersize=4, label="noise in every gate")
        axis.loglog(0.75 * scales, ansatz, "s-", color=MAIN, markersize=4, label="the encoder's gates left ideal")
        axis.set(xlabel="average two-qubit infidelity, %", title=title)
    axes[0].set_ylabel(r"$\Vert w^*_\mathrm{noisy} - w^*\Vert$, median")
    axes[0].legend(loc="upper left")
    return figure


def _root(layer: torch.nn.Module, lift: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return Equilibrium(layer, lift=lift, solver=Newton(tolerance=1e-8), on_failure="record")(features).value


def _model(circuit: str, *, seed: int) -> tuple[ExactLayer, torch.Tensor, torch.Tensor]:
    """A circuit at random weights, the lift, and 256 handwritten digits as its features, in double precision."""
    torch.manual_seed(seed)
    layer = ExactLayer(load("circuits", circuit, CircuitRecipe).build(), precision="double")
    images = torch.as_tensor(load_digits().images[:256] / 16)
    return layer, nearest_lift(16, 4).double(), Features(pool=Pooling(kernel=2)).of(images)


if __name__ == "__main__":
    main()
