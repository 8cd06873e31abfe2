"""Reproductions: every row of a paper's tables trained on a dask cluster, to tables, figures and a page.

Names are imported on first use, so that worker processes start quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use

if TYPE_CHECKING:
    from qdeq_qiskit.reproduction.directory import ReproductionDirectory
    from qdeq_qiskit.reproduction.page import write_page
    from qdeq_qiskit.reproduction.recipe import ReproductionRecipe
    from qdeq_qiskit.reproduction.reproducing import Reproduced, reproduce

_HOME = {
    "Reproduced": "reproducing",
    "ReproductionDirectory": "directory",
    "ReproductionRecipe": "recipe",
    "reproduce": "reproducing",
    "write_page": "page",
}

__all__ = ["Reproduced", "ReproductionDirectory", "ReproductionRecipe", "reproduce", "write_page"]

__getattr__, __dir__ = on_first_use(__name__, _HOME)
