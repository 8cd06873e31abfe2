"""A study's plan: every training and every cell that it takes, checked before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdeq_qiskit import __version__, recipes
from qdeq_qiskit.backends.compiled import CompiledCircuit, compile_circuit
from qdeq_qiskit.backends.kinds import Backend
from qdeq_qiskit.noise import NoiseRecipe, check_touched, fake_backends
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.studies.circuit_cost import CircuitCost, cost_of, two_qubit_error
from qdeq_qiskit.studies.digest import digest
from qdeq_qiskit.studies.recipe import StudyMitigation, StudyRecipe
from qdeq_qiskit.studies.references import noise_of
from qdeq_qiskit.studies.trained import Datasets, TrainedModel, trained_models
from qdeq_qiskit.training.chosen_backend import chosen_backend

# What a cell's figures mean; a new number makes cells of older studies count as not done.
FORMAT = "qdeq_qiskit.study.1"
IDEAL, UNMITIGATED = "ideal", "none"
BASIS_GATES = ("rz", "sx", "x", "cz")


@dataclass(frozen=True)
class Condition:
    """What a model is put under; the same for every model.

    Attributes:
        noise: its name, `ideal` without.
        recipe: the noise, scaled; None without.
        scale: the factor on the noise as its recipe has it; 0 without noise.
        shots: of each circuit; None where exact.
        mitigation: its name; `none` without.
        evaluation_seed: seed of the shots; None where exact.
        backend: all of this as a backend.
    """

    noise: str
    recipe: NoiseRecipe | None
    scale: float
    shots: int | None
    mitigation: str
    evaluation_seed: int | None
    backend: Backend


@dataclass(frozen=True)
class Cell:
    """One point of a study: a trained model under one condition.

    Attributes:
        key: a hash of all that its figures depend on.
        model: the trained model.
        condition: what it is put under.
        cost: of the compiled circuit.
        two_qubit_error: mean average gate infidelity of the two-qubit gates; None if there are none.
        samples: test images; None for all.
        tolerance: of the solver; None for the model's own.
        reference: key of the same model's exact and ideal cell; None for that cell itself.
        data_dir: folder of the data.
    """

    key: str
    model: TrainedModel
    condition: Condition
    cost: CircuitCost
    two_qubit_error: float | None
    samples: int | None
    tolerance: float | None
    reference: str | None
    data_dir: Path | None

    def labels(self) -> dict[str, Any]:
        """What the table's first columns say of the cell."""
        model, condition = self.model.recipe.model, self.condition
        return {
            "model": self.model.name,
            "mode": model.mode,
            "layers": model.layers if model.mode != "implicit" else None,
            "training_seed": self.model.seed,
            "noise": condition.noise,
            "scale": condition.scale,
            "two_qubit_error": self.two_qubit_error,
            "shots": condition.shots,
            "mitigation": condition.mitigation,
            "evaluation_seed": condition.evaluation_seed,
            "depth": self.cost.depth,
            "two_qubit_depth": self.cost.two_qubit_depth,
            "two_qubit_gates": self.cost.two_qubit_gates,
        }

    @property
    def title(self) -> str:
        """A few words for people."""
        return f"{self.model.title}, {_title(self.condition)}"


@dataclass(frozen=True)
class Plan:
    """All that a study takes.

    Attributes:
        study: the resolved recipe.
        models: every trained model.
        cells: every cell; those that others refer to stand first.
        controls: accuracy of logistic regression on the test images, by the model's name.
        class_names: what each label stands for, by the model's name.
        left_out: what the recipe's axes combine and is not studied, a line each, with the reason.
    """

    study: StudyRecipe
    models: list[TrainedModel]
    cells: list[Cell]
    controls: dict[str, float] = field(default_factory=dict)
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def make_plan(study: StudyRecipe, *, source: str, data_dir: Path | None) -> Plan:
    """The plan of a resolved study; everything is built and compiled once, to see that it can be.

    Args:
        study: with every reference resolved.
        source: what errors call the recipe.
        data_dir: folder of data that are not bundled.

    Raises:
        RecipeError, RunError, DataError, SetupError: something cannot be done; the message says what.
    """
    left_out = _left_out(study, source)
    conditions = list(_conditions(study, source))
    datasets = Datasets(data_dir)
    models = list(trained_models(study, datasets, source))
    ideal = _ideal(study, source)
    circuits = _Circuits(study, source)
    references: list[Cell] = []
    cells: list[Cell] = []
    for model in models:
        reference = _cell(study, model, ideal, circuits, data_dir, reference=None)
        references.append(reference)
        cells += [
            cell
            for condition in conditions
            if (cell := _cell(study, model, condition, circuits, data_dir, reference=reference.key)).key
            != reference.key
        ]
    by_name = {model.name: model.recipe for model in models}
    return Plan(
        study,
        models,
        [*references, *cells],
        controls={name: datasets.control(recipe, study.samples) for name, recipe in by_name.items()},
        class_names={name: datasets.of(recipe).class_names for name, recipe in by_name.items()},
        left_out=left_out,
    )


