"""Why few samples, or many amplitudes, are sent through the weight block as states, and others met by operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps import AmplitudeStates, AmplitudeStatesMap
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, FixedPointMap, MapCost, nearest_lift

from .row import Row
from .timing import Timing, interleaved

# Qubits, amplitudes and samples, on both sides of where the choice changes.
CASES = ((6, 64, 8), (6, 64, 256), (8, 256, 64), (10, 100, 8), (10, 100, 256), (10, 400, 256), (10, 512, 256))


def rows(*, quick: bool) -> Iterator[Row]:
    """How many times longer a training step takes in the way that is not chosen, at the least."""
    factors, details = {}, {}
    for qubits, amplitudes, batch in CASES[:-2] if quick else CASES:
        chosen, timings = measure(qubits, amplitudes, batch, repetitions=10 if quick else 30)
        other = "operators" if chosen == "states" else "states"
        case = f"{qubits} qubits, {amplitudes} amplitudes, {batch} samples: {chosen}"
        factors[case] = timings[other].minimum / timings[chosen].minimum
        details[case] = {name: timing.summary() for name, timing in timings.items()}
    yield Row(
        "amplitude-choice",
        "a training step of an amplitude-encoded model in the way that is chosen, by operators or by the batch's "
        "states, against the other, least factor",
        min(factors.values()),
        "×",
        target=1,
        better="higher",
        note="solve and gradient of the weights, new weights each time; CPU, single precision, minima, in turns",
        details={"factors": factors, "ms": details},
    )


def measure(qubits: int, amplitudes: int, batch: int, *, repetitions: int) -> tuple[str, dict[str, Timing]]:
    """The way that the layer chooses, and both timed."""
    encoder = amplitude_encoder(qubits, amplitudes)
    qnn = QNNCircuit.compose(encoder, qdeq_ansatz(qubits), z_readout(qubits), num_amplitudes=amplitudes)
    torch.manual_seed(0)
    layer = ExactLayer(qnn, engine="torch")
    x, lift = torch.randn(batch, amplitudes), nearest_lift(amplitudes, qubits)
    states = AmplitudeStates(layer.engine, layer.readout)

    def by_operators() -> FixedPointMap:
        return layer.map_of(layer.operators(), layer.weight, x, lift)

    def by_states() -> FixedPointMap:
        return AmplitudeStatesMap(layer.factors(layer.weight), x, lift, states, MapCost())

    chosen = "states" if isinstance(layer.bind(x, lift), AmplitudeStatesMap) else "operators"
    cases = {
        name: partial(_step, Equilibrium(layer, lift=lift, on_failure="record"), layer, make, x)
        for name, make in {"operators": by_operators, "states": by_states}.items()
    }
    return chosen, interleaved(cases, repetitions=repetitions, warmup=2)


def _step(equilibrium: Equilibrium, layer: ExactLayer, make: Callable[[], FixedPointMap], x: Tensor) -> None:
    equilibrium.map = lambda _: make()  # type: ignore[method-assign]
    (gradient,) = torch.autograd.grad(equilibrium(x).value.square().sum(), layer.weight)
    with torch.no_grad():
        layer.weight.sub_(gradient, alpha=1e-4)
