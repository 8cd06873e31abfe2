"""What a training step keeps in memory, against the number of solver iterations: constant, or not.

Each measurement is a process of its own, because a process's peak memory never falls:
`python -m benchmarks.memory implicit 400` prints the megabytes that one step added to the process.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, KrasnoselskiiMann, make_adjoint, nearest_lift

from .row import Row

FEW, MANY = 4, 400
BATCH = 8192
_STATUS = Path("/proc/self/status")


def rows(*, quick: bool) -> Iterator[Row]:
    """Megabytes of one step with many iterations over the same with few, by the implicit adjoint and unrolled."""
    megabytes = {
        f"{adjoint}, {iterations} iterations": in_own_process(adjoint, iterations)
        for adjoint in ("implicit", "unrolled")
        for iterations in (FEW, MANY)
    }
    growth = {
        adjoint: megabytes[f"{adjoint}, {MANY} iterations"] / megabytes[f"{adjoint}, {FEW} iterations"]
        for adjoint in ("implicit", "unrolled")
    }
    yield Row(
        "memory",
        f"memory of a step with {MANY} solver iterations over that with {FEW}",
        growth["implicit"],
        "×",
        target=1.1,
        peer=growth["unrolled"],
        peer_name="backpropagation through the iterations (adjoint: unrolled), measured here",
        note=f"peak memory that one step of {BATCH} samples adds to a process of its own, damped iteration, 4 qubits",
        details={"megabytes": megabytes},
    )


def in_own_process(adjoint: str, iterations: int) -> float:
    """Megabytes that `added_by_a_step` finds in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", adjoint, str(iterations)]
    # Tensors go back to the system as soon as they are freed; otherwise glibc's heap, fragmenting, would be measured.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(ran.stdout)


def added_by_a_step(adjoint: str, iterations: int) -> float:
    """Megabytes by which the peak memory of this process grows in one step, forward and backward."""
    encoder, ansatz = amplitude_encoder(4, 16), qdeq_ansatz(4)
    qnn = QNNCircuit.compose(encoder, ansatz, z_readout(4), num_amplitudes=16)
    torch.manual_seed(0)
    equilibrium = Equilibrium(
        ExactLayer(qnn),
        lift=nearest_lift(16, 4),
        # Slow, with a tolerance that is never met, so that every sample takes every iteration.
        solver=KrasnoselskiiMann(tolerance=0, max_iterations=iterations, damping=0.01),
        adjoint=make_adjoint(adjoint),
        on_failure="record",
    )
    equilibrium(torch.randn(8, 16)).value.sum().backward()  # what the first step loads is not the step's
    features = torch.randn(BATCH, 16)
    before = peak_megabytes()
    solution = equilibrium(features)
    solution.value.sum().backward()
    if float(solution.iterations.double().mean()) < 0.99 * iterations:
        raise RuntimeError(f"the solver stopped after {solution.iterations.double().mean():.0f} iterations on average")
    return peak_megabytes() - before


def peak_megabytes() -> float:
    """The most memory that this process has held."""
    if _STATUS.exists():  # getrusage would count the process that started this one as well
        return _of_status("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def resident_megabytes() -> float:
    """The memory that this process holds now; where the system does not tell, the most that it has held."""
    return _of_status("VmRSS") if _STATUS.exists() else peak_megabytes()


def _of_status(name: str) -> float:
    (line,) = (line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    print(added_by_a_step(sys.argv[1], int(sys.argv[2])))
