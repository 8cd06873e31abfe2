"""A user's torch module as the layer f(w, x), and the model that joins an equilibrium and a head."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds.shots import ShotsBackend
from qdeq_qiskit.circuits import CircuitRecipe
from qdeq_qiskit.equilibrium import (
    Anderson,
    Equilibrium,
    ImplicitAdjoint,
    Newton,
    ReducedJacobianPenalty,
    nearest_lift,
)
from qdeq_qiskit.models import DEQClassifier

PRECISE = [
    {"solver": Newton(tolerance=1e-12)},
    {
        "solver": Anderson(tolerance=1e-12, max_iterations=200),
        "adjoint": ImplicitAdjoint(solver=Anderson(tolerance=1e-12, max_iterations=200)),
    },
]


class Dense(nn.Module):
    """tanh(A w + B x + c), ‖A‖₂ ≤ 0.8 by spectral normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.of_w = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 5, bias=False), n_power_iterations=50)
        self.of_x = nn.Linear(3, 5)

    def forward(self, w: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(0.8 * self.of_w(w) + self.of_x(x))


class Convolution(nn.Module):
    """A state of two channels on a 4×4 grid, and an image of three."""

    def __init__(self) -> None:
        super().__init__()
        self.of_w = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.of_x = nn.Conv2d(3, 2, 3, padding=1)
        with torch.no_grad():
            self.of_w.weight.mul_(0.25)

    def forward(self, w: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(self.of_w(w.unflatten(1, (2, 4, 4))) + self.of_x(x)).flatten(1)


def made(kind: Any) -> tuple[nn.Module, Tensor, int]:
    """A module, a batch for it, and the size of its state."""
    torch.manual_seed(2)
    x = torch.randn(3, 3) if kind is Dense else torch.randn(3, 3, 4, 4)
    return kind().double().eval(), x.double().requires_grad_(), 5 if kind is Dense else 32


def gradients(value: Tensor, x: Tensor, module: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(value.pow(3).sum(), [x, *module.parameters()]))


@pytest.mark.parametrize("options", PRECISE)
@pytest.mark.parametrize("kind", [Dense, Convolution])
def test_the_implicit_gradient_is_that_of_autograd_through_many_iterations(kind: Any, options: dict[str, Any]) -> None:
    module, x, size = made(kind)
    w = torch.zeros(3, size, dtype=torch.double)
    for _ in range(200):
        w = module(w, x)
    expected = gradients(w, x, module)
    solution = Equilibrium(module, state_size=size, **options)(x)
    assert solution.converged.all()
    torch.testing.assert_close(solution.value, w, atol=1e-9, rtol=0)
    for found, wanted in zip(gradients(solution.value, x, module), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-8, rtol=0)


def test_a_spectral_norm_that_is_brought_up_to_date_in_training_still_has_a_fixed_point_and_gradients() -> None:
    module, x, size = made(Dense)
    module.train()
    solution = Equilibrium(module, state_size=size, on_failure="raise")(x)
    solution.value.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())


def model(**options: Any) -> DEQClassifier:
    torch.manual_seed(0)
    equilibrium = Equilibrium(Dense(), state_size=5, penalty=ReducedJacobianPenalty())
    return DEQClassifier(equilibrium, nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), **options)


def test_logits_are_what_the_head_makes_of_the_equilibrium_of_what_the_embedding_makes_of_the_inputs() -> None:
    embedding = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    whole, inputs = model(embedding=embedding).eval(), torch.randn(6, 2, 4)
    w = torch.zeros(6, 5)
    for _ in range(200):
        w = whole.equilibrium.layer(w, embedding(inputs))
    output = whole.solve(inputs)
    torch.testing.assert_close(output.logits, whole.head(w), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(whole(inputs), output.logits)
    assert output.solution.converged.all()
    assert output.labels.shape == (6,)
    output.logits.sum().backward()
    assert embedding[1].weight.grad is not None
    assert embedding[1].weight.grad.abs().max() > 0


def test_what_a_model_has_learned_is_taken_over_by_another_and_nothing_else_is() -> None:
    first, second = model(embedding=nn.Linear(3, 3)), model(embedding=nn.Linear(3, 3))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.3)
    second.load_tensors(first.tensors())
    x = torch.randn(4, 3)
    torch.testing.assert_close(first.eval()(x), second.eval()(x))
    with pytest.raises(ValueError, match=r"the weights are named \['head.0.bias'\]; expected \['embedding.bias'"):
        second.load_tensors({"head.0.bias": torch.zeros(4)})
    with pytest.raises(ValueError, match=r"embedding\.bias has shape \(2,\), but this model's is \(3,\)"):
        second.load_tensors(first.tensors() | {"embedding.bias": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"embedding\.bias holds values that are NaN"):
        second.load_tensors(first.tensors() | {"embedding.bias": torch.full((3,), math.nan)})


def test_the_state_is_dropped_in_training_only() -> None:
    dropping, x = model(dropout=0.9), torch.randn(1, 3)
    torch.testing.assert_close(dropping.eval()(x), dropping(x))
    dropping.train()
    assert len({tuple(dropping(x).flatten().tolist()) for _ in range(12)}) > 1


def test_a_layer_with_shots_says_how_sure_the_class_is_and_draws_the_same_shots_again() -> None:
    circuit = recipes.load("circuits", "qdeq4-angle", CircuitRecipe).build()
    backend = ShotsBackend(shots=512, seed=3)
    equilibrium = Equilibrium(
        backend.layer(circuit), lift=nearest_lift(16, 4), solver=backend.default_solver(), on_failure="record"
    )
    sampled, x = DEQClassifier(equilibrium, nn.Linear(16, 3)).eval(), torch.randn(2, 16)
    outputs = []
    for _ in range(2):
        sampled.restart_shots(7)
        with torch.no_grad():
            outputs.append(sampled.solve(x))
    assert outputs[0].confidence is not None
    assert ((outputs[0].confidence >= 0) & (outputs[0].confidence <= 1)).all()
    assert torch.equal(outputs[0].logits, outputs[1].logits)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": torch.relu}, "head must be of type Module; it is <built-in"),
        ({"equilibrium": nn.Linear(2, 2)}, "equilibrium must be of type Equilibrium; it is Linear"),
        ({"embedding": 3}, "embedding must be of type Module; it is 3"),
        ({"dropout": 1.0}, "dropout is 1.0; expected a probability"),
        ({"penalty_weight": math.nan}, "penalty_weight is nan; expected 0 or a finite number"),
    ],
)
def test_parts_that_do_not_serve_are_refused_in_words(options: dict[str, Any], said: str) -> None:
    parts = {"equilibrium": Equilibrium(Dense(), state_size=5), "head": nn.Linear(5, 2)} | options
    with pytest.raises(ValueError, match=said):
        DEQClassifier(parts.pop("equilibrium"), parts.pop("head"), **parts)


def test_inputs_that_are_not_finite_are_refused_with_their_number() -> None:
    x = torch.zeros(4, 3)
    x[2, 1] = math.inf
    with pytest.raises(ValueError, match="1 inputs hold NaN or infinite values, the first is input 2"):
        model()(x)
    with pytest.raises(ValueError, match="expected real numbers"):
        model()(x.to(torch.complex64))
