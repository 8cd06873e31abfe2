"""Why few samples of a product-state encoder are evaluated state by state, and many by operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps import EncodedBlock, ProductMap, WireStates
from qdeq_qiskit.circuits import QNNCircuit, angle_encoder, qdeq_ansatz, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost, Newton, nearest_lift, solve

from .row import Row
from .timing import Timing, interleaved

# Qubits and samples, on both sides of where the choice changes.
CASES = ((6, 4), (6, 256), (7, 4), (7, 256), (8, 64), (8, 2048))


def rows(*, quick: bool) -> Iterator[Row]:
    """How many times longer a solve takes in the way that is not chosen, at the least."""
    factors, details = {}, {}
    for qubits, batch in CASES[:-1] if quick else CASES:
        chosen, timings = measure(qubits, batch, repetitions=3 if quick else 10)
        other = "operators" if chosen == "states" else "states"
        case = f"{qubits} qubits, {batch} samples: {chosen}"
        factors[case] = timings[other].minimum / timings[chosen].minimum
        details[case] = {name: timing.summary() for name, timing in timings.items()}
    yield Row(
        "product-choice",
        "a solve of an angle-encoded model in the way that is chosen, by operators or state by state, against the "
        "other, least factor",
        min(factors.values()),
        "×",
        target=1,
        better="higher",
        note="new weights each time, no gradient; CPU, single precision, minima, in turns",
        details={"factors": factors, "ms": details},
    )


def measure(qubits: int, batch: int, *, repetitions: int) -> tuple[str, dict[str, Timing]]:
    """The way that the layer chooses, and both timed."""
    qnn = QNNCircuit.compose(angle_encoder(qubits, ryzxy_gates(qubits)), qdeq_ansatz(qubits), z_readout(qubits))
    torch.manual_seed(0)
    layer = ExactLayer(qnn, engine="torch")
    x, lift = torch.randn(batch, qnn.num_features), nearest_lift(qnn.num_features, qubits)
    encoder = WireStates(layer.parts.prefix, qnn.num_inputs, device=layer.device, dtype=layer.dtype)
    block = EncodedBlock(encoder, layer.engine, layer.readout)

    def by_operators() -> FixedPointMap:
        return layer.map_of(layer.operators(), layer.weight, x, lift)

    def by_states() -> FixedPointMap:
        return ProductMap(layer.factors(layer.weight), x, lift, block, MapCost())

    with torch.no_grad():
        bound = layer.bind(x, lift)
        assert isinstance(bound, ProductMap)
        chosen = "states" if isinstance(bound.outputs, EncodedBlock) else "operators"
        ways = {"operators": by_operators, "states": by_states}
        cases = {name: partial(_solved, layer, make, x.new_zeros(batch, qubits)) for name, make in ways.items()}
        return chosen, interleaved(cases, repetitions=repetitions, warmup=1)


def _solved(layer: ExactLayer, make: Callable[[], FixedPointMap], start: Tensor) -> None:
    layer.weight += 1e-3  # nothing is known from before
    solve(make(), start, Newton())