def _ideal(study: StudyRecipe, source: str) -> Condition:
    if study.backend and all(entry.recipe is None for entry in study.noise):
        # Circuits are compiled by these options, too, but nothing else would look at them.
        mild = NoiseRecipe.model_validate({"sources": [{"kind": "depolarizing", "two_qubit": 0}]})
        chosen_backend(noise=mild, shots=study.shots[0], options=study.backend, source=f"{source}: backend")
    backend = chosen_backend(noise=None, shots=None, options=study.backend, source=source)
    return Condition(IDEAL, None, 0.0, None, UNMITIGATED, None, backend)


def _conditions(study: StudyRecipe, source: str) -> Iterator[Condition]:
    """Noise × scale × shots × mitigation × evaluation seed, without the combinations that mean the same."""
    for entry in study.noise:
        recipe = noise_of(entry, f"{source}: noise: {entry.called}")
        for scale in entry.scales:
            scaled = _scaled(recipe, scale, f"{source}: noise: {entry.called}")
            for shots in study.shots:
                for mitigation in study.mitigation if recipe is not None else (None,):
                    if _is_idle(mitigation, scaled):
                        continue
                    for seed in study.evaluation_seeds if shots is not None else (None,):
                        yield _condition(study, source, entry.called, scaled, scale, shots, mitigation, seed)


def _is_idle(mitigation: StudyMitigation | None, noise: NoiseRecipe | None) -> bool:
    """Whether readout errors would be undone where there are none."""
    undone = mitigation is not None and mitigation.options.get("readout", "none") != "none"
    return undone and noise is not None and not noise.misreads


def _left_out(study: StudyRecipe, source: str) -> tuple[str, ...]:
    """A line for each mitigation of the readout about the noise whose readout does not err.

    Raises:
        RecipeError: that is all of the noise.
    """
    scaled = [
        (entry.called + ("" if scale == 1 else f" × {scale:g}"), _scaled(recipe, scale, where))
        for entry in study.noise
        for where in [f"{source}: noise: {entry.called}"]
        if (recipe := noise_of(entry, where)) is not None
        for scale in entry.scales
    ]
    lines = []
    for mitigation in filter(None, study.mitigation):
        idle = [name for name, noise in scaled if _is_idle(mitigation, noise)]
        if idle and len(idle) == len(scaled):
            raise RecipeError(
                f"{source}: mitigation: {mitigation.name} undoes readout errors, and no noise here has any "
                f"({', '.join(idle)}); leave it out, or add noise with readout errors, such as readout"
            )
        if idle:
            lines.append(f"mitigation {mitigation.name} under {', '.join(idle)}: no readout errs there")
    return tuple(lines)


def _condition(
    study: StudyRecipe,
    source: str,
    noise: str,
    recipe: NoiseRecipe | None,
    scale: float,
    shots: int | None,
    mitigation: StudyMitigation | None,
    seed: int | None,
) -> Condition:
    where = [f"noise {noise}" + ("" if scale == 1 else f" × {scale:g}")]
    where += [f"{shots} shots"] if shots else []
    where += [f"mitigation {mitigation.name}"] if mitigation else []
    backend = chosen_backend(
        noise=recipe,
        shots=shots,
        seed=seed,
        mitigation=mitigation.options if mitigation else None,
        options=study.backend,
        source=f"{source}: {', '.join(where)}",
    )
    name = mitigation.name if mitigation else UNMITIGATED
    return Condition(noise, recipe, 0.0 if recipe is None else scale, shots, name, seed, backend)


