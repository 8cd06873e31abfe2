"""A classifier on disk: weights as safetensors, everything else as YAML. Loading executes no code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from qdeq_qiskit.backends.kinds import BACKENDS, Backend
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.models.classifier import QDEQClassifier
from qdeq_qiskit.models.recipe import ClassifierRecipe
from qdeq_qiskit.recipes import check, read_yaml
from qdeq_qiskit.resolved import check_whole, resolved

WEIGHTS_FILE = "model.safetensors"
RECIPE_FILE = "model.yaml"
FORMAT = "qdeq_qiskit.classifier.1"


class ModelFileError(ValueError):
    """A saved model that cannot be used; the message names the file and what is wrong with it."""


def save_classifier(classifier: QDEQClassifier, directory: Path) -> None:
    """Write `model.yaml` and `model.safetensors`; each appears complete or not at all.

    Raises:
        ValueError: the classifier was not built from a recipe, or is on a backend that no recipe can name, so nothing
            could say how to rebuild it.
        OSError: the folder cannot be written to.
    """
    from safetensors.torch import save

    if classifier.recipe is None:
        raise ValueError("only a classifier built with QDEQClassifier.from_recipe can be saved")
    if type(classifier.recipe.backend) not in BACKENDS.values():
        raise ValueError(
            f"a classifier on this backend cannot be saved, as no recipe can name it: {classifier.backend.describe()}; "
            "save the one that it came from, or classifier.on_backend(...) on another backend"
        )
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / RECIPE_FILE, f"format: {FORMAT}\n{resolved(classifier.recipe)}")
    tensors = classifier.tensors()
    metadata = {"sha256": _digest(save(tensors))}  # one entry: their order would be another in each file
    write_atomically(directory / WEIGHTS_FILE, save(tensors, metadata=metadata))


def load_classifier(directory: Path, *, backend: Backend | None = None) -> QDEQClassifier:
    """Rebuild a classifier from its folder.

    Args:
        directory: where `save_classifier` wrote.
        backend: where to evaluate it; None for the backend that it was saved with, which another machine may not have.

    Raises:
        ModelFileError: a file is missing, damaged, of another format, or does not fit the other.
        RecipeError: `model.yaml` holds something that is not a classifier's recipe.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    for name in (RECIPE_FILE, WEIGHTS_FILE):
        if not (directory / name).is_file():
            raise ModelFileError(f"{directory / name}: there is no such file; {directory} holds no saved model")
    data = read_yaml(directory / RECIPE_FILE)
    found = data.pop("format", None)
    if found != FORMAT:
        raise ModelFileError(f"{directory / RECIPE_FILE}: format is {found!r}; this version reads {FORMAT!r}")
    recipe: ClassifierRecipe = check(data, ClassifierRecipe, source=str(directory / RECIPE_FILE))
    check_whole(directory / RECIPE_FILE, recipe)
    classifier = QDEQClassifier.from_recipe(recipe if backend is None else recipe.on_backend(backend), seed=0)
    path = directory / WEIGHTS_FILE
    try:
        content = path.read_bytes()
        tensors = load(content)
        recorded = _header(content).get("__metadata__", {}).get("sha256")
        if recorded not in (None, _digest(content)):  # earlier versions wrote none
            raise ModelFileError(f"{path}: is damaged: the weights are not those of the SHA-256 in it")
        classifier.load_tensors(tensors)
    except ModelFileError:
        raise
    except SafetensorError as error:
        raise ModelFileError(f"{path}: is not a whole safetensors file: {error}") from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ModelFileError(f"{path}: does not fit {RECIPE_FILE}: {error}") from None
    return classifier.eval()


def _header(content: bytes) -> dict[str, Any]:
    """What a safetensors file says of its tensors, and its `__metadata__`."""
    header: dict[str, Any] = json.loads(content[8 : _start(content)])
    return header


def _digest(content: bytes) -> str:
    """SHA-256 of the numbers in a safetensors file, of which the format itself keeps no checksum."""
    return hashlib.sha256(content[_start(content) :]).hexdigest()


def _start(content: bytes) -> int:
    """Where the numbers begin: after the length of the header, in eight bytes, and the header."""
    return 8 + int.from_bytes(content[:8], "little")
