"""Noise studies: models × noise × shots × mitigation × seeds, on a dask cluster, to a table, figures and a report.

Names are imported on first use, so that worker processes start quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use

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

__getattr__, __dir__ = on_first_use(__name__, _HOME)
