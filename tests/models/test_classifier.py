"""The classifier: its parts are the paper's, its gradients right, its weights where they should be."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from qiskit.quantum_info import SparsePauliOp, Statevector

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import AnyBackend
from qdeq_qiskit.circuits import CircuitRecipe
from qdeq_qiskit.models import ClassifierRecipe, ModelRecipe, QDEQClassifier
from qdeq_qiskit.recipes import RecipeError

POOL = {"pool": {"kernel": 2}}


def backend(**options: Any) -> Any:
    return TypeAdapter(AnyBackend).validate_python({"kind": "exact", "precision": "double", **options})


def classifier(
    model: dict[str, Any] | None = None, *, seed: int = 0, circuit: str = "qdeq4-amplitude"
) -> QDEQClassifier:
    recipe = ClassifierRecipe(
        class_names=("0", "3", "6"),
        circuit=recipes.load("circuits", circuit, CircuitRecipe),
        backend=backend(),
        model=ModelRecipe.model_validate({"features": POOL, "dropout": 0.0, **(model or {})}),
    )
    return QDEQClassifier.from_recipe(recipe, seed=seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(3))


def test_logits_are_the_head_of_a_fixed_point_that_qiskit_confirms(images: torch.Tensor) -> None:
    model = classifier().eval()
    output = model.solve(images)
    assert output.solution.converged.all()
    w = output.solution.value.detach().numpy()
    lift = np.repeat(np.eye(4), 4, axis=0)  # R[i, i // 4] = 1
    v = w @ lift.T + model.features(images).numpy()
    qnn = model.circuit
    for row in range(len(images)):
        bound = qnn.circuit.assign_parameters(
            {
                **dict(zip(qnn.input_parameters, qnn.input_values(v[row]), strict=True)),
                **dict(zip(qnn.weight_parameters, model.weight.detach().numpy(), strict=True)),
            }
        )
        state = Statevector(bound)
        value = [state.expectation_value(SparsePauliOp("I" * (3 - k) + "Z" + "I" * k)).real for k in range(4)]
        np.testing.assert_allclose(value, w[row], atol=2e-4 * np.linalg.norm(value))
    z = np.maximum(w @ lift.T, 0)
    logits = z @ model.head.weight.detach().numpy().T + model.head.bias.detach().numpy()
    np.testing.assert_allclose(output.logits.detach().numpy(), logits, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"mode": "direct", "layers": 3}])
def test_gradients_agree_with_finite_differences(images: torch.Tensor, options: dict[str, Any]) -> None:
    # Without the penalty, which is taken at a detached equilibrium and therefore has another gradient.
    model = classifier({"solver": {"kind": "newton", "tolerance": 1e-12}, "penalty": None, **options}).train()
    labels = torch.tensor([0, 1, 2, 0, 1])
    features = model.features(images)

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model.classify(features).logits, labels)

    loss().backward()
    assert model.weight.grad is not None
    step = 1e-5
    for index in (0, 7, 36, 38):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                model.weight[index] += sign * step
            values.append(loss().item())
            with torch.no_grad():
                model.weight[index] -= sign * step
        numeric = (values[0] - values[1]) / (2 * step)
        assert model.weight.grad[index].item() == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_initial_weights_are_uniform_angles_that_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = classifier(seed=5)
    torch.manual_seed(2)
    second, third = classifier(seed=5), classifier(seed=6)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.weight, third.weight)
    drawn = torch.cat([classifier(seed=seed).weight.detach() for seed in range(20)])
    assert drawn.abs().max() <= math.pi
    assert drawn.std().item() == pytest.approx(math.pi / math.sqrt(3), rel=0.1)


def test_training_the_random_layer_alone_leaves_the_block_without_gradient(images: torch.Tensor) -> None:
    model = classifier({"trainable": "random_layer"}).train()
    model.solve(images).logits.square().sum().backward()
    groups = model.circuit.weight_groups
    assert model.weight.grad is not None
    assert model.weight.grad[list(groups["random_layer"])].abs().max() > 0
    assert model.weight.grad[list(groups["block"])].abs().max() == 0


def test_a_copy_trains_the_same_group_of_weights_and_is_stored_alike(images: torch.Tensor) -> None:
    model = classifier({"trainable": "random_layer"}).train()
    copied = copy.deepcopy(model)
    for each in (model, copied):
        each(images).square().sum().backward()
    assert model.weight.grad is not None
    assert (copied.weight.grad[list(model.circuit.weight_groups["block"])] == 0).all()
    assert torch.allclose(copied.weight.grad, model.weight.grad)
    assert copied.state_dict().keys() == classifier().state_dict().keys()
    assert copied.tensors().keys() == classifier().tensors().keys()


def test_an_unknown_group_of_weights_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'random_layer'"):
        classifier({"trainable": "random_layr"})


def test_dropout_acts_in_training_only(images: torch.Tensor) -> None:
    model = classifier({"dropout": 0.5})
    model.eval()
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))


def test_warm_up_unrolls_the_first_training_steps_and_never_evaluation(images: torch.Tensor) -> None:
    model = classifier({"warmup_steps": 2, "warmup_layers": 4})
    features = model.features(images)
    model.eval()
    assert model.classify(features).solution.mode == "implicit"
    model.train()
    modes = [model.classify(features).solution.mode for _ in range(3)]
    assert modes == ["direct", "direct", "implicit"]


def test_images_of_the_wrong_size_are_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match="28×28 pixels give 196 features, but the circuit takes 16"):
        classifier().solve(torch.rand(2, 28, 28))


def test_pixels_that_are_not_finite_are_refused_with_the_image(images: torch.Tensor) -> None:
    images[3, 2, 2] = math.nan
    with pytest.raises(ValueError, match="1 images have NaN or infinite pixels, the first is image 3"):
        classifier().solve(images)


def test_another_exact_backend_gives_the_same_logits_from_copied_weights(images: torch.Tensor) -> None:
    model = classifier({"solver": {"kind": "newton", "tolerance": 1e-10}}).eval()
    other = model.on_backend(backend(engine="aer"))
    torch.testing.assert_close(other(images), model(images), atol=1e-8, rtol=0)
    assert other.equilibrium.solver == model.equilibrium.solver
    with torch.no_grad():
        other.weight.zero_()
    assert model.weight.abs().max() > 0


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"solver": {"kind": "newtn"}}, ["model.solver", "newtn", "'newton'"]),
        ({"solver": {"kind": "newton", "tolerence": 1e-3}}, ["model.solver", "tolerence", "'tolerance'"]),
        ({"adjoint": {"kind": "implict"}}, ["model.adjoint", "'implicit'"]),
        ({"penalty": {"kind": "reduce"}}, ["model.penalty", "'reduced'"]),
        ({"penalty": {"kind": "full", "weight": -1}}, ["model.penalty.weight", "-1"]),
        ({"mode": "direct", "warmup_steps": 3}, ["warmup_steps"]),
        ({"mode": "coherent", "warmup_steps": 3}, ["warmup_steps", "in mode coherent"]),
        ({"layers": 3}, ["layers is for mode direct or coherent"]),
        ({"dropout": 1.0}, ["model.dropout", "1.0"]),
    ],
)
def test_a_wrong_option_is_refused_where_it_is_written(change: dict[str, Any], parts: list[str]) -> None:
    data = {
        "class_names": ["a", "b"],
        "circuit": recipes.read_yaml(recipes.find("circuits", "qdeq4-amplitude")),
        "backend": {"kind": "exact"},
        "model": change,
    }
    with pytest.raises(RecipeError) as caught:
        recipes.check(data, ClassifierRecipe, source="model.yaml")
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(("kind", "solver"), [("exact", "newton"), ("shots", "sampled")])
def test_a_saved_model_says_which_solver_ran(kind: str, solver: str, tmp_path: Path) -> None:
    chosen = TypeAdapter(AnyBackend).validate_python({"kind": kind})
    recipe = classifier().recipe
    assert recipe is not None
    left_open = recipe.model_copy(
        update={"backend": chosen, "model": recipe.model.model_copy(update={"solver": None, "penalty": None})}
    )
    model = QDEQClassifier.from_recipe(left_open, seed=0)
    model.save(tmp_path)
    written = recipes.read_yaml(tmp_path / "model.yaml")["model"]["solver"]
    assert written["kind"] == solver
    assert written["tolerance"] == chosen.default_solver().tolerance
    assert QDEQClassifier.load(tmp_path).equilibrium.solver == chosen.default_solver()


def test_one_coherent_layer_is_one_direct_layer(images: torch.Tensor) -> None:
    coherent, direct = (classifier({"mode": mode, "layers": 1}).eval() for mode in ("coherent", "direct"))
    torch.testing.assert_close(coherent(images), direct(images), rtol=0, atol=1e-12)
    solution = coherent.solve(images).solution
    assert solution.mode == "coherent"
    assert solution.evaluations.tolist() == [1] * 5
    assert solution.circuits == 5
    assert not solution.converged.any()


def test_coherent_layers_deepen_the_circuit_and_are_differentiated(images: torch.Tensor) -> None:
    model = classifier({"mode": "coherent", "layers": 3, "trainable": "random_layer"}).eval()
    output = model.solve(images)
    deep = model.circuit.repeated(3)
    state = output.solution.value.detach().numpy()
    for row in range(len(images)):
        features = model.features(images)[row].numpy()
        values = dict(zip(deep.input_parameters, deep.input_values(features), strict=True))
        values |= dict(zip(deep.weight_parameters, model.weight.detach().numpy(), strict=True))
        qiskit = Statevector(deep.circuit.assign_parameters(values))
        expected = [qiskit.expectation_value(observable).real for observable in deep.observables]
        np.testing.assert_allclose(state[row], expected, atol=1e-10)
    output.logits.square().sum().backward()
    gradient = model.weight.grad
    assert gradient is not None
    for index in (0, 7, 20):
        sums = []
        for step in (1e-5, -1e-5):
            moved = copy.deepcopy(model)
            with torch.no_grad():
                moved.weight[index] += step
                sums.append(float(moved(images).square().sum()))
        assert float(gradient[index]) == pytest.approx((sums[0] - sums[1]) / 2e-5, abs=1e-6)
    fixed = [i for name, part in model.circuit.weight_groups.items() if name != "random_layer" for i in part]
    assert fixed
    assert not gradient[fixed].any()


def test_a_coherent_model_is_saved_loaded_and_moved_with_its_depth(images: torch.Tensor, tmp_path: Path) -> None:
    model = classifier({"mode": "coherent", "layers": 2}).eval()
    model.save(tmp_path)
    loaded = QDEQClassifier.load(tmp_path)
    torch.testing.assert_close(loaded(images), model(images), rtol=0, atol=1e-12)
    other = model.on_backend(backend(engine="aer"))
    torch.testing.assert_close(other(images), model(images), rtol=0, atol=1e-8)
    shallow = classifier({"mode": "coherent", "layers": 1}).eval()
    shallow.load_tensors(model.tensors())
    assert (shallow(images) - model(images)).abs().max() > 1e-3


def test_a_model_trained_through_its_iterations_can_be_moved_to_shots(images: torch.Tensor) -> None:
    model = classifier({"solver": {"kind": "anderson"}, "adjoint": {"kind": "unrolled"}, "penalty": None}).eval()
    shots = TypeAdapter(AnyBackend).validate_python({"kind": "shots", "shots": 100})
    moved = model.on_backend(shots)
    assert (moved.equilibrium.solver.kind, moved.equilibrium.adjoint.kind) == ("sampled", "implicit")
    with torch.no_grad():
        assert moved(images).isfinite().all()
    assert model.on_backend(backend(engine="aer")).equilibrium.adjoint.kind == "unrolled"
