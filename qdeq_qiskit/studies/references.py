"""What a study's names stand for: training recipes, noise recipes and runs, put in their places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qdeq_qiskit import recipes
from qdeq_qiskit.noise import NoiseRecipe
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.studies.recipe import StudyModel, StudyNoise, StudyRecipe
from qdeq_qiskit.training.recipe import KIND as TRAINING
from qdeq_qiskit.training.recipe import TrainingRecipe

NOISE = "noise"


def resolved(study: StudyRecipe, *, base: Path, source: str) -> StudyRecipe:
    """The study with every recipe that it names written out, and paths made absolute: it needs no other file.

    Args:
        study: as it was read.
        base: the folder of its file, which relative paths start from.
        source: what errors call it.

    Raises:
        RecipeError: a reference leads nowhere, or to something that is wrong.
    """
    models = [_with_recipe(model, study, base, f"{source}: models: {model.name}") for model in study.models]
    noise = [
        StudyNoise(name=entry.called, recipe=_noise(entry, base, source), scales=entry.scales) for entry in study.noise
    ]
    return study.model_copy(update={"training": None, "models": tuple(models), "noise": tuple(noise)})


def training_of(model: StudyModel, source: str) -> TrainingRecipe:
    """The training recipe of a model of a resolved study; `source` is what errors call it."""
    recipe = recipes.check(model.training, TrainingRecipe, source=source)
    assert isinstance(recipe, TrainingRecipe)
    return recipe


def noise_of(entry: StudyNoise, source: str) -> NoiseRecipe | None:
    """The noise recipe of an entry of a resolved study, None for the ideal circuit."""
    if entry.recipe is None:
        return None
    recipe = recipes.check(entry.recipe, NoiseRecipe, source=source)
    assert isinstance(recipe, NoiseRecipe)
    return recipe


def _with_recipe(model: StudyModel, study: StudyRecipe, base: Path, where: str) -> StudyModel:
    if model.runs is not None:
        runs = tuple(str(_run(path, base, where)) for path in model.runs)
        return model.model_copy(update={"runs": runs})
    given = study.training if model.training is None else model.training
    assert given is not None
    if isinstance(given, dict):
        if model.set:
            raise RecipeError(f"{where}: set changes a training recipe that is named; this one stands there in full")
        recipe = recipes.check(given, TrainingRecipe, source=f"{where}: training")
    else:
        try:
            recipe = TrainingRecipe.load(recipes.find(TRAINING, given, base=base), [*model.set])
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None
    seeds = study.seeds if model.seeds is None else model.seeds
    return StudyModel(name=model.name, training=_plain(recipe), seeds=seeds)


def _noise(entry: StudyNoise, base: Path, source: str) -> dict[str, Any] | None:
    if entry.recipe is None:
        return None
    if isinstance(entry.recipe, dict):
        return _plain(recipes.check(entry.recipe, NoiseRecipe, source=f"{source}: noise: {entry.called}"))
    try:
        return _plain(NoiseRecipe.load(recipes.find(NOISE, entry.recipe, base=base)))
    except RecipeError as error:
        raise RecipeError(f"{source}: noise: {error}") from None


def _run(text: str, base: Path, where: str) -> Path:
    for path in (base / text, Path(text)):
        if path.is_dir():
            return path.resolve()
    raise RecipeError(f"{where}: runs: {text!r} is no folder; expected a finished run, such as runs/digits-1")


def _plain(recipe: Any) -> dict[str, Any]:
    """A recipe as a mapping that YAML can hold."""
    tree: dict[str, Any] = recipe.model_dump()
    return tree
