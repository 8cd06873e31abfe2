"""The rows of a reproduction: each a training recipe, with what it is called in tables and figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qdeq_qiskit import recipes
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.reproduction.recipe import QuickChanges
from qdeq_qiskit.studies.digest import digest
from qdeq_qiskit.training.recipe import KIND as TRAINING
from qdeq_qiskit.training.recipe import TrainingRecipe

CLASSICAL = "classical"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        table: the table's name.
        name: the training recipe's name.
        recipe: that recipe, resolved; its seed is that of the first run.
        depth_target: the processor that its circuit is compiled for.
    """

    table: str
    name: str
    recipe: TrainingRecipe
    depth_target: str

    @classmethod
    def of(cls, table: str, training: str, *, base: Path, depth_target: str, quick: QuickChanges | None) -> Row:
        """The row of a training recipe.

        Args:
            table: the table's name.
            training: the recipe's name, or its path from `base`.
            base: the folder of the file that names it.
            depth_target: the processor that its circuit is compiled for.
            quick: changes to it; None for none.

        Raises:
            RecipeError: the recipe does not exist, or is wrong.
        """
        path = recipes.find(TRAINING, training, base=base)
        changes = list(quick.set) if quick is not None else []
        recipe = TrainingRecipe.load(path, changes)
        if quick is not None and recipe.model.warmup_steps > quick.warmup_steps:
            recipe = TrainingRecipe.load(path, [*changes, f"model.warmup_steps={quick.warmup_steps}"])
        return cls(table, path.stem, recipe, depth_target)

    @property
    def qubits(self) -> int:
        """Qubits of its circuit."""
        return self.recipe.circuit.num_qubits

    @property
    def encoding(self) -> str:
        """How features enter the circuit: amplitude or angle, and of the angles which."""
        encoder = self.recipe.circuit.encoder.model_dump()
        preset = encoder.get("preset")
        return f"{encoder['kind']} ({preset})" if preset else str(encoder["kind"])

    @property
    def mode(self) -> str:
        """implicit, direct, coherent, or classical for a map that is no circuit."""
        return CLASSICAL if self.is_classical else self.recipe.model.mode

    @property
    def is_classical(self) -> bool:
        """Whether a classical map stands in the circuit's place."""
        return self.recipe.model.map == CLASSICAL

    @property
    def layers(self) -> int | None:
        """How many layers it has; None for an equilibrium, which has no number of them."""
        return None if self.recipe.model.mode == "implicit" else self.recipe.model.layers

    @property
    def title(self) -> str:
        """What it does, in a few words."""
        model = self.recipe.model
        if self.is_classical:
            return f"classical map, {model.mode}"
        if model.mode == "implicit":
            return "implicit, warm-up" if model.warmup_steps else "implicit"
        return f"{model.mode}, {model.layers} layer{'s' if model.layers > 1 else ''}"

    @property
    def price(self) -> float:
        """About how long its training takes, in no unit: long ones are begun first."""
        evaluations = 6 if self.layers is None else self.layers
        return float(2**self.qubits * evaluations)

    def seeded(self, seed: int) -> TrainingRecipe:
        """Its recipe with a seed."""
        return self.recipe.model_copy(update={"seed": seed})

    def circuit(self) -> QNNCircuit:
        """The circuit as it runs."""
        return self.recipe.model.circuit(self.recipe.circuit.build())

    @property
    def circuit_key(self) -> str | None:
        """Equal for rows whose circuit is, on the same processor; None for a row without a circuit."""
        if self.is_classical:
            return None
        repeated = self.recipe.model.layers if self.recipe.model.mode == "coherent" else 1
        return digest([self.recipe.circuit, repeated, self.depth_target])


def differences(found: TrainingRecipe, wanted: TrainingRecipe) -> Iterator[tuple[str, object, object]]:
    """(key, found, wanted) of all in which two recipes differ, but for what has no part in the numbers."""
    before, now = _flat(found.model_dump()), _flat(wanted.model_dump())
    for key in before | now:
        if key not in _WITHOUT_EFFECT and before.get(key) != now.get(key):
            yield key, before.get(key), now.get(key)


_WITHOUT_EFFECT = ("description", "data.path", "optimisation.processes")


def _flat(tree: object, prefix: str = "") -> dict[str, object]:
    """A tree's leaves by their keys, joined by dots."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    parts = [_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in tree.items()]
    return {key: value for part in parts for key, value in part.items()}
