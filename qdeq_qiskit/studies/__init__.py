"""Noise studies: models × noise × shots × mitigation × seeds, on a dask cluster, to a table, figures and a report.

Names are imported on first use, so that worker processes start quickly.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdeq_qiskit.studies.directory import StudyDirectory
    from qdeq_qiskit.studies.recipe import StudyRecipe
    from qdeq_qiskit.studies.study import Finished, resume_study, run_study

_HOME = {
    "Finished": "study",
    "StudyDirectory": "directory",
    "StudyRecipe": "recipe",
    "resume_study": "study",
    "run_study": "study",
}

__all__ = ["Finished", "StudyDirectory", "StudyRecipe", "resume_study", "run_study"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
