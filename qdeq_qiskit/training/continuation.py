"""How an interrupted run goes on: what it must have in common with how it began, and what messages say of it."""

from __future__ import annotations

import contextlib
import platform
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from qdeq_qiskit import __version__
from qdeq_qiskit.training.data.datasets import load_splits
from qdeq_qiskit.training.data.images import ImageSplits
from qdeq_qiskit.training.errors import LostProcessError, RunError, TrainingError
from qdeq_qiskit.training.recipe import TrainingRecipe
from qdeq_qiskit.training.run_directory import RunDirectory
from qdeq_qiskit.training.schedules import CosineSchedule


@contextlib.contextmanager
def telling_how_to_continue(directory: RunDirectory, *, begun: bool = True) -> Iterator[None]:
    """An interrupt, a disk that cannot be written to, and a process that was lost say what was kept and how to go on.

    Args:
        directory: the run.
        begun: whether the directory stays although no epoch has ended.

    Raises:
        KeyboardInterrupt: of the kind that came, with the message.
        RunError: a file cannot be written.
        TrainingError: another process of the run has ended before its time.
    """

    def told(what: str, remedy: str = "") -> str:
        if begun or any(directory.checkpoints.glob("*.ckpt")):
            return f"{what}; {remedy}`qdeq fit --resume {directory.path}` continues the run"
        return f"{what}, before the first epoch ended; nothing was kept"

    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(told("interrupted")) from None
    except LostProcessError as error:
        raise TrainingError(told(str(error))) from None
    except OSError as error:
        named = error.filename is not None and error.strerror is not None and type(error).__str__ is OSError.__str__
        what = f"{error.filename}: {error.strerror}" if named else str(error)
        raise RunError(told(what, "when that is mended, ")) from None


def check_same(recorded: TrainingRecipe, given: TrainingRecipe, path: Path) -> None:
    """A run goes on as it began, but for the number of epochs, for where its data are, and for how many processes
    compute it, of which a warning says what it changes.

    Raises:
        RunError: the recipes differ in something else.
    """

    def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
        if not isinstance(tree, dict):
            return {prefix: tree}
        parts = [flat(value, f"{prefix}.{key}" if prefix else key) for key, value in tree.items()]
        return {key: value for part in parts for key, value in part.items()}

    before, now = flat(recorded.model_dump()), flat(given.model_dump())
    for key in before | now:
        if before.get(key) != now.get(key) and key not in _MAY_CHANGE:
            raise RunError(
                f"{path}: the run was begun with {key} = {before.get(key)!r}, not {now.get(key)!r}; only "
                "optimisation.epochs and optimisation.processes may change when a run is continued"
            )
    processes = [each.optimisation.processes for each in (recorded, given)]
    if processes[0] != processes[1]:
        warnings.warn(
            f"{path}: the run goes on with optimisation.processes = {processes[1]}, which was {processes[0]}: its "
            "numbers are not bit for bit those that it would have ended in, and dropout and shots are drawn otherwise",
            stacklevel=3,
        )
    schedule = recorded.optimisation.schedule
    spans = isinstance(schedule, CosineSchedule) and schedule.T_max is None
    if spans and recorded.optimisation.epochs != given.optimisation.epochs:
        raise RunError(
            f"{path}: the run was begun with a cosine over all of its {recorded.optimisation.epochs} epochs "
            f"(optimisation.schedule.T_max is null), so it cannot be continued to {given.optimisation.epochs}; begin "
            "anew"
        )


_MAY_CHANGE = ("description", "optimisation.epochs", "optimisation.processes", "data.path")


def splits_of(directory: RunDirectory, data_dir: Path | None) -> ImageSplits:
    """The data of a run that was trained; a warning says if they are not what it was trained with.

    Args:
        directory: the run.
        data_dir: as for `fit`; None for where the run was begun with.

    Raises:
        DataError, RunError: they cannot be read.
    """
    splits = load_splits(directory.recipe().data, data_dir=data_dir or directory.data_dir())
    differing = _differing(directory, splits)
    if differing:
        warnings.warn(
            f"{directory.path}: the run was trained with other data: the images or labels of {', '.join(differing)} "
            "differ from the SHA-256 in run.json; test images of now may be among those that it was trained on",
            stacklevel=3,
        )
    return splits


def check_same_data(directory: RunDirectory, splits: ImageSplits) -> None:
    """A run goes on with the images that it was begun with, to the last bit.

    Raises:
        RunError: they are others.
    """
    differing = _differing(directory, splits)
    if differing:
        raise RunError(
            f"{directory.path}: the run was begun with other data: the images or labels of {', '.join(differing)} "
            f"differ from the SHA-256 in run.json; continue it with the {splits.name} files that it was begun with"
        )


def _differing(directory: RunDirectory, splits: ImageSplits) -> list[str]:
    """The splits that are not those of the run; none for a run of a version that kept no SHA-256."""
    recorded = directory.origin().get("data")
    if recorded is None:
        return []
    return [split for split, digest in splits.fingerprint().items() if recorded.get(split) != digest]


def origin_of(name: str, data_dir: Path | None, splits: ImageSplits) -> dict[str, Any]:
    """What `run.json` says of a run that is begun now."""
    packages = ("torch", "qiskit", "qiskit-machine-learning", "lightning", "numpy")
    return {
        "name": name,
        "data_dir": str(data_dir.resolve()) if data_dir is not None else None,
        "data": splits.fingerprint(),
        "begun": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "versions": {
            "qdeq_qiskit": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
    }
