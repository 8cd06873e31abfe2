"""A training run, as a recipe says it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self, final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import AnyBackend
from qdeq_qiskit.circuits import CircuitRecipe
from qdeq_qiskit.equilibrium import Solver
from qdeq_qiskit.models import ClassifierRecipe, ModelRecipe
from qdeq_qiskit.training.data.datasets import DataRecipe
from qdeq_qiskit.training.data.images import ImageSplits
from qdeq_qiskit.training.optimisers import AdamOptimiser, AnyOptimiser, check_decay
from qdeq_qiskit.training.schedules import AnySchedule

KIND = "training"
REFERENCES = {"circuit": "circuits", "backend": "backends", "backend.noise": "noise"}


@final
class OptimisationRecipe(BaseModel):
    """How the weights are trained: optimiser, learning rate, clipped gradients, the best epoch by validation loss."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=100, description="Passes over the training set.")
    batch_size: Annotated[int, Field(ge=1, le=10**9)] = Field(default=256, description="Samples in an optimiser step.")
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=5e-3, description="The optimiser's step size; with a schedule, the full one."
    )
    optimiser: AnyOptimiser = Field(default=AdamOptimiser(), description="What takes the steps.")
    schedule: AnySchedule | None = Field(
        default=None, description="How the learning rate changes; null for a constant one."
    )
    gradient_clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=0.25, description="Largest norm of the gradient of all weights together; null for no limit."
    )
    early_stopping_patience: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Stop after so many epochs without a better validation loss; null for never."
    )
    track_spectral_radius: bool = Field(
        default=False,
        description="Whether each epoch's figures have the spectral radius of ∂f/∂w at the validation samples' "
        "equilibria, its median and its largest; for solvers that know the Jacobian there.",
    )
    processes: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1,
        description="Processes that compute a share of every batch each, on a GPU each where the backend is on GPUs; "
        "for large sets or circuits. The batch size is of all of them together.",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=1,
        description="CPU threads of torch in each process, null for its own choice; small circuits gain nothing from "
        "more than one, and lose much where other programs run.",
    )

    @model_validator(mode="after")
    def _every_process_has_a_sample(self) -> Self:
        if self.processes > self.batch_size:
            raise ValueError(
                f"processes is {self.processes}, but a batch has {self.batch_size} samples; every process needs one: "
                "expected at most as many as batch_size"
            )
        return self


@final
class TrainingRecipe(BaseModel):
    """A training recipe: what a YAML file in the folder `training/` holds.

    `circuit` and `backend` are names of recipes of their own, or stand here in full.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(default="", description="One line about the run, shown in listings.")
    data: DataRecipe = Field(description="The images.")
    circuit: CircuitRecipe = Field(description="The circuit, or the name of a recipe in circuits/.")
    backend: AnyBackend = Field(description="Where it is evaluated, or the name of a recipe in backends/.")
    model: ModelRecipe = Field(default=ModelRecipe(), description="What is around the circuit.")
    optimisation: OptimisationRecipe = Field(default=OptimisationRecipe(), description="How it is trained.")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0, description="Seed of initial weights, batch order and dropout; the data are split by another one."
    )

    @model_validator(mode="after")
    def _trainable_exists(self) -> Self:
        group = self.model.trainable
        groups = ["all", *self.circuit.build().weight_groups]
        if group not in groups:
            close = recipes.nearest(group, groups)
            hint = f"did you mean {close!r}? " if close else ""
            raise ValueError(f"model.trainable is {group!r}; {hint}this circuit has {', '.join(groups)}")
        return self

    @model_validator(mode="after")
    def _map_fits(self) -> Self:
        self.model.check_backend(self.backend)
        return self

    @model_validator(mode="after")
    def _optimisation_fits(self) -> Self:
        check_decay(self.optimisation.optimiser, self.model.trainable)
        if self.optimisation.track_spectral_radius and self.model.mode != "implicit":
            raise ValueError(
                f"optimisation.track_spectral_radius is for equilibria; in mode {self.model.mode} there are none: set "
                "it to false"
            )
        if self.optimisation.track_spectral_radius and not self.testing_solver().uses_jacobian:
            raise ValueError(
                f"optimisation.track_spectral_radius is for solvers that know the Jacobian, and "
                f"{self.testing_solver().kind!r} does not: set it to false, or model.test_solver to {{kind: newton}}"
            )
        return self

    def training_solver(self) -> Solver:
        """The solver in training."""
        return self.model.solver.make() if self.model.solver else self.backend.default_solver()

    def testing_solver(self) -> Solver:
        """The solver in validation and testing."""
        return self.model.test_solver.make() if self.model.test_solver else self.training_solver()

    @classmethod
    def load(cls, name_or_path: str | Path, overrides: str | tuple[str, ...] | list[str] = ()) -> Self:
        """Read a recipe by name or path; overrides are `"optimisation.epochs=20"` each, or a single one.

        Raises:
            RecipeError: the file, a key or a value is wrong.
        """
        recipe = recipes.load(KIND, name_or_path, cls, overrides=overrides, references=REFERENCES)
        assert isinstance(recipe, cls)
        return recipe

    def classifier(self, splits: ImageSplits) -> ClassifierRecipe:
        """The recipe of the classifier that this run trains."""
        return ClassifierRecipe(
            class_names=splits.class_names, circuit=self.circuit, backend=self.backend, model=self.model
        )
