r"""Operators as a machine measured them, :math:`A_k = \sum_p y_{pk} G_p`, with the errors that all samples share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor

from qdeq_qiskit.backends.machine import Machine
from qdeq_qiskit.backends.surrogate.errors import SurrogateError
from qdeq_qiskit.backends.surrogate.plan import ProbePlan
from qdeq_qiskit.backends.surrogate.probe_circuit import ProbeCircuit
from qdeq_qiskit.files import write_atomically

_TENSORS = ("values", "covariance", "duals", "uncorrected", "weight")
_NUMBERS = {"shots": int, "circuits": int, "bias_bound": float, "miscalibration_bound": float}


@final
@dataclass(frozen=True, eq=False)
class MeasuredOperators:
    """Re V† M_k V at some weights, measured; P preparations, K observables, d features.

    The ideal encoder's outputs behind the noisy weight block and readout are f_k(v) = vᵀ A_k v / ‖v‖².

    Attributes:
        values: y, (P, K).
        covariance: of each preparation's values, (P, K, K); preparations are independent of one another.
        duals: G, (P, d, d), with the preparations' calibrated errors taken out.
        uncorrected: the same for ideal preparations.
        weight: θ, (P',), where they were measured.
        design: the design's name.
        shots: spent in all, without calibrations of the readout; 0 where values are exact.
        circuits: run in all.
        bias_bound: how far any f may be off although the calibration is right.
        miscalibration_bound: how far any f may be off if the preparations do not err at all, or err twice as much.
    """

    values: Tensor = field(repr=False)
    covariance: Tensor = field(repr=False)
    duals: Tensor = field(repr=False)
    uncorrected: Tensor = field(repr=False)
    weight: Tensor = field(repr=False)
    design: str
    shots: int
    circuits: int
    bias_bound: float
    miscalibration_bound: float

    @property
    def operators(self) -> Tensor:
        """A, (K, d, d), symmetric."""
        return _combined(self.values, self.duals)

    @property
    def correction(self) -> Tensor:
        """‖A_k − A_k without the correction of the preparations‖₂, (K,).

        No f_k is moved by more; a calibration that is off by its own size would cost as much.
        """
        return torch.linalg.matrix_norm(_combined(self.values, self.duals - self.uncorrected), ord=2)

    def replicates(self, count: int, *, seed: int) -> Tensor:
        """A as they might have been measured as well, (count, K, d, d): values drawn anew about those that were.

        Args:
            count: R.
            seed: of the draws.
        """
        generator = torch.Generator().manual_seed(seed)
        values, vectors = torch.linalg.eigh(self.covariance)
        factor = vectors * values.clamp(min=0).sqrt().unsqueeze(1)
        normal = torch.randn(count, *self.values.shape, generator=generator, dtype=torch.float64)
        drawn = self.values + torch.einsum("pkl,rpl->rpk", factor, normal)
        size = self.duals.shape[1]
        return (drawn.mT @ self.duals.flatten(1)).unflatten(2, (size, size))

    def values_at(self, v: Tensor) -> Tensor:
        """f(v), (B, K), of features, (B, d)."""
        return torch.einsum("bp,pk->bk", self._coefficients(v), self.values)

    def covariance_at(self, v: Tensor) -> Tensor:
        """The covariance of the f of all B features, which share their errors, (B, K, B, K)."""
        coefficients = self._coefficients(v)
        return torch.einsum("bp,pkl,cp->bkcl", coefficients, self.covariance, coefficients)

    def figures(self) -> dict[str, Any]:
        """Figures for a result file."""
        return {
            "design": self.design,
            "preparations": len(self.values),
            "circuits": self.circuits,
            "shots": self.shots,
            "largest_correction": float(self.correction.max()),
            "bias_bound": self.bias_bound,
            "miscalibration_bound": self.miscalibration_bound,
        }

    def save(self, path: Path) -> None:
        """Write everything into one safetensors file."""
        from safetensors.torch import save

        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        metadata = {name: repr(getattr(self, name)) for name in _NUMBERS} | {"design": self.design}
        write_atomically(path, save(tensors, metadata))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            SurrogateError: the file is missing or damaged.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in _TENSORS}
                metadata = file.metadata()
            numbers = {name: kind(metadata[name]) for name, kind in _NUMBERS.items()}
            return cls(**tensors, design=metadata["design"], **numbers)
        except OSError as error:
            raise SurrogateError(f"{path}: cannot be read: {error.strerror or error}") from None
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise SurrogateError(f"{path}: holds no measured operators: {error}") from None

    def _coefficients(self, v: Tensor) -> Tensor:
        v = v.double() / v.double().norm(dim=1, keepdim=True)
        return (v.unsqueeze(2) * v.unsqueeze(1)).flatten(1) @ self.duals.flatten(1).T


def measure_operators(
    plan: ProbePlan,
    weight: Tensor,
    machine_of: Callable[[ProbeCircuit], Machine],
    *,
    shots: int | None = None,
) -> MeasuredOperators:
    """Runs every preparation once.

    Args:
        plan: what to run.
        weight: θ, (P',).
        machine_of: the machine for a probe's compiled circuit; called once for each probe, in their order.
        shots: of each circuit; None for as many as the machines take.

    Raises:
        HardwareError: a processor could not run them.
    """
    values, covariance, spent, circuits = [], [], 0, 0
    for probe in plan.probes:
        machine = machine_of(probe)
        rows, before = machine.rows_run, machine.shots_run
        measured = machine.run(probe.rows(weight), shots=shots)
        values.append(measured.values.double())
        covariance.append(measured.covariance.double())
        spent += machine.shots_run - before
        circuits += (machine.rows_run - rows) * machine.circuits_per_row
    return MeasuredOperators(
        values=torch.cat(values),
        covariance=torch.cat(covariance),
        duals=plan.frame.matrices,
        uncorrected=plan.uncorrected.matrices,
        weight=weight.detach().double().cpu().clone(),
        design=plan.design,
        shots=spent,
        circuits=circuits,
        bias_bound=plan.bias_bound,
        miscalibration_bound=plan.miscalibration_bound,
    )


def _combined(values: Tensor, duals: Tensor) -> Tensor:
    """Σ_p y_pk G_p, (K, d, d)."""
    return (values.mT @ duals.flatten(1)).unflatten(1, duals.shape[1:])
