"""torchdeq's solvers and ours on one and the same f: our circuit's map, started at zero, to the same tolerance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.equilibrium import (
    Anderson,
    Broyden,
    FixedPointMap,
    Newton,
    Picard,
    Solver,
    nearest_lift,
    solve,
)

from ..timing import interleaved
from .circuits import problem_of, qnn_of
from .points import points_for
from .problem import Encoding

TOLERANCE, MOST, BATCH, QUBITS = 1e-4, 50, 256, 4
OURS: dict[str, Solver] = {
    "Newton (the default)": Newton(tolerance=TOLERANCE),
    "Broyden": Broyden(tolerance=TOLERANCE, max_iterations=MOST),
    "Anderson": Anderson(tolerance=TOLERANCE, max_iterations=MOST),
    "Picard": Picard(tolerance=TOLERANCE, max_iterations=MOST),
}
THEIRS = {"Broyden": "broyden", "Anderson": "anderson", "Picard": "fixed_point_iter"}


@dataclass(frozen=True)
class SolverRecord:
    """One solver on one map.

    Attributes:
        encoding: of the features.
        library: "qdeq_qiskit" or "torchdeq".
        solver: its name.
        ms: of a solve, median; None if torchdeq is not there.
        evaluations: of f for one sample, averaged over the batch. torchdeq evaluates the whole batch until its last
            sample has converged; a Jacobian counts as one.
        converged: fraction of the samples whose relative residual, computed afresh, is within the tolerance.
        reason: why it was not measured; empty if it was.
    """

    encoding: Encoding
    library: str
    solver: str
    ms: float | None
    evaluations: float | None
    converged: float | None
    reason: str = ""

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self)


def solver_records(*, quick: bool) -> Iterator[SolverRecord]:
    """Both libraries on both encodings, in turns.

    Raises:
        AssertionError: two solvers that both call a sample solved disagree about f there.
    """
    reason = "" if find_spec("torchdeq") else "torchdeq not installed: pip install -r requirements-peers.txt"
    for encoding in ("amplitude", "angle"):
        found = _map(encoding)
        start = torch.zeros(BATCH, QUBITS, dtype=torch.float64)
        calls: dict[tuple[str, str], Callable[[], tuple[Tensor, float]]] = {}
        for name, solver in OURS.items():
            calls["qdeq_qiskit", name] = partial(_ours, found, start, solver)
        if not reason:
            for name, kind in THEIRS.items():
                calls["torchdeq", name] = partial(_theirs, found, start, kind)
        timings = interleaved(
            {f"{library}/{name}": call for (library, name), call in calls.items()},
            repetitions=2 if quick else 20,
            warmup=1,
        )
        for (library, name), call in calls.items():
            root, evaluations = call()
            solved = float((residual(found, root) <= TOLERANCE).double().mean())
            yield SolverRecord(encoding, library, name, timings[f"{library}/{name}"].median, evaluations, solved)
        if reason:
            for name in THEIRS:
                yield SolverRecord(encoding, "torchdeq", name, None, None, None, reason)


def residual(found: FixedPointMap, w: Tensor) -> Tensor:
    """‖f(w) − w‖ / ‖f(w)‖, (B,)."""
    value = found.value(w)
    return (value - w).norm(dim=1) / value.norm(dim=1)


def _map(encoding: Encoding) -> FixedPointMap:
    problem = problem_of(encoding, QUBITS)
    points = points_for(problem, BATCH)
    layer = ExactLayer(qnn_of(problem), precision="double")
    with torch.no_grad():
        layer.weight.copy_(points.weights[0])
        lift = nearest_lift(problem.num_features, QUBITS, dtype=torch.float64)
        return layer.bind(points.features[0], lift).frozen()


def _ours(found: FixedPointMap, start: Tensor, solver: Solver) -> tuple[Tensor, float]:
    with torch.no_grad():
        root = solve(found, start, solver)
    return root.w, float((root.evaluations + root.jacobian_evaluations).double().mean())


def _theirs(found: FixedPointMap, start: Tensor, kind: str) -> tuple[Tensor, float]:
    from torchdeq.solver import get_solver

    calls = 0

    def f(w: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return found.value(w)

    with torch.no_grad():
        root, _, _ = get_solver(kind)(f, start, max_iter=MOST, tol=TOLERANCE, stop_mode="rel")
    return root.view_as(start), float(calls)


def versions() -> dict[str, str]:
    """torchdeq's, if it is there."""
    return {"torchdeq": version("torchdeq")} if find_spec("torchdeq") else {}
