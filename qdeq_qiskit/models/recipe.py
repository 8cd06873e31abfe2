"""What a classifier is made of, as recipes say it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qdeq_qiskit.backends.kinds import AnyBackend, Backend
from qdeq_qiskit.backends.kinds.exact import ExactBackend
from qdeq_qiskit.backends.solver_choice import Choice, SolverChoice
from qdeq_qiskit.circuits import CircuitRecipe, QNNCircuit
from qdeq_qiskit.equilibrium import check_pair, make_adjoint, make_penalty, serves
from qdeq_qiskit.models.features import Features
from qdeq_qiskit.models.penalty_schedule import PenaltySchedule


@final
class AdjointChoice(Choice):
    """An adjoint: its kind and options."""

    kind: str = Field(default="implicit", description="Which one; the other keys are its options.")

    @model_validator(mode="after")
    def _exists(self) -> Self:
        self.make()
        return self

    def make(self) -> Any:
        """The adjoint."""
        return make_adjoint(self.kind, **self.options)


@final
class PenaltyChoice(Choice):
    """A Jacobian penalty: its kind, its options, and its weight in the loss."""

    kind: str = Field(default="reduced", description="Which one; the other keys are its options.")
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.8, description="Factor of the penalty in the loss."
    )
    schedule: PenaltySchedule | None = Field(
        default=None, description="How that weight changes over the epochs; null for a constant one."
    )

    @model_validator(mode="after")
    def _exists(self) -> Self:
        self.make()
        return self

    def make(self) -> Any:
        """The penalty, without its weight."""
        return make_penalty(self.kind, **self.options)


@final
class ModelRecipe(BaseModel):
    """The model around the circuit: features, equilibrium, head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    features: Features = Field(default=Features(), description="How images become the circuit's features.")
    map: Literal["quantum", "classical"] = Field(
        default="quantum",
        description="quantum: the circuit; classical: in its place a classical map with exactly as many weights, as a "
        "control.",
    )
    mode: Literal["implicit", "direct", "coherent"] = Field(
        default="implicit",
        description="implicit: the fixed point; direct: the circuit applied `layers` times, each with its own readout; "
        "coherent: one circuit with one encoding, the ansatz `layers` times, and one readout.",
    )
    layers: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Applications in direct mode, repetitions of the ansatz in coherent mode."
    )
    warmup_steps: Annotated[int, Field(ge=0, le=10**9)] = Field(
        default=0, description="First training steps that use the unrolled model; evaluation is always implicit."
    )
    warmup_layers: Annotated[int, Field(ge=1, le=1000)] = Field(default=5, description="Applications during warm-up.")
    solver: SolverChoice | None = Field(
        default=None, description="How the fixed point is found; null for the backend's own default."
    )
    test_solver: SolverChoice | None = Field(
        default=None,
        description="How it is found in evaluation mode (validation, testing, use); null for the same way.",
    )
    adjoint: AdjointChoice = Field(default=AdjointChoice(), description="How the fixed point is differentiated.")
    penalty: PenaltyChoice | None = Field(
        default=PenaltyChoice(), description="Jacobian penalty in the loss; null for none."
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="Probability that an entry of z is dropped in training."
    )
    trainable: str = Field(
        default="all", description="all, or the name of one group of the circuit's weights (random_layer, block)."
    )

    @model_validator(mode="after")
    def _classical_has_no_circuit(self) -> Self:
        if self.map == "classical" and self.mode == "coherent":
            raise ValueError(
                "mode 'coherent' repeats the ansatz of a circuit, and map is 'classical', which has none: set mode to "
                "implicit or direct, or map to quantum"
            )
        if self.map == "classical" and self.trainable != "all":
            raise ValueError(
                f"trainable is {self.trainable!r}, a group of the circuit's weights, and map is 'classical', which has "
                "no such groups: set trainable to all, or map to quantum"
            )
        return self

    @model_validator(mode="after")
    def _not_contradictory(self) -> Self:
        if self.mode != "implicit" and self.warmup_steps:
            raise ValueError(f"warmup_steps is for mode implicit; in mode {self.mode} every step is unrolled")
        if self.mode == "implicit" and self.layers != 1:
            raise ValueError("layers is for mode direct or coherent; an equilibrium has no number of layers")
        if self.mode == "implicit" and self.solver is not None:
            check_pair(self.solver.make(), self.adjoint.make())
        elif self.mode == "implicit" and self.adjoint.make().uses_inverse:
            raise ValueError(
                f"the adjoint {self.adjoint.kind!r} needs a solver that estimates the inverse of I − J, which no "
                "backend's default does: give one, such as solver: {kind: broyden}"
            )
        if self.mode == "implicit" and self.test_solver is not None:
            # There may be gradients in evaluation mode, too.
            check_pair(self.test_solver.make(), self.adjoint.make())
        return self

    def circuit(self, qnn: QNNCircuit) -> QNNCircuit:
        """The circuit that is evaluated: `qnn` itself, but in coherent mode, where its ansatz is repeated.

        Raises:
            ValueError: in coherent mode, if the circuit has no ansatz that could be repeated.
        """
        return qnn.repeated(self.layers) if self.mode == "coherent" else qnn

    def check_backend(self, backend: Backend) -> None:
        """Refuse a backend that would have nothing to act on.

        Raises:
            ValueError: the map is classical, and the backend is not the plain exact one.
        """
        if self.map == "quantum" or (isinstance(backend, ExactBackend) and backend.engine != "aer"):
            return
        what = f"engine {backend.engine!r}" if isinstance(backend, ExactBackend) else "shots, noise or processor"
        raise ValueError(
            f"model.map is 'classical', so there is no circuit for the {what} of the backend ({backend.describe()}) to "
            "act on: set backend to exact, or take a model whose model.map is quantum"
        )

    def on_backend(self, old: Backend, new: Backend) -> Self:
        """These options on another backend: between exact ones the solvers stay, else the default takes over.

        With it goes an adjoint that the new solver does not serve: one through iterations that cannot be differentiated
        through, or one that needs an estimate of the inverse.
        """
        if old.exact and new.exact:
            return self
        kept = serves(new.default_solver(), self.adjoint.make())
        return self.model_copy(
            update={"solver": None, "test_solver": None, "adjoint": self.adjoint if kept else AdjointChoice()}
        )


@final
class ClassifierRecipe(BaseModel):
    """All that a saved classifier needs besides its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    class_names: Annotated[tuple[str, ...], Field(min_length=2)] = Field(description="What each label stands for.")
    circuit: CircuitRecipe = Field(description="The circuit.")
    backend: AnyBackend = Field(description="Where it is evaluated.")
    model: ModelRecipe = Field(default=ModelRecipe(), description="What is around it.")

    @model_validator(mode="after")
    def _backend_fits(self) -> Self:
        self.model.check_backend(self.backend)
        return self

    def on_backend(self, backend: AnyBackend) -> Self:
        """The same model elsewhere."""
        return self.model_copy(update={"backend": backend, "model": self.model.on_backend(self.backend, backend)})
