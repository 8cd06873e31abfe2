"""`make bench-gpu`: training steps on a GPU beside the CPU, after both have given the same losses.

Prints a table, writes benchmarks/results/gpu-….json and a Markdown table beside it, which `--publish` puts into
docs/how-to/gpu.md. Without a GPU it says so and ends with exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qdeq_qiskit.backends.aer import aer_devices
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.training.recipe import TrainingRecipe
from qdeq_qiskit.training.tally import Tally

from .digit_batches import data_name, feature_batches
from .gpu_at_hand import NO_GPU
from .gpu_steps import losses, stepper, task_of
from .machine import describe_machine
from .publish import replace_between
from .report import RESULTS
from .timing import Timing

PAGE = Path("docs/how-to/gpu.md")
RECIPES = {4: "mnist4", 10: "mnist10"}
BATCHES = (256, 1024, 4096, 16384)
MOST_DIFFERENCE = 1e-6
STEPS_COMPARED = 5
SECONDS_A_CASE = 4.0


@dataclass(frozen=True)
class Role:
    """One way to make the same step.

    Attributes:
        name: in tables.
        settings: of the recipe, as `--set` takes them.
        threads: of torch on the CPU.
    """

    name: str
    settings: tuple[str, ...]
    threads: int


@dataclass(frozen=True)
class Difference:
    """How far the losses of a role are from those of the first one, over some steps in double precision."""

    qubits: int
    role: str
    difference: float


@dataclass(frozen=True)
class Measured:
    """A step of one role; milliseconds are None where it could not be made, and `note` says why.

    Attributes:
        qubits: of the circuit.
        batch: samples in a step.
        role: which way.
        least_ms: of the fastest burst of steps, for one step.
        median_ms: of the middle one.
        gpu_mb: the most memory that tensors held on the GPU, in MB of 2²⁰ bytes; None on a CPU.
        note: why there are no figures.
    """

    qubits: int
    batch: int
    role: str
    least_ms: float | None
    median_ms: float | None
    gpu_mb: int | None = None
    note: str = ""


def roles(device: str) -> list[Role]:
    """The CPU, then both GPU backends as they are shipped; on another `device` in a rehearsal."""
    there = () if device == "cuda" else (f"backend.device={device}",)
    cores = os.cpu_count() or 1
    several = [Role(f"torch on the CPU, {cores} threads", ("backend=exact",), cores)] if cores > 1 else []
    return [
        Role("torch on the CPU, 1 thread", ("backend=exact",), 1),
        *several,
        Role("torch_gpu", ("backend=torch_gpu", *there), 1),
        Role("aer_gpu", ("backend=aer_gpu", *there), 1),
    ]


def why_not(device: str) -> str | None:
    """Why nothing can be measured on a device, or None if it can."""
    if device != "cuda":
        return None
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} sees none"
    return None if "GPU" in aer_devices() else f"Aer sees {', '.join(aer_devices())} only"


def differences(device: str, qubits: Sequence[int]) -> Iterator[Difference]:
    """How far the losses of every role are from those of one thread of the CPU, in double precision."""
    exactly = ("backend.precision=double", "model.dropout=0")
    first, *others = roles(device)
    for number in qubits:
        recipe = _recipe(number, first, *exactly)
        batches = feature_batches(recipe, count=STEPS_COMPARED)
        expected = losses(_task(recipe), batches)
        for role in others:
            found = losses(_task(_recipe(number, role, *exactly)), batches)
            apart = max(abs(one - other) for one, other in zip(expected, found, strict=True))
            yield Difference(number, role.name, apart)


def measurements(device: str, qubits: Sequence[int], batches: Sequence[int], seconds: float) -> Iterator[Measured]:
    """The steps of all roles at all sizes, in the roles' precision, which is single."""
    for number in qubits:
        for batch in batches:
            for role in roles(device):
                yield _measured(number, batch, role, seconds)


def _measured(qubits: int, batch: int, role: Role, seconds: float) -> Measured:
    recipe = _recipe(qubits, role)
    before = torch.get_num_threads()
    torch.set_num_threads(role.threads)
    try:
        task = _task(recipe)
        like = next(task.classifier.parameters())
        features, labels = (torch.cat(parts)[:batch] for parts in zip(*_enough(recipe, batch), strict=True))
        on_gpu = like.device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(like.device)
        timing = _bursts(task, features.to(like), labels.to(like.device), seconds)
        held = round(torch.cuda.max_memory_allocated(like.device) / 1024**2) if on_gpu else None
        return Measured(qubits, batch, role.name, timing.minimum, timing.median, held)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return Measured(qubits, batch, role.name, None, None, note="the GPU's memory is too small")
    finally:
        torch.set_num_threads(before)


