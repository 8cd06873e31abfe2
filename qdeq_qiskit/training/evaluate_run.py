"""A finished run's model on test images, on its own backend and on another one beside it."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import Backend, load_backend
from qdeq_qiskit.backends.kinds.ibm import IBMBackend
from qdeq_qiskit.backends.noisy import EffectiveMachine, NoisyLayer
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.noise import NoiseRecipe
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.training.chosen_backend import chosen_backend, mitigation_given
from qdeq_qiskit.training.comparison import Comparison
from qdeq_qiskit.training.continuation import splits_of
from qdeq_qiskit.training.data.images import Images
from qdeq_qiskit.training.displacement import Followed
from qdeq_qiskit.training.errors import RunError, SetupError
from qdeq_qiskit.training.evaluation import Evaluation, evaluate, follow
from qdeq_qiskit.training.preparation import setting_up
from qdeq_qiskit.training.run_directory import RunDirectory

SAMPLES_RUN_ONE_BY_ONE = 48


def evaluate_run(
    path: Path,
    *,
    backend: str | None = None,
    noise: str | None = None,
    shots: int | None = None,
    mitigation: str | None = None,
    encoder_noise: bool | None = None,
    samples: int | None = None,
    data_dir: Path | None = None,
    console: Console | None = None,
) -> Comparison:
    """Test the model of a run; the figures and the backend's recipe also go to `evaluations/`
    in its directory, into a file whose name tells what was run. Where that cannot be written, a warning says so.

    Args:
        path: the run's directory.
        backend: name or path of a backend recipe to put beside the run's own; None for none.
        noise: name or path of a noise recipe, for a backend with this noise instead.
        shots: of each circuit, with the noise or on the ideal circuit; None for exact expectation values.
        mitigation: how the noise is mitigated; see `MitigationRecipe.parse`.
        encoder_noise: False leaves the encoder's noise out; None for the backend's default, which does not.
        samples: how many test images, with the classes in their proportions; None for all, or for 48 on a backend
            that runs each of their circuits.
        data_dir: as for `fit`; None for where the run was begun with.
        console: where lines say what takes long and where the figures went; None for nowhere.

    Raises:
        RunError, ModelFileError, RecipeError, DataError, SetupError: something cannot be used; the message says what.
    """
    directory = RunDirectory.open(path)
    if not directory.model.is_dir():
        raise RunError(f"{path}: no epoch was finished, so there is no model; --resume it first")
    other = _other_backend(backend, noise, shots, mitigation, encoder_noise)
    classifiers = _classifiers(directory, other)
    if samples is None and _runs_one_by_one(classifiers[-1]):
        samples = SAMPLES_RUN_ONE_BY_ONE
    recipe = directory.recipe()
    test = splits_of(directory, data_dir).test
    if samples is not None and samples > len(test) and console is not None:
        console.print(f"--samples {samples}: there are {len(test)} test images; all of them are used", highlight=False)
    images = test if samples is None else test.sample(samples, seed=recipe.data.split_seed)
    outcomes = {}
    for classifier in classifiers:
        description = classifier.describe()
        if console is not None and classifier.backend != classifiers[0].backend:
            console.print(f"running {len(images)} images on: {description}", highlight=False)
        outcomes[description] = evaluate(classifier, images)
    tolerance, followed = _expected(directory, classifiers, [*outcomes.values()], images, mitigation is not None)
    name = "own" if other is None else _name(Path(backend or noise or "ideal").stem, other)
    path = directory.path / "evaluations" / f"{name}-{len(images)}.json"
    comparison = Comparison(outcomes, len(test), path, tolerance, followed)
    if _written(comparison, classifiers[-1].backend) and console is not None:
        console.print(f"written to: {path}", soft_wrap=True, highlight=False, markup=False)
    return comparison


def _written(comparison: Comparison, backend: Backend) -> bool:
    """Keep the figures, or say why that cannot be: what they took to compute is not to be lost with them."""
    figures = {**comparison.figures(), "backend": _resolved(backend)}
    try:
        comparison.path.parent.mkdir(exist_ok=True)
        write_atomically(comparison.path, json.dumps(figures, indent=2) + "\n")
    except OSError as error:
        warnings.warn(f"{comparison.path}: cannot be written: {error.strerror or error}", stacklevel=3)
        return False
    return True


def _other_backend(
    backend: str | None, noise: str | None, shots: int | None, mitigation: str | None, encoder_noise: bool | None
) -> Backend | None:
    """The backend that was asked for, by name or by what goes wrong on it."""
    options = {"--noise": noise, "--shots": shots, "--mitigation": mitigation, "--encoder-noise": encoder_noise}
    given = [name for name, value in options.items() if value is not None]
    if backend is not None:
        if given:
            raise RecipeError(f"evaluate: --backend and {given[0]} exclude each other; a backend recipe says it all")
        return load_backend(backend)
    if noise is None and given[-1:] not in ([], ["--shots"]):
        raise RecipeError(f"evaluate: {given[-1]} is about noise; give --noise, too")
    if not given:
        return None
    return chosen_backend(
        noise=None if noise is None else NoiseRecipe.load(noise),
        shots=shots,
        mitigation=None if mitigation is None else mitigation_given(mitigation),
        options=None if encoder_noise is None else {"encoder_noise": encoder_noise},
        source="evaluate",
    )


def _name(called: str, backend: Backend) -> str:
    """What the file of the figures is called: a few words, and a hash of all that the backend's recipe says."""
    shots, mitigation = getattr(backend, "shots", None), getattr(backend, "mitigation", None)
    parts = [called, "exact" if shots is None else f"{shots}shots"]
    if mitigation is not None and not mitigation.is_none:
        parts.append("".join(letter if letter.isalnum() else "_" for letter in mitigation.describe()).strip("_"))
    parts += ["ideal_encoder"] if getattr(backend, "encoder_noise", True) is False else []
    return "-".join([*parts, hashlib.sha256(json.dumps(_resolved(backend)).encode()).hexdigest()[:8]])


