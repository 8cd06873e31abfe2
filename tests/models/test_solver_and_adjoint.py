"""Recipes of models: which solver goes with which adjoint."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from qdeq_qiskit.backends import ExactBackend, ShotsBackend
from qdeq_qiskit.equilibrium import Broyden, ImplicitAdjoint
from qdeq_qiskit.models.recipe import ModelRecipe

SHINE = {"solver": {"kind": "broyden"}, "adjoint": {"kind": "shine"}}


def test_an_adjoint_that_needs_an_inverse_is_refused_beside_a_solver_that_estimates_none() -> None:
    with pytest.raises(ValidationError, match=r"which no backend's default does: give one, such as solver: \{kind: br"):
        ModelRecipe.model_validate({"adjoint": {"kind": "shine"}})
    with pytest.raises(ValidationError, match="'newton' does not: take that one"):
        ModelRecipe.model_validate({**SHINE, "solver": {"kind": "newton"}})
    assert ModelRecipe.model_validate(SHINE).adjoint.kind == "shine"
    assert ModelRecipe.model_validate({"mode": "direct", "adjoint": {"kind": "shine"}}).mode == "direct"


def test_it_gives_way_to_the_implicit_one_on_a_backend_whose_default_estimates_none() -> None:
    moved = ModelRecipe.model_validate(SHINE).on_backend(ExactBackend(), ShotsBackend())
    assert (moved.solver, moved.adjoint.kind) == (None, "implicit")
    phantom = ModelRecipe.model_validate({"adjoint": {"kind": "phantom", "steps": 3}})
    assert phantom.on_backend(ExactBackend(), ShotsBackend()).adjoint.options == {"steps": 3}


def test_the_backward_solver_survives_the_recipes_writing() -> None:
    recipe = ModelRecipe.model_validate({"adjoint": {"kind": "implicit", "solver": {"kind": "broyden", "memory": 3}}})
    again = ModelRecipe.model_validate_json(recipe.model_dump_json())
    assert again.adjoint.make() == ImplicitAdjoint(solver=Broyden(memory=3))
