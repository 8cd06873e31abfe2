"""What happened to the samples of an epoch, gathered without waiting for the device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from qdeq_qiskit.equilibrium import SUCCESSES, MapCost, Reason, Solution, spectral_radius
from qdeq_qiskit.training.processes.gathering import of_all_processes


class Tally:
    """Loss, accuracy, residuals and costs over many batches; the accuracy is NaN where there are no classes.

    `add` keeps references to small tensors and computes next to nothing, so that a training step is not slowed and a
    GPU is not waited for; `summary` does the sums.
    """

    def __init__(self) -> None:
        self._loss: list[Tensor] = []
        self._correct: list[Tensor] = []
        self._residual: list[Tensor] = []
        self._iterations: list[Tensor] = []
        self._reason: list[Tensor] = []
        self._sizes: list[int] = []
        self._spent: list[tuple[MapCost, Tensor, Tensor, Tensor | None]] = []
        self._circuits = 0
        self._shots = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, solution: Solution) -> None:
        """Take in one batch."""
        self._loss.append(loss.detach())
        self._correct.append(_correct(logits.detach(), labels))
        self._residual.append(solution.relative_residual)
        self._iterations.append(solution.iterations)
        self._reason.append(solution.reason)
        self._sizes.append(len(labels))
        self.spend(solution)

    def spend(self, solution: Solution) -> None:
        """Take in what a batch has cost, and none of its figures."""
        counts = (solution.evaluations, solution.jacobian_evaluations)
        self._spent.append((solution.cost, *counts, solution.sample_shots))

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def circuits(self) -> int:
        """Circuits of all batches; waits for the device."""
        return self._circuits + _circuits((cost, values, jacobians) for cost, values, jacobians, _ in self._spent)

    @property
    def shots(self) -> int:
        """Shots of all batches; waits for the device."""
        chosen = [shots for *_, shots in self._spent if shots is not None]
        fixed = [
            (cost, values, jacobians)
            for cost, values, jacobians, shots in self._spent
            if shots is None and cost.shots_per_circuit
        ]
        return self._shots + _circuits(fixed, shots=True) + (int(torch.cat(chosen).sum()) if chosen else 0)

    def of_all_processes(self) -> Tally:
        """The tally of all processes of the run, which ask at the same time; waits for them."""
        figures = (self._loss, self._correct, self._residual, self._iterations, self._reason)
        own = [_joined([each.reshape(-1) for each in figure]) for figure in figures]
        together = Tally()
        for parts, sizes, circuits, shots in of_all_processes((own, self._sizes, self.circuits, self.shots)):
            loss, *others = parts
            together._loss.extend(scalar for part in loss for scalar in part)
            for figure, found in zip(
                (together._correct, together._residual, together._iterations, together._reason), others, strict=True
            ):
                figure.extend(found)
            together._sizes.extend(sizes)
            together._circuits += circuits
            together._shots += shots
        return together

    def latest(self) -> dict[str, float]:
        """The last batch's figures; waits for the device."""
        return {
            "loss": float(self._loss[-1]),
            "accuracy": float(self._correct[-1].float().mean()),
            "residual": float(self._residual[-1].nanmedian()),
            "iterations": float(self._iterations[-1].float().mean()),
        }

    def summary(self) -> dict[str, Any]:
        """The epoch's figures: means over samples; the residual is the median; `unconverged` is a count.

        Samples for which no fixed point was sought (direct mode, warm-up) have no residual and are not unconverged.
        """
        sizes = torch.tensor(self._sizes, dtype=torch.float64)
        loss = torch.stack(self._loss).double().cpu()
        residual = torch.cat(self._residual)
        reason = torch.cat(self._reason)
        failed = torch.ones_like(reason, dtype=torch.bool)
        for good in (*SUCCESSES, Reason.NOT_SOUGHT):
            failed &= reason != int(good)
        return {
            "loss": float((loss * sizes).sum() / sizes.sum()),
            "accuracy": float(torch.cat(self._correct).float().mean()),
            "residual": float(residual.nanmedian()),
            "worst_residual": float(residual.nan_to_num(nan=0.0, posinf=torch.inf).max()),
            "iterations": float(torch.cat(self._iterations).float().mean()),
            "unconverged": int(failed.sum()),
            "samples": len(reason),
        }


class RadiusTally:
    """Spectral radii of ∂f/∂w at the equilibria of many batches, where solutions have it."""

    def __init__(self) -> None:
        self._radii: list[Tensor] = []

    def add(self, solution: Solution) -> None:
        """Take in one batch."""
        if solution.jacobian is not None:
            self._radii.append(spectral_radius(solution.jacobian))

    def of_all_processes(self) -> RadiusTally:
        """As `Tally.of_all_processes`."""
        together = RadiusTally()
        for part in of_all_processes(_joined(self._radii)):
            together._radii.extend(part)
        return together

    def summary(self) -> dict[str, float]:
        """The median and the largest; NaN where nothing is known."""
        radii = torch.cat(self._radii).double() if self._radii else torch.zeros(0, dtype=torch.double)
        known = radii[radii.isfinite()]
        return {
            "spectral_radius": float(known.median()) if len(known) else float("nan"),
            "spectral_radius_max": float(known.max()) if len(known) else float("nan"),
        }


def _circuits(spent: Iterable[tuple[MapCost, Tensor, Tensor]], *, shots: bool = False) -> int:
    """Circuits, or shots, of batches with their evaluations of f and ∂f/∂w: each cost waits for the device once."""
    batches: dict[MapCost, list[tuple[Tensor, Tensor]]] = {}
    for cost, values, jacobians in spent:
        batches.setdefault(cost, []).append((values, jacobians))
    return sum(
        cost.circuits(*(torch.cat(each) for each in zip(*counts, strict=True)))
        * (cost.shots_per_circuit if shots else 1)
        for cost, counts in batches.items()
    )


def _joined(parts: list[Tensor]) -> list[Tensor]:
    """One tensor on the CPU, or none."""
    return [torch.cat(parts).cpu()] if parts else []


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether each sample's class is predicted, (B,); NaN where labels are no classes."""
    if labels.is_floating_point() or logits.ndim != 2:
        return logits.new_full((len(labels),), torch.nan)
    return logits.argmax(dim=1) == labels
