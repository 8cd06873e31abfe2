"""Peers that compute by hand, right or wrong, and one that is not there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.peers.circuits import qnn_of
from benchmarks.peers.layer_case import CircuitLayer, LayerCase
from benchmarks.peers.layer_peer import LayerPeer
from benchmarks.peers.peer import DTYPES, Operation, Precision
from benchmarks.peers.points import Points
from benchmarks.peers.problem import Problem
from qdeq_qiskit.backends import ExactLayer


class Turned(torch.nn.Module):
    """Our layer, with its outputs off by a little, or in the opposite order of wires."""

    def __init__(self, problem: Problem, dtype: torch.dtype, *, offset: float, reversed_wires: bool) -> None:
        super().__init__()
        self.exact = ExactLayer(qnn_of(problem), precision="double" if dtype == torch.float64 else "single")
        self.offset, self.reversed_wires = offset, reversed_wires

    def forward(self, features: Tensor) -> Tensor:
        out = self.exact(features) + self.offset
        return out.flip(-1) if self.reversed_wires else out


def fake(name: str = "fake", *, offset: float = 0.0, reversed_wires: bool = False, loops: bool = False) -> LayerPeer:
    """A peer with our own layer inside."""

    def make(problem: Problem, dtype: torch.dtype) -> CircuitLayer:
        layer = Turned(problem, dtype, offset=offset, reversed_wires=reversed_wires)
        return CircuitLayer(layer, layer.exact.weight)

    return LayerPeer(name, ("torch",), make, loops=loops, checked=2 if loops else None)


def absent() -> LayerPeer:
    """A peer that nobody has installed."""

    def make(problem: Problem, dtype: torch.dtype) -> CircuitLayer:
        raise AssertionError("it is not there")

    return LayerPeer("absent", ("no-such-package",), make)


@dataclass(frozen=True)
class SlowCase:
    """A case that says that every sample takes a second."""

    case: LayerCase
    samples: int

    def value(self, operation: Operation) -> Tensor:
        return self.case.value(operation)

    def seconds(self, operation: Operation) -> float:
        return float(self.samples)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class SlowPeer:
    """A peer that goes through a batch sample by sample, a second each."""

    name: str = "slow"
    ours: bool = False
    precisions: tuple[Precision, ...] = ("double",)
    loops: bool = True
    penalised: bool = False
    checked: int | None = 1

    def missing(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return {}

    def refusal(self, problem: Problem, operation: Operation) -> str | None:
        return None

    def case(self, problem: Problem, precision: Precision, points: Points) -> SlowCase:
        dtype = DTYPES[precision]

        def layer() -> CircuitLayer:
            return fake().make(problem, dtype)

        return SlowCase(LayerCase(layer, points.to(dtype), penalised=self.penalised), points.batch)
