"""The control: a classical map with as many weights as the circuit, in its place."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import AnyBackend
from qdeq_qiskit.circuits import CircuitRecipe
from qdeq_qiskit.equilibrium import Equilibrium, Newton, Picard, nearest_lift
from qdeq_qiskit.models import ClassicalLayer, ClassifierRecipe, ModelRecipe, QDEQClassifier
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.training import TrainingRecipe

D, N, P = 16, 4, 39


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.fixture
def layer() -> ClassicalLayer:
    torch.manual_seed(5)
    return ClassicalLayer(D, N, P, dtype=torch.double)


@pytest.fixture
def lift() -> Tensor:
    return nearest_lift(D, N).double()


def by_hand(layer: ClassicalLayer, v: np.ndarray) -> np.ndarray:
    """tanh(A v/‖v‖), entry by entry."""
    theta = layer.weight.detach().numpy()
    out = np.zeros(N)
    for k in range(N):
        for i in range(D):
            out[k] += float(layer.signs[k, i]) * theta[int(layer.places[k, i])] * v[i] / np.linalg.norm(v)
    return np.tanh(out)


def classifier(map_: str = "classical", *, seed: int = 0, **model: Any) -> QDEQClassifier:
    recipe = ClassifierRecipe(
        class_names=("0", "3", "6"),
        circuit=recipes.load("circuits", "qdeq4-amplitude", CircuitRecipe),
        backend=TypeAdapter(AnyBackend).validate_python({"kind": "exact", "precision": "double"}),
        model=ModelRecipe.model_validate({"features": {"pool": {"kernel": 2}}, "dropout": 0.0, "map": map_, **model}),
    )
    return QDEQClassifier.from_recipe(recipe, seed=seed)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(3))


def test_outputs_are_those_of_the_formula_and_bounded(layer: ClassicalLayer) -> None:
    v = random(6, D)
    outputs = layer(v).detach()
    for row in range(6):
        np.testing.assert_allclose(outputs[row], by_hand(layer, v[row].numpy()), atol=1e-14)
    torch.testing.assert_close(layer(1e3 * v).detach(), outputs, atol=1e-12, rtol=0)  # the direction alone counts
    assert outputs.abs().max() < 1


@pytest.mark.parametrize(("features", "outputs", "weights"), [(16, 4, 39), (100, 10, 56), (64, 6, 40), (16, 4, 64)])
def test_every_input_reaches_every_output_and_every_weight_is_used_about_as_often(
    features: int, outputs: int, weights: int
) -> None:
    layer = ClassicalLayer(features, outputs, weights)
    assert [parameter.numel() for parameter in layer.parameters()] == [weights]
    assert layer.signs.abs().eq(1).all()
    counts = torch.bincount(layer.places.flatten(), minlength=weights)
    assert len(counts) == weights
    assert set(counts.tolist()) <= {features * outputs // weights, features * outputs // weights + 1}
    again = ClassicalLayer(features, outputs, weights)
    assert again.places.equal(layer.places), "a saved model finds its weights where they were"
    assert again.signs.equal(layer.signs)


def test_places_and_signs_are_what_saved_models_count_on() -> None:
    layer = ClassicalLayer(D, N, P)
    random_state = np.random.RandomState(1111)
    places = random_state.permutation(D * N) % P
    np.testing.assert_array_equal(layer.places.flatten(), places)
    np.testing.assert_array_equal(layer.signs.flatten(), random_state.randint(0, 2, size=D * N) * 2 - 1)


@pytest.mark.parametrize("weights", [0, 65])
def test_more_weights_than_entries_and_none_are_refused(weights: int) -> None:
    with pytest.raises(ValueError, match=rf"has {weights} weights; .*at most 64 \(4 outputs times 16 features\)"):
        ClassicalLayer(D, N, weights)


def test_jacobians_are_those_of_autograd(layer: ClassicalLayer, lift: Tensor) -> None:
    x, w = random(3, D, seed=1), random(3, N, seed=2)
    bound = layer.bind(x, lift)
    value, jacobian = bound.value_and_jacobian(w)
    torch.testing.assert_close(value, bound.value(w), atol=1e-14, rtol=0)
    unlifted = bound.unlifted_jacobian(w)
    for row in range(3):
        of_w = torch.autograd.functional.jacobian(lambda point, b=row: layer((x[b] + lift @ point)[None])[0], w[row])
        of_v = torch.autograd.functional.jacobian(lambda v: layer(v[None])[0], x[row] + lift @ w[row])
        torch.testing.assert_close(jacobian[row].detach(), of_w, atol=1e-12, rtol=0)
        torch.testing.assert_close(unlifted[row].detach(), of_v, atol=1e-12, rtol=0)
    v, outputs = bound.at_features(w)
    torch.testing.assert_close(outputs(v), value, atol=1e-14, rtol=0)
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(bound.select(rows).value(w[rows]), value[rows], atol=1e-14, rtol=0)


def test_no_input_stands_for_the_first_unit_vector_and_has_a_finite_gradient(
    layer: ClassicalLayer, lift: Tensor
) -> None:
    x = torch.zeros(1, D, dtype=torch.double, requires_grad=True)
    value, jacobian = layer.bind(x, lift).value_and_jacobian(torch.zeros(1, N, dtype=torch.double))
    np.testing.assert_allclose(value[0].detach(), by_hand(layer, np.eye(D)[0]), atol=1e-14)
    assert jacobian.eq(0).all()
    (value.sum() + jacobian.square().sum()).backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    assert x.grad.isfinite().all()
    assert layer.weight.grad.isfinite().all()


def test_features_of_another_number_or_precision_are_refused(layer: ClassicalLayer, lift: Tensor) -> None:
    with pytest.raises(ValueError, match=r"this map takes \(B, 16\)"):
        layer(random(2, 15))
    with pytest.raises(ValueError, match=r"this layer computes in torch\.float64"):
        layer.bind(random(2, D).float(), lift)


@pytest.mark.parametrize("solver", [Newton(tolerance=1e-12), Picard(tolerance=1e-12, max_iterations=1000)])
def test_the_fixed_point_is_reached_and_costs_no_circuits(layer: ClassicalLayer, lift: Tensor, solver: Any) -> None:
    x = 4 * random(8, D, seed=4)
    solution = Equilibrium(layer, lift=lift, solver=solver)(x)
    assert solution.converged.all()
    w = solution.value.detach()
    for row in range(8):
        np.testing.assert_allclose(w[row], by_hand(layer, (x[row] + lift @ w[row]).numpy()), atol=1e-10)
    assert solution.cost.circuits(solution.evaluations, solution.jacobian_evaluations) == 0


@pytest.mark.parametrize("penalty", [{"kind": "reduced", "weight": 0.5}, {"kind": "full", "weight": 0.5}, None])
def test_gradients_of_loss_and_penalty_are_those_of_finite_differences(images: Tensor, penalty: Any) -> None:
    model = classifier(penalty=penalty, solver={"kind": "newton", "tolerance": 1e-13}).train()

    def terms() -> tuple[Tensor, Tensor]:
        output = model.solve(images)
        found = output.solution.penalty
        return output.logits.square().sum(), output.logits.new_zeros(()) if found is None else found

    loss, found = terms()
    loss.backward()
    assert model.weight.grad is not None
    of_loss = model.weight.grad.clone()
    assert (found > 0) == (penalty is not None)
    start, step = model.weight.detach().clone(), 1e-5
    direction = random(P, seed=6)
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            model.weight.copy_(start + sign * step * direction)
        ends.append(terms()[0].item())
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(of_loss @ direction), rel=1e-6)


def test_the_penaltys_gradient_is_that_of_the_jacobian_at_a_fixed_state(layer: ClassicalLayer, lift: Tensor) -> None:
    x, w = random(3, D, seed=1), random(3, N, seed=2)
    layer.bind(x, lift).value_and_jacobian(w)[1].square().sum().backward()
    assert layer.weight.grad is not None
    start, direction, step, ends = layer.weight.detach().clone(), random(P, seed=6), 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            layer.weight.copy_(start + sign * step * direction)
            ends.append(layer.bind(x, lift).value_and_jacobian(w)[1].square().sum().item())
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(layer.weight.grad @ direction), rel=1e-7)


def test_the_model_has_as_many_numbers_as_the_quantum_one() -> None:
    for circuit in ("mnist4", "mnist10"):
        quantum, classical = TrainingRecipe.load(circuit), TrainingRecipe.load(f"{circuit}-classical")
        sizes = []
        for recipe in (quantum, classical):
            model = QDEQClassifier(recipe.circuit.build(), backend=recipe.backend, num_classes=4, model=recipe.model)
            sizes.append(sum(parameter.numel() for parameter in model.parameters()))
        assert sizes[0] == sizes[1]


def test_a_saved_control_is_read_back_and_told_from_a_circuit(images: Tensor, tmp_path: Path) -> None:
    model = classifier().eval()
    model.save(tmp_path / "model")
    again = QDEQClassifier.load(tmp_path / "model")
    assert again.options.map == "classical"
    torch.testing.assert_close(again(images), model(images), atol=0, rtol=0)
    torch.testing.assert_close(copy.deepcopy(model)(images), model(images), atol=0, rtol=0)
    assert model.describe() == "a classical map on cpu, double precision"
    with pytest.raises(ValueError, match=r"named \['head\.bias', 'head\.weight', 'map\.weight'\]"):
        classifier("quantum").load_tensors(model.tensors())


def test_direct_mode_applies_it_layer_by_layer(images: Tensor) -> None:
    model = classifier(mode="direct", layers=3, penalty=None).eval()
    layer, x = model.equilibrium.layer, model.features(images)
    w = torch.zeros(len(x), N, dtype=torch.double)
    assert model.equilibrium.lift is not None
    for _ in range(3):
        w = layer(x + w @ model.equilibrium.lift.mT)
    torch.testing.assert_close(model.solve(images).solution.value, w, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["shots", "noisy"])
def test_backends_that_err_have_nothing_to_act_on(kind: str) -> None:
    with pytest.raises(RecipeError, match=r"model\.map is 'classical', so there is no circuit for the shots, noise or"):
        TrainingRecipe.load("mnist4-classical", f"backend={kind}")
    shots = TrainingRecipe.load("mnist4", f"backend={kind}").backend
    with pytest.raises(ValueError, match=r"model\.map is 'classical'.*set backend to exact"):
        classifier().on_backend(shots)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (["backend=aer_cpu"], r"no circuit for the engine 'aer'"),
        (["model.mode=coherent", "model.layers=2"], r"mode 'coherent' repeats the ansatz .* map is 'classical'"),
        (["model.trainable=random_layer"], r"trainable is 'random_layer', a group of the circuit's weights"),
        (["model.map=clasical"], r"did you mean 'classical'\?"),
    ],
)
def test_what_is_said_of_a_circuit_is_refused(changes: list[str], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        TrainingRecipe.load("mnist4-classical", changes)