def _resolved(backend: Backend) -> Any:
    """A backend's recipe with all of its keys, as JSON can hold it."""
    return yaml.safe_load(recipes.dump(backend))


def _classifiers(directory: RunDirectory, chosen: Backend | None) -> list[QDEQClassifier]:
    """The model on its own backend, and on the one that was asked for."""
    if chosen is None:
        with setting_up():
            return [QDEQClassifier.load(directory.model)]
    with setting_up():
        other = QDEQClassifier.load(directory.model, backend=chosen)
    try:
        with setting_up():
            return [QDEQClassifier.load(directory.model), other]
    except SetupError as error:
        warnings.warn(f"no comparison with the backend of the training, which is not here: {error}", stacklevel=2)
        return [other]


def _runs_one_by_one(classifier: QDEQClassifier) -> bool:
    """Whether every circuit of every sample is run for itself, which takes long."""
    layer = classifier.equilibrium.layer
    return isinstance(layer, SampledLayer) and not isinstance(layer.machine, EffectiveMachine)


def _expected(
    directory: RunDirectory,
    classifiers: list[QDEQClassifier],
    outcomes: list[Evaluation],
    images: Images,
    mitigated: bool,
) -> tuple[float | None, Followed | None]:
    """The tolerance that roots are told apart by, and where those of the other map are expected.

    Under noise they are the ones that the solver reaches from the noiseless ones, on the exact expectation values; on
    the same map, those found before.
    """
    if len(classifiers) < 2 or any(each.equilibrium.mode != "implicit" for each in classifiers):
        return None, None
    own, other = classifiers
    if not own.backend.exact:
        return None, None
    tolerance = max(each.equilibrium.current_solver.tolerance for each in classifiers)
    if other.backend.noisy == own.backend.noisy is False:
        return tolerance, None
    exact = other
    if isinstance(other.backend, IBMBackend):
        mitigated = other.backend.mitigation is not None and not other.backend.mitigation.is_none
    if not other.backend.exact and not mitigated:
        with setting_up():
            exact = QDEQClassifier.load(directory.model, backend=_exact(other.backend))
    if not isinstance(exact.equilibrium.layer, NoisyLayer):
        return None, None
    return tolerance, Followed(*follow(exact, images, outcomes[0].state))


def _exact(backend: Backend) -> Backend:
    """Exact expectation values in the place of shots."""
    return backend.snapshot() if isinstance(backend, IBMBackend) else backend.model_copy(update={"shots": None})
