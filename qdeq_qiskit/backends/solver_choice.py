"""A solver as recipes say it: by its kind, with the options of that kind."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Self, final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qdeq_qiskit.equilibrium import Solver, make_solver


class Choice(BaseModel):
    """One of a registry's kinds, and the options that this kind takes."""

    # An option may be infinite (.inf in YAML), and stays so when the recipe is written.
    model_config = ConfigDict(extra="allow", frozen=True, ser_json_inf_nan="constants")

    kind: str = Field(description="Which one; the other keys are its options.")

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


@final
class SolverChoice(Choice):
    """A solver: its kind and options."""

    kind: str = Field(
        description="Which solver, such as newton where values are exact, or sampled where there are shots; the other "
        "keys are its options.",
        examples=["newton"],
    )

    @classmethod
    def of(cls, solver: Solver) -> Self:
        """A solver with all its options written out, as YAML gives them back: lists, no tuples."""
        options = {field.name: getattr(solver, field.name) for field in fields(solver)}  # type: ignore[arg-type]
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
        return cls.model_validate({"kind": solver.kind, **plain})

    @model_validator(mode="after")
    def _exists(self) -> Self:
        self.make()
        return self

    def make(self) -> Solver:
        """The solver."""
        return make_solver(self.kind, **self.options)
