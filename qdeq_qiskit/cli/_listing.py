"""Shipped recipes, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from qdeq_qiskit.recipes import KeyEntry, keys_of, list_recipes, options_of


def listing(kinds: Iterable[str]) -> Table:
    """The shipped recipes of some kinds, one line each."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for kind in kinds:
        table.add_row(f"[dim]{kind}/[/]", "")
        for entry in list_recipes(kind):
            table.add_row(f"  {entry.name}", entry.description)
    return table


def key_listing(kind: str) -> Group:
    """The keys of a kind of recipe, each with its type, its default, and what it means."""
    lines: list[Text | Padding] = [
        Text.assemble(("extends", "bold"), ("  name or path; may be left out", "dim")),
        Padding(Text("Another recipe of this kind, from which all is taken that this one does not say."), (0, 0, 0, 4)),
    ]
    for entry in _keys(kind):
        default = "required" if entry.default is None else f"default {entry.default}"
        about = "" if entry.type == "kind" else f"  {entry.type}; {default}"
        lines.append(Text.assemble((entry.key, "bold"), (about, "dim")))
        lines.append(Padding(Text(entry.description), (0, 0, 0, 4)) if entry.description else Text())
    return Group(*lines)


def _keys(kind: str) -> list[KeyEntry]:
    # Imported here, since most take torch and Qiskit.
    if kind == "training":
        from qdeq_qiskit.equilibrium import ADJOINTS, PENALTIES, SOLVERS
        from qdeq_qiskit.training.recipe import TrainingRecipe

        registries: dict[str, Mapping[str, Any]] = {
            "model.solver": SOLVERS,
            "model.adjoint": ADJOINTS,
            "model.penalty": PENALTIES,
        }
        # What a circuit and a backend take, `qdeq recipes circuits --keys` and `backends --keys` list.
        entries = keys_of(TrainingRecipe, closed=["circuit", "backend"])
        return entries + [entry for key, kinds in registries.items() for entry in options_of(key, kinds)]
    if kind == "circuits":
        from qdeq_qiskit.circuits.recipe import CircuitRecipe

        return keys_of(CircuitRecipe)
    if kind == "backends":
        from qdeq_qiskit.backends.kinds import AnyBackend

        return keys_of(AnyBackend, closed=["[kind=noisy].noise"])
    if kind == "noise":
        from qdeq_qiskit.noise.recipe import NoiseRecipe

        return keys_of(NoiseRecipe)
    if kind == "reproductions":
        from qdeq_qiskit.reproduction.recipe import ReproductionRecipe

        return keys_of(ReproductionRecipe)
    from qdeq_qiskit.studies.recipe import StudyRecipe

    return keys_of(StudyRecipe)
