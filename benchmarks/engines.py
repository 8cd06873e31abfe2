"""Why `engine: auto` means torch: one weight block and its gradient on both engines, from 2 to 8 qubits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from qiskit import QuantumCircuit

from qdeq_qiskit.backends.engines import make_engine, resolve_engine
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.circuits import qdeq_ansatz, random_layer

from .row import Row
from .timing import Timing, interleaved

QUBITS = range(2, 9)


def rows(*, quick: bool) -> Iterator[Row]:
    """All 2ⁿ columns of W(θ) and ∂L/∂θ: how many times faster the engine that `auto` picks is than the other."""
    chosen = resolve_engine("auto")
    other = "aer" if chosen == "torch" else "torch"
    timings = {qubits: measure(qubits, quick=quick) for qubits in ((2, 4, 8) if quick else QUBITS)}
    factors = {qubits: timing[other].median / timing[chosen].median for qubits, timing in timings.items()}
    first, *_, last = timings
    spans = [
        f"{name} {timings[first][name].median:.2g} to {timings[last][name].median:.3g} ms" for name in (chosen, other)
    ]
    yield Row(
        "engine-rule",
        f"W(θ) and its gradient on {first} to {last} qubits: the {chosen} engine (what auto picks) against {other}, "
        f"least factor ({', '.join(spans)})",
        min(factors.values()),
        "×",
        target=1,
        better="higher",
        note="CPU, single precision, all 2ⁿ columns, in turns",
        details={
            "factor_by_qubits": factors,
            "ms_by_qubits": {
                qubits: {name: timing[name].summary() for name in timing} for qubits, timing in timings.items()
            },
        },
    )


def measure(qubits: int, *, quick: bool) -> dict[str, Timing]:
    """Both engines on the same block, after asserting that they agree."""
    cases, results = {}, {}
    for name in ("torch", "aer"):
        cases[name] = columns_and_gradient(_ansatz(qubits), engine=name)
        results[name] = cases[name]()
    torch.testing.assert_close(results["torch"], results["aer"], atol=1e-3, rtol=1e-3)
    slow = 20 if qubits < 7 else 6
    return interleaved(cases, repetitions={"torch": 60, "aer": slow // 4 if quick else slow}, warmup=2)


def columns_and_gradient(ansatz: QuantumCircuit, *, engine: str) -> Callable[[], torch.Tensor]:
    """A function that builds all columns of a weight block and returns the gradient of a sum of theirs."""
    program = program_of(ansatz, list(ansatz.parameters))
    made = make_engine(engine, program, num_columns=2**ansatz.num_qubits)
    angles_of = program.angle_map.compile()
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(ansatz.num_parameters, generator=generator).mul_(torch.pi).requires_grad_()
    cotangent = torch.randn((2**ansatz.num_qubits, 2**ansatz.num_qubits), dtype=torch.complex64, generator=generator)

    def call() -> torch.Tensor:
        columns = made.columns(angles_of(weights))
        (gradient,) = torch.autograd.grad(columns, weights, cotangent)
        return gradient

    return call


def _ansatz(qubits: int) -> QuantumCircuit:
    """The paper's, where its blocks fit."""
    return qdeq_ansatz(qubits) if qubits >= 4 else random_layer(qubits)
