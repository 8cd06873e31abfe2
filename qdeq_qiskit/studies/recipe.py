"""A study, as a recipe says it: which models, under which noise, with how many shots, mitigated how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self, final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from qdeq_qiskit import recipes
from qdeq_qiskit.noise import MitigationRecipe

KIND = "studies"
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+ -]*$")]
Scale = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@final
class StudyModel(BaseModel):
    """One of the models that are compared: a training recipe with some seeds, or runs that are there already."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="What tables and figures call it (letters, digits, spaces and _ . + -).")
    training: str | dict[str, Any] | None = Field(
        default=None, description="A training recipe, by name, path or in full; null for the study's own."
    )
    set: tuple[str, ...] = Field(
        default=(), description="What is changed in the training recipe, such as model.mode=direct."
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] | None = Field(
        default=None, description="Training seeds; null for the study's own."
    )
    runs: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None, description="Folders of finished runs to take instead of training."
    )

    @field_validator("runs", mode="before")
    @classmethod
    def _one_or_several(cls, runs: Any) -> Any:
        return (runs,) if isinstance(runs, str) else runs

    @model_validator(mode="after")
    def _trained_or_given(self) -> Self:
        if self.runs is not None and (self.training is not None or self.set or self.seeds is not None):
            raise ValueError(f"model {self.name!r} has runs, so it is not trained: leave out training, set and seeds")
        return self


@final
class StudyNoise(BaseModel):
    """One kind of noise, and how strong."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str | dict[str, Any] | None = Field(
        description="A noise recipe, by name, path or in full; null for the ideal circuit."
    )
    name: Name | None = Field(default=None, description="What it is called; null for the name of the recipe.")
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)] = Field(
        default=(1.0,), description="Factors λ on the recipe's strength, each studied; 1 is the recipe as it is."
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name_alone(cls, data: Any) -> Any:
        if isinstance(data, dict) and "sources" in data and "recipe" not in data:
            name = data.get("name", "...")
            raise ValueError(f"sources are those of a recipe; expected {{name: {name}, recipe: {{sources: [...]}}}}")
        return {"recipe": data} if data is None or isinstance(data, str) else data

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if self.name is None and isinstance(self.recipe, dict):
            raise ValueError("noise in full needs a name; expected {name: ..., recipe: {sources: [...]}}")
        if self.recipe is None and self.scales != (1.0,):
            raise ValueError(
                f"scales are {list(self.scales)}, but the ideal circuit (recipe: null) has no strength; leave them out"
            )
        return self

    @property
    def called(self) -> str:
        """Its name."""
        if self.name is not None:
            return self.name
        return "ideal" if self.recipe is None else Path(str(self.recipe)).stem


@final
class StudyMitigation(BaseModel):
    """One way of mitigating errors: a name, and the keys of a mitigation recipe beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Name = Field(description="What tables and figures call it.")

    @model_validator(mode="before")
    @classmethod
    def _by_short_names(cls, data: Any) -> Any:
        if isinstance(data, str):
            return {"name": data, **MitigationRecipe.parse(data).model_dump(exclude_defaults=True)}
        return data

    @property
    def options(self) -> dict[str, Any]:
        """The mitigation recipe."""
        return dict(self.model_extra or {})


@final
class StudyRecipe(BaseModel):
    """A study: models × noise × shots × mitigation × seeds. What a YAML file in the folder `studies/` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(default="", description="One line about the study, shown in listings.")
    question: str = Field(default="", description="What the study asks; stands at the head of its report.")
    training: str | dict[str, Any] | None = Field(
        default=None, description="The training recipe of every model that names none."
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(
        default=(0,), description="Training seeds of every model that names none."
    )
    models: Annotated[tuple[StudyModel, ...], Field(min_length=1)] = Field(description="What is compared.")
    noise: Annotated[tuple[StudyNoise, ...], Field(min_length=1)] = Field(
        default=(StudyNoise(recipe=None),), description="Under which noise; names of noise recipes, or mappings."
    )
    shots: Annotated[tuple[Annotated[int, Field(ge=1)] | None, ...], Field(min_length=1)] = Field(
        default=(None,), description="Shots of each circuit; null for exact expectation values."
    )
    mitigation: Annotated[tuple[StudyMitigation | None, ...], Field(min_length=1)] = Field(
        default=(None,),
        description="How errors are mitigated: short names such as trex+zne, or {name: ...} with the keys of a "
        "mitigation recipe; null for not.",
    )
    backend: dict[str, Any] = Field(
        default={}, description="Further options of the noisy backend, such as encoder_noise, method or basis_gates."
    )
    evaluation_seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(
        default=(0,), description="Seeds of the shots, each a repetition; exact cells need none."
    )
    samples: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Test images, with the classes in their proportions; null for all."
    )
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Relative residual that the solver seeks on exact cells, so that a floor is seen; null for the "
        "models' own.",
    )
    depth_target: str | None = Field(
        default=None,
        description="The processor on which circuits are compiled to count their depth, such as fake_torino; null for "
        "what the noise belongs to.",
    )

    @field_validator("training", mode="after")
    @classmethod
    def _is_named(cls, training: Any) -> Any:
        if training == "":
            raise ValueError("expected the name or path of a training recipe")
        return training

    @model_validator(mode="after")
    def _all_is_there_once(self) -> Self:
        for model in self.models:
            if model.runs is None and model.training is None and self.training is None:
                raise ValueError(f"model {model.name!r} has no training recipe; give it `training` or `runs`")
        _check_once("models", "named", [model.name.replace(" ", "_") for model in self.models])
        _check_once("noise", "named", [noise.called for noise in self.noise])
        _check_once("mitigation", "named", [each.name if each else "none" for each in self.mitigation])
        _check_once("shots", "", ["null" if each is None else str(each) for each in self.shots])
        _check_once("evaluation_seeds", "", [str(seed) for seed in self.evaluation_seeds])
        for noise in self.noise:
            _check_once(f"scales of {noise.called}", "", [f"{scale:g}" for scale in noise.scales])
        for model in self.models:
            _check_once(f"seeds of {model.name}", "", [str(seed) for seed in model.seeds or self.seeds])
        return self

    @classmethod
    def load(cls, name_or_path: str | Path, overrides: str | tuple[str, ...] | list[str] = ()) -> Self:
        """Read a recipe by name or path, its references as they stand; see `plan` for what they lead to.

        Raises:
            RecipeError: the file, a key or a value is wrong.
        """
        recipe = recipes.load(KIND, name_or_path, cls, overrides=overrides)
        assert isinstance(recipe, cls)
        return recipe


def _check_once(key: str, how: str, entries: list[str]) -> None:
    twice = next((entry for entry in entries if entries.count(entry) > 1), None)
    if twice is not None:
        raise ValueError(f"{key}: two are {how + ' ' if how else ''}{twice}; each is studied once, so leave one out")
