"""Models for the grid of gradients: quantum and classical, as a layer of the library and as a plain f(w, x)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from equilibrium_maps import Tanh, case
from torch import Tensor, nn

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, angle_encoder, qdeq_ansatz, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, nearest_lift

LIFT = nearest_lift(16, 4).double()
MAPS = ("amplitude", "angle", "contraction", "rotation", "expanding", "tanh")
CONTRACTING = ("amplitude", "angle", "contraction", "tanh")


class OfState(nn.Module):
    """f(w, x) = q(R w + x), by the layer's own forward."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, w: Tensor, x: Tensor) -> Tensor:
        return self.layer(x + w @ LIFT.T)


@dataclass
class Model:
    """A model of the grid.

    Attributes:
        layer: what `Equilibrium` is given.
        plain: the same as f(w, x), with the same parameters.
        x: features.
        lift: R, or None.
        state_size: n.
    """

    layer: nn.Module
    plain: nn.Module
    x: Tensor
    lift: Tensor | None
    state_size: int

    def equilibrium(self, **options: object) -> Equilibrium:
        size = None if self.lift is not None else self.state_size
        return Equilibrium(self.layer, lift=self.lift, state_size=size, **options)


def circuit(encoding: str) -> QNNCircuit:
    """The paper's 4-qubit circuit with 16 features."""
    if encoding == "angle":
        return QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4))
    return QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)


@cache
def model(name: str) -> Model:
    """The named model, two samples, in double precision."""
    generator = torch.Generator().manual_seed(3)
    if name in ("amplitude", "angle"):
        qnn = circuit(name)
        weight = torch.rand(qnn.num_weights, generator=generator, dtype=torch.double) * 6.28 - 3.14
        layer = ExactLayer(qnn, precision="double", weight=nn.Parameter(weight))
        x = torch.randn(2, 16, generator=generator, dtype=torch.double)
        return Model(layer, OfState(layer), x, LIFT, 4)
    if name == "expanding":
        # ‖J‖ up to 3, but solvable: the field f(w) − w points inwards far from the root.
        turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.double))[0]
        x = torch.randn(2, 2, generator=generator, dtype=torch.double)
        injection = torch.randn(3, 2, generator=generator, dtype=torch.double)
        layer = Tanh(-3.0 * turn @ torch.diag(torch.tensor([1.0, 0.5, 0.3]).double()) @ turn.T, injection, x[0, 0] * 0)
        return Model(layer, layer, x, None, 3)
    problem = case(name, samples=2)
    return Model(problem.layer, problem.layer, problem.x, None, problem.state_size)


def pulled(layer: nn.Module, w: Tensor, x: Tensor, u: Tensor) -> list[Tensor]:
    """(x, *parameters) gradients uᵀ ∂f, at fixed w, by autograd on f itself."""
    x = x.detach().clone().requires_grad_()
    return list(torch.autograd.grad((layer(w.detach(), x) * u).sum(), [x, *layer.parameters()]))


def dense_jacobians(layer: nn.Module, w: Tensor, x: Tensor) -> Tensor:
    """∂f/∂w, (B, n, n), sample by sample."""
    rows = [
        torch.autograd.functional.jacobian(lambda point, b=b: layer(point.unsqueeze(0), x[b : b + 1])[0], w[b].detach())
        for b in range(len(x))
    ]
    return torch.stack(rows)
