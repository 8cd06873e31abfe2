"""The estimator's arguments as the project's recipes, which check them and word the errors."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import AnyBackend, Backend, load_backend
from qdeq_qiskit.models import ModelRecipe
from qdeq_qiskit.sklearn.feature_layout import SOURCE, as_mapping

if TYPE_CHECKING:
    from qdeq_qiskit.training import OptimisationRecipe


def chosen_backend(backend: Any) -> Backend:
    """A backend by the name of its recipe, by the path of one, as a mapping, or itself.

    Raises:
        ValueError: there is none such.
    """
    if isinstance(backend, str | Path):
        return load_backend(backend)
    if isinstance(backend, Mapping):
        checked: Backend = recipes.check(dict(backend), AnyBackend, source=f"{SOURCE}: backend")
        return checked
    if not isinstance(backend, Backend):
        raise ValueError(
            f"backend is {backend!r}; expected the name of a backend recipe, such as 'exact', a mapping or a Backend"
        )
    return backend


def chosen_model(
    *, map: Any, mode: Any, layers: Any, solver: Any, test_solver: Any, adjoint: Any, penalty: Any, dropout: Any
) -> ModelRecipe:
    """What is around the circuit.

    Args:
        map: quantum or classical.
        mode: implicit, direct or coherent.
        layers: of the latter two.
        solver: a solver's kind, or a mapping with `kind` and options; None for the backend's default.
        test_solver: the one that predicts, in the same way; None for the same one.
        adjoint: an adjoint, in the same way.
        penalty: the weight of the reduced Jacobian penalty, 0 or None for none; or a mapping with `kind`, `weight`.
        dropout: probability that an entry of the state is dropped in training.

    Raises:
        ValueError: one of them is out of range, or they contradict each other.
    """
    if isinstance(penalty, numbers.Real):
        penalty = {"weight": penalty} if penalty else None
    data = {
        "map": map,
        "mode": mode,
        "layers": layers,
        "solver": as_mapping(solver),
        "test_solver": as_mapping(test_solver),
        "adjoint": as_mapping(adjoint),
        "penalty": as_mapping(penalty),
        "dropout": dropout,
    }
    recipe: ModelRecipe = recipes.check(data, ModelRecipe, source=SOURCE)
    return recipe


def chosen_optimisation(
    *, validation_fraction: Any, optimiser: Any, schedule: Any, **options: Any
) -> OptimisationRecipe:
    """How the weights are trained.

    Args:
        validation_fraction: share of the samples that is held out, or None.
        optimiser: an optimiser's kind, or a mapping with `kind` and options.
        schedule: a schedule of the learning rate, in the same way, or None.
        options: further fields of `OptimisationRecipe`.

    Raises:
        ValueError: one of them is out of range, or early stopping or a schedule has nothing to watch.
    """
    from qdeq_qiskit.training import OptimisationRecipe
    from qdeq_qiskit.training.schedules import PlateauSchedule

    if validation_fraction is not None and not (
        isinstance(validation_fraction, numbers.Real) and 0 < float(validation_fraction) < 1
    ):
        raise ValueError(f"validation_fraction is {validation_fraction!r}; expected a number between 0 and 1, or None")
    data = options | {"optimiser": as_mapping(optimiser), "schedule": as_mapping(schedule)}
    recipe: OptimisationRecipe = recipes.check(data, OptimisationRecipe, source=SOURCE)
    if recipe.early_stopping_patience is not None and validation_fraction is None:
        raise ValueError(
            "early_stopping_patience counts epochs without a better validation loss, so it needs samples to validate "
            "on; set validation_fraction, for instance to 0.1"
        )
    if isinstance(recipe.schedule, PlateauSchedule) and validation_fraction is None:
        raise ValueError(
            "the schedule 'plateau' watches the validation loss, so it needs samples to validate on; set "
            "validation_fraction, for instance to 0.1"
        )
    return recipe
