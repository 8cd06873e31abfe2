"""The shipped training recipes, and how recipes are put together."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import AnyBackend
from qdeq_qiskit.equilibrium import Newton
from qdeq_qiskit.models import ClassifierRecipe, QDEQClassifier
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.training import TrainingRecipe

SHIPPED = [entry.name for entry in recipes.list_recipes("training")]
SIDES = {"digits": 8, "mnist": 28, "fashion_mnist": 28, "cifar10": 32}


DIRECT = {f"direct{layers}" for layers in (1, 2, 5, 10)}
ROWS = {
    **dict.fromkeys(
        ("mnist4", "mnist10", "fashion10", "cifar10"), {"warmup", "coherent2", "coherent5", "classical"} | DIRECT
    ),
    "mnist4-angle": {"warmup"} | DIRECT,
    "mnist10-angle": {"paper"},
}
DERIVED = {f"{base}-{row}" for base, rows in ROWS.items() for row in rows}
EACH_CIRCUIT_ONCE = (
    "digits",
    "mnist4",
    "mnist4-angle",
    pytest.param("mnist10", marks=pytest.mark.slow),
    "mnist10-angle",
)


loaded = cache(TrainingRecipe.load)  # several tests look at all of them


def solved(recipe: TrainingRecipe) -> None:
    """A training step of a shipped recipe on random images of the right size."""
    classes = tuple(str(k) for k in recipe.data.classes or range(10))
    model = QDEQClassifier.from_recipe(
        ClassifierRecipe(class_names=classes, circuit=recipe.circuit, backend=recipe.backend, model=recipe.model),
        seed=0,
    )
    side = SIDES[recipe.data.name]
    images = torch.rand(6, side, side, generator=torch.Generator().manual_seed(0))
    output = model.train().solve(images)
    assert output.logits.shape == (6, len(classes))
    assert output.solution.mode == ("direct" if recipe.model.warmup_steps else recipe.model.mode)
    output.logits.square().mean().backward()
    assert model.weight.grad is not None
    assert model.weight.grad.isfinite().all()
    assert model.weight.grad.abs().max() > 0


def test_the_recipes_that_were_promised_are_shipped() -> None:
    assert {"digits", "digits10", "fashion4", *ROWS, *DERIVED} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_takes_its_images_and_trains(name: str) -> None:
    solved(loaded(name))


@pytest.mark.parametrize("name", EACH_CIRCUIT_ONCE)
def test_every_circuit_that_is_trained_trains_on_aer(name: str) -> None:
    solved(TrainingRecipe.load(name, "backend=aer_cpu"))


def test_no_two_shipped_recipes_are_the_same_run() -> None:
    found: dict[str, str] = {}
    for name in SHIPPED:
        recipe = loaded(name).model_copy(update={"description": ""})
        assert found.setdefault(recipes.dump(recipe), name) == name


@pytest.mark.parametrize("base", ["mnist4", "mnist10", "fashion10", "cifar10", "mnist4-angle"])
def test_the_rows_of_a_table_differ_in_the_equilibrium_alone(base: str) -> None:
    whole = loaded(base)
    for row in ROWS[base]:
        recipe = loaded(f"{base}-{row}")
        for section in ("data", "circuit", "backend", "optimisation", "seed"):
            assert getattr(recipe, section) == getattr(whole, section), (row, section)
        for key in ("features", "dropout", "trainable", "adjoint"):
            assert getattr(recipe.model, key) == getattr(whole.model, key), (row, key)
        mode, number = re.fullmatch(r"([a-z]+)(\d*)", row).groups()  # type: ignore[union-attr]
        if number:
            assert (recipe.model.mode, recipe.model.layers) == (mode, int(number))
        else:
            changed = {"warmup": {"warmup_steps": 1500, "warmup_layers": 5}, "classical": {"map": "classical"}}[row]
            assert recipe.model == whole.model.model_copy(update=changed)


def test_the_two_engines_give_the_same_logits_and_gradients() -> None:
    outcomes = []
    for backend in ("{kind: exact, engine: torch, precision: double}", "{kind: exact, engine: aer, precision: double}"):
        recipe = TrainingRecipe.load(
            "mnist4", [f"backend={backend}", "model.solver={kind: newton, tolerance: 1e-12}", "model.dropout=0"]
        )
        model = QDEQClassifier.from_recipe(
            ClassifierRecipe(
                class_names=("a", "b"), circuit=recipe.circuit, backend=recipe.backend, model=recipe.model
            ),
            seed=3,
        )
        images = torch.rand(5, 28, 28, generator=torch.Generator().manual_seed(1))
        output = model.train().solve(images)
        penalty = output.solution.penalty
        assert penalty is not None
        (output.logits.square().mean() + penalty).backward()
        assert model.weight.grad is not None
        outcomes.append((output.logits.detach(), model.weight.grad))
    for one, two in zip(*outcomes, strict=True):
        torch.testing.assert_close(one, two, atol=1e-9, rtol=0)


def test_layers_of_the_direct_recipe_can_be_set() -> None:
    assert TrainingRecipe.load("mnist4-direct5", ["model.layers=10"]).model.layers == 10


def test_the_backend_is_swapped_by_its_name() -> None:
    assert TrainingRecipe.load("digits", ["backend=aer_cpu"]).backend.describe().startswith("exact (aer")


def test_a_group_of_weights_that_the_circuit_has_not_is_refused_in_the_recipe() -> None:
    with pytest.raises(RecipeError, match=r"model\.trainable is 'blocks'; did you mean 'block'\?"):
        TrainingRecipe.load("digits", ["model.trainable=blocks"])


def test_a_resolved_recipe_read_again_is_the_same(tmp_path: Path) -> None:
    for name in SHIPPED[::4]:  # of every set and row some
        recipe = loaded(name)
        path = tmp_path / f"{name}.yaml"
        path.write_text(recipes.dump(recipe), encoding="utf-8")
        assert TrainingRecipe.load(path) == recipe


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_recipes_leave_the_solver_to_the_backend(name: str) -> None:
    solver = loaded(name).model.solver
    assert solver is None or solver.make() != Newton()  # one that says only the default would also run on shots


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("backend.kind=exat", "did you mean 'exact'"),
        ("model.trainable=blok", "did you mean 'block'"),
        ("model.layers=3", "layers is for mode direct or coherent"),
        ("circuit.num_qubits=5", "5 qubits hold 2 to 32 amplitudes"),
        ("circuit.encoder.kind=angle", "circuit.encoder.num_amplitudes: unknown key"),
        ("model.solver=newton", "expected a mapping, such as {kind: newton}"),
        ("model.features.pool=2", "expected a mapping, such as {kernel: 2}"),
        ("optimisation=3", "expected a mapping, such as {epochs: 3}"),
        ("backend=3", "expected a mapping, such as {kind: exact}"),
        ("backend.device=gpu", "cpu, cuda, or cuda:1"),
        ("data.classes=3", "expected a list, such as [0, 3]"),
        ("optimisation.learning_rate=nan", "expected a finite number greater than 0"),
        ("optimisation.learning_rate=.inf", "expected a finite number greater than 0"),
    ],
)
def test_an_override_that_is_wrong_is_named_itself_and_answered_in_words(override: str, reason: str) -> None:
    with pytest.raises(RecipeError) as caught:
        TrainingRecipe.load("digits", ["seed=4", override])
    assert str(caught.value).startswith(f"--set {override}: ")
    assert reason in str(caught.value)


def test_a_single_override_needs_no_list() -> None:
    assert TrainingRecipe.load("digits", "optimisation.epochs=7").optimisation.epochs == 7


def test_a_recipe_of_another_kind_is_recognised() -> None:
    with pytest.raises(RecipeError, match=r"shots\.yaml: this looks like a backend recipe, not a training recipe$"):
        TrainingRecipe.load(recipes.find("backends", "shots"))
    with pytest.raises(RecipeError, match=r"the key 'kind' is missing; expected exact, .*looks like a training recipe"):
        recipes.load("backends", recipes.find("training", "digits"), AnyBackend)