def _scaled(recipe: NoiseRecipe | None, scale: float, where: str) -> NoiseRecipe | None:
    try:
        return None if recipe is None else recipe.scaled(scale)
    except ValueError as error:
        raise RecipeError(f"{where}: scales: {scale:g} is too much: {_sentence(error)}") from None


def _cell(
    study: StudyRecipe,
    model: TrainedModel,
    condition: Condition,
    circuits: _Circuits,
    data_dir: Path | None,
    *,
    reference: str | None,
) -> Cell:
    tolerance = study.tolerance if condition.shots is None else None
    key = digest([FORMAT, __version__, model.identity, condition.backend, study.samples, tolerance])
    return Cell(
        key=key,
        model=model,
        condition=condition,
        cost=circuits.cost(model, condition),
        two_qubit_error=circuits.two_qubit_error(model, condition),
        samples=study.samples,
        tolerance=tolerance,
        reference=reference,
        data_dir=data_dir,
    )


class _Circuits:
    """The models' circuits, compiled once for each processor, and whether noise and circuit go together."""

    def __init__(self, study: StudyRecipe, source: str) -> None:
        self._study, self._source = study, source
        self._compiled: dict[tuple[str, str], CompiledCircuit] = {}
        self._errors: dict[tuple[str, str, float], float | None] = {}

    def cost(self, model: TrainedModel, condition: Condition) -> CircuitCost:
        """Depth and gates, on the processor of the noise, that of `depth_target`, or in basis gates."""
        processor = condition.recipe.processor if condition.recipe is not None else None
        if processor is None and self._study.depth_target is not None:
            return cost_of(self._compile(model, self._study.depth_target, _processor(self._study, self._source)))
        return cost_of(self._compile(model, condition.noise, processor))

    def two_qubit_error(self, model: TrainedModel, condition: Condition) -> float | None:
        """How bad the two-qubit gates are; raises if the noise does not suit the circuit."""
        recipe = condition.recipe
        if recipe is None:
            return 0.0
        key = (model.circuit_key, condition.noise, condition.scale)
        if key not in self._errors:
            compiled = self._compile(model, condition.noise, recipe.processor)
            allowed = bool(self._study.backend.get("allow_untouched", False))
            try:
                noise = recipe.build(compiled)
                check_touched(compiled.circuit, noise, allow_untouched=allowed)
            except ValueError as error:
                where = f"{self._source}: noise: {condition.noise}: model {model.name}"
                raise RecipeError(f"{where}: {_sentence(error)}") from None
            self._errors[key] = two_qubit_error(compiled, noise)
        return self._errors[key]

    def _compile(self, model: TrainedModel, name: str, processor: Any) -> CompiledCircuit:
        key = (model.circuit_key, name if processor is not None else "")
        if key not in self._compiled:
            options = self._study.backend
            target: dict[str, Any] = {"target": processor}
            if processor is None:
                target = {"basis_gates": options.get("basis_gates", BASIS_GATES)}
            try:
                self._compiled[key] = compile_circuit(
                    model.circuit(),
                    optimization_level=options.get("optimization_level", 3),
                    seed=options.get("transpiler_seed", 0),
                    **target,
                )
            except ValueError as error:
                raise RecipeError(f"{self._source}: {name}: model {model.name}: {_sentence(error)}") from None
        return self._compiled[key]


def _processor(study: StudyRecipe, source: str) -> Any:
    known, name = fake_backends(), study.depth_target
    if name not in known:
        listed = recipes.choices(name, known, "there are", more="`qdeq recipes noise` lists some")
        raise RecipeError(f"{source}: depth_target: {recipes.shown(name)} is unknown; {listed}")
    return known[name]().target


def _title(condition: Condition) -> str:
    scale = "" if condition.scale in (0, 1) else f" × {condition.scale:g}"
    parts = [condition.noise + scale]
    parts += [f"{condition.shots} shots"] if condition.shots else []
    parts += [condition.mitigation] if condition.mitigation != UNMITIGATED else []
    return ", ".join(parts)


def _sentence(error: ValueError) -> str:
    """What an error says, also one that pydantic wraps, in a line."""
    errors = getattr(error, "errors", None)
    if callable(errors):
        first = errors()[0]
        return " ".join(str(first.get("ctx", {}).get("error") or first["msg"]).split())
    return " ".join(str(error).split())