def _bursts(task: Any, features: Tensor, labels: Tensor, seconds: float) -> Timing:
    """Bursts of steps, the host waiting for the device at their ends alone, as in training; each gives one figure."""
    step = stepper(task)
    finish: Callable[[], None] = torch.cuda.synchronize if features.is_cuda else lambda: None

    def burst(count: int) -> float:
        task.tally = Tally()
        start = time.perf_counter()
        for _ in range(count):
            step(features, labels)
        finish()
        return (time.perf_counter() - start) / count

    burst(2)  # constants move, kernels load
    once = burst(1)
    count = max(1, min(20, int(seconds / 10 / once)))
    return Timing(tuple(burst(count) for _ in range(max(2, min(30, int(seconds / (once * count)))))))


def _recipe(qubits: int, role: Role, *settings: str) -> TrainingRecipe:
    return TrainingRecipe.load(RECIPES[qubits], [*role.settings, *settings])


def _task(recipe: TrainingRecipe) -> Any:
    return task_of(recipe, classes=10 if recipe.data.classes is None else len(recipe.data.classes))


def _enough(recipe: TrainingRecipe, samples: int) -> list[tuple[Tensor, Tensor]]:
    return feature_batches(recipe, count=-(-samples // 256))


def markdown(found: Sequence[Measured], apart: Sequence[Difference], machine: dict[str, Any], today: str) -> str:
    """The figures as the documentation has them: a line for each size, a column for each role."""
    names = list(dict.fromkeys(each.role for each in found))
    lines = ["| qubits | batch | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    sizes = dict.fromkeys((each.qubits, each.batch) for each in found)
    cells = {(each.qubits, each.batch, each.role): _cell(each) for each in found}
    lines += [f"| {q} | {b} | " + " | ".join(cells[q, b, name] for name in names) + " |" for q, b in sizes]
    versions = ", ".join(
        f"{name} {machine['versions'][name]}"
        for name in ("torch", "qiskit", "qiskit-aer-gpu", "qiskit-aer")
        if name in machine["versions"]
    )
    largest = max((each.difference for each in apart), default=float("nan"))
    return "\n".join(
        [
            *lines,
            "",
            f"Milliseconds a training step, median of bursts (least in brackets), single precision; with memory that "
            f"tensors held on the GPU. {machine['gpu']} beside {machine['cpu']}; {versions}; {today}. Before they were "
            f"timed, all gave the same losses over {STEPS_COMPARED} steps in double precision, to {largest:.0e}.",
        ]
    )


def _cell(measured: Measured) -> str:
    if measured.median_ms is None or measured.least_ms is None:
        return measured.note
    held = "" if measured.gpu_mb is None else f", {measured.gpu_mb} MB"
    return f"{measured.median_ms:.3g} ({measured.least_ms:.3g}){held}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, measure, write; returns the exit code."""
    options = _options(arguments)
    why = why_not(options.device)
    if why is not None:
        print(NO_GPU.format(why=why).partition("; nothing was")[0], file=sys.stderr)
        return 2
    qubits, batches = ((4,), BATCHES[:2]) if options.quick else (tuple(RECIPES), BATCHES)
    apart = []
    for difference in differences(options.device, qubits):
        apart.append(difference)
        print(f"{difference.qubits} qubits, {difference.role}: losses differ by {difference.difference:.1e} at most")
        if not difference.difference <= MOST_DIFFERENCE:
            print(f"that is more than {MOST_DIFFERENCE:g}: nothing was measured or written", file=sys.stderr)
            return 1
    found = []
    for measured in measurements(options.device, qubits, batches, options.seconds):
        found.append(measured)
        print(f"{measured.qubits} qubits, batch {measured.batch}, {measured.role}: {_cell(measured)}")
    now, machine = datetime.now(UTC), describe_machine()
    table = markdown(found, apart, machine, f"{now:%Y-%m-%d}")
    content = {
        "measured": now.isoformat(timespec="seconds"),
        "images": data_name(),
        "machine": machine,
        "device": options.device,
        "differences": [asdict(each) for each in apart],
        "steps": [asdict(each) for each in found],
    }
    path = options.output or RESULTS / f"gpu-{now:%Y-%m-%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    write_atomically(path.with_suffix(".md"), f"{table}\n")
    if options.publish and options.device == "cuda":
        replace_between(PAGE, "gpu", table)
    print(f"\n{table}\n\n{path}\n{path.with_suffix('.md')}")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="Training steps on a GPU.")
    parser.add_argument("--quick", action="store_true", help="few cases: to see that it runs, not to quote")
    parser.add_argument("--seconds", type=float, default=SECONDS_A_CASE, help="of each case [default: %(default)g]")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file [default: benchmarks/results/gpu-…]")
    parser.add_argument("--publish", action="store_true", help=f"also put the table into {PAGE}")
    # A rehearsal: what follows is tried with the CPU in the GPU's place.
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
