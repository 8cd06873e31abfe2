"""What a study's report says in words: what did not vary, and what its figures do not mean."""

from __future__ import annotations

import pandas as pd

from qdeq_qiskit.backends.kinds.exact import ExactBackend
from qdeq_qiskit.studies.plan import IDEAL, UNMITIGATED, Plan
from qdeq_qiskit.studies.report.sweep import ENOUGH_SEEDS, SEEDS_SHOWN


def held_fixed(plan: Plan, table: pd.DataFrame) -> list[tuple[str, str]]:
    """(what, which) of everything that every cell has in common."""
    recipes = [model.recipe for model in plan.models]
    first = recipes[0]
    rows = [("images", _images(plan, table))]
    if all(recipe.circuit == first.circuit for recipe in recipes):
        circuit = first.circuit.build()
        counted = f"{circuit.num_qubits} qubits, {circuit.num_weights} weights"
        rows.append(("circuit", first.circuit.description or counted))
    if all(recipe.optimisation == first.optimisation for recipe in recipes):
        options = first.optimisation
        rows.append(
            (
                "training",
                f"{options.epochs} epochs, batches of {options.batch_size}, Adam with {options.learning_rate:g}; on "
                f"{first.backend.describe()}, the epoch with the smallest validation loss",
            )
        )
    rows.append(("training seeds", _seeds(table)))
    noises = [name for name in dict.fromkeys(table["noise"]) if name != IDEAL]
    if len(noises) == 1:
        recipe = next(cell.condition.recipe for cell in plan.cells if cell.condition.noise == noises[0])
        assert recipe is not None
        words = recipe.description or recipe.model_copy(update={"scale": 1.0}).describe()
        rows.append(("noise", f"{noises[0]}: {words}"))
    rows += _errors(table)
    if table["shots"].nunique(dropna=False) == 1:
        shots = table["shots"].iloc[0]
        rows.append(("shots", "none: exact expectation values" if pd.isna(shots) else f"{int(shots):,} a circuit"))
    if set(table["mitigation"]) == {UNMITIGATED}:
        rows.append(("mitigation", "none"))
    if noises:
        encoder = plan.study.backend.get("encoder_noise", True)
        rows.append(("noise in the encoder", "as in the ansatz" if encoder else "OFF: an ideal encoder was asked for"))
    rows += [(f"backend.{key}", str(value)) for key, value in plan.study.backend.items() if key != "encoder_noise"]
    if plan.study.tolerance is not None:
        rows.append(("solver's tolerance on exact cells", f"{plan.study.tolerance:g} relative residual"))
    if plan.study.depth_target is not None:
        rows.append(("depth is counted on", plan.study.depth_target))
    return rows


def caveats(plan: Plan, table: pd.DataFrame) -> list[str]:
    """What a reader must know before drawing conclusions."""
    samples = int(table["samples"].min())
    notes = [
        "These models are small and classically cheap, and the classical control is drawn beside them. The study is "
        "about how they fail, not about an advantage.",
        "Every circuit was simulated. A real processor drifts, and has errors that no snapshot records.",
    ]
    if all(isinstance(model.recipe.backend, ExactBackend) for model in plan.models):
        notes.append("The models were trained without noise; one that is trained with it may hold up better.")
    notes.append(intervals(table) + " Bands and bars of other figures run from the smallest to the largest seed.")
    if samples < 500:
        notes.append(
            f"{samples} test images: one of them is {1 / samples:.1%} of accuracy, and differences below a few of them "
            "mean nothing."
        )
    if table["branch_changes"].notna().any():
        notes.append(
            "A branch has changed where the noisy solver, started at zero, settles on another root than when it is "
            "started at the noiseless one; displacements are those of the images that stayed."
        )
    modes = set(table["mode"])
    if modes - {"implicit"}:
        notes.append(
            "Direct models measure and encode anew after each layer, so a layer more costs evaluations, not depth; a "
            "coherent model's circuit is as deep as it has layers. For both, displacement is that of the last state."
        )
    if (table["noise"] != IDEAL).any() and not plan.study.backend.get("encoder_noise", True):
        notes.append("The encoder is ideal, which no machine's is: real figures would be worse.")
    return [*notes, *(f"Left out: {line}." for line in plan.left_out)]


def scope(plan: Plan, table: pd.DataFrame) -> str:
    """How much was studied, in one line: these numbers hold whatever the study's description says."""
    conditions = len(table.drop_duplicates(["noise", "scale", "shots", "mitigation"]))
    evaluations = table["evaluation_seed"].dropna().unique()
    words = [
        counted(table["model"].nunique(), "model"),
        counted(table["training_seed"].nunique(), "training seed") + f" ({_seeds(table, counted=False)})",
        counted(conditions, "condition"),
        *([counted(len(evaluations), "evaluation seed")] if len(evaluations) > 1 else []),
        counted(int(table["samples"].max()), "test image"),
        counted(len(plan.cells), "cell"),
    ]
    return " · ".join(words)


def counted(count: int, what: str) -> str:
    """A number and its noun."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def intervals(table: pd.DataFrame) -> str:
    """Which interval bands and bars of accuracy show."""
    seeds, images = (
        table.groupby("model")["training_seed"].nunique(),
        counted(int(table["samples"].min()), "test image"),
    )
    wilson = f"Wilson's interval of the mean accuracy, for {images}"
    points = "The faint points are the seeds one by one." if 1 < int(seeds.min()) <= SEEDS_SHOWN else ""
    if int(seeds.min()) >= ENOUGH_SEEDS:
        return (
            "Bands and bars of accuracy are 95% confidence intervals of the mean over training seeds. Their half-width "
            f"adds, in squares, that over {int(seeds.min())} seeds (Student's t) and that of {wilson}, which all seeds "
            f"share. {points}"
        )
    few = "one training seed says" if int(seeds.max()) == 1 else "so few training seeds say"
    return (
        f"Bands and bars of accuracy are 95% confidence intervals: {wilson}. They cover the choice of "
        f"images only: {few} nothing of what other seeds would give. {points}"
    )


def _seeds(table: pd.DataFrame, *, counted: bool = True) -> str:
    seeds = sorted({int(seed) for seed in table["training_seed"]})
    names = ", ".join(map(str, seeds))
    return f"{len(seeds)}: {names}" if counted else names


def _errors(table: pd.DataFrame) -> list[tuple[str, str]]:
    """What λ = 1 is for a two-qubit gate, by kind of noise."""
    known = table[(table["noise"] != IDEAL) & table["two_qubit_error"].notna() & (table["scale"] > 0)]
    parts = []
    for (noise, scale), rows in known.groupby(["noise", "scale"], sort=False):
        if scale == 1 or not (known[known["noise"] == noise]["scale"] == 1).any():
            parts.append(
                f"{noise} {rows['two_qubit_error'].mean():.2%}" + ("" if scale == 1 else f" (at λ = {scale:g})")
            )
    return [("two-qubit error at λ = 1", ", ".join(parts))] if parts else []


def _images(plan: Plan, table: pd.DataFrame) -> str:
    data = plan.models[0].recipe.data
    classes = ", ".join(next(iter(plan.class_names.values())))
    samples = int(table["samples"].iloc[0])
    part = "" if plan.study.samples is None else " (drawn with the classes in their proportions)"
    return f"{samples:,} test images{part} of {data.name}, classes {classes}"
