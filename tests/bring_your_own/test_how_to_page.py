"""The page docs/how-to/bring-your-own.md: its code runs as it stands there, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from qdeq_qiskit.training import report as report_module

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "bring-your-own.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
YOURS = 1  # the first block is what the reader has already


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page's code leaves behind, run from its top to its bottom in an empty folder."""
    names: dict[str, Any] = {"__name__": "page"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        # Drawn elsewhere, and taking longer than all the rest.
        patch.setattr(report_module, "write_report", lambda run, splits: run.report.write_text("a report"))
        torch.manual_seed(0)
        for number, block in enumerate(BLOCKS):
            exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
        names["folder"] = Path.cwd()
    return names


def test_every_part_takes_less_than_ten_statements() -> None:
    for block in BLOCKS[YOURS:]:
        statements = [line for line in block.splitlines() if line and not line.startswith((" ", ")", "from", "import"))]
        assert len(statements) < 10, block


def test_the_pages_model_learns_to_tell_digits(page: dict[str, Any]) -> None:
    with torch.no_grad():
        predicted = page["model"](torch.tensor(page["images"][400:])).argmax(dim=1)
    assert (predicted.numpy() == page["labels"][400:]).mean() > 0.9


def test_the_pages_regression_finds_the_sine(page: dict[str, Any]) -> None:
    with torch.no_grad():
        found = page["regressor"](page["points"]).squeeze(1)
    assert (found - page["points"].squeeze(1).sin()).abs().max() < 0.25


def test_the_pages_run_is_a_whole_one_with_the_users_classes(page: dict[str, Any]) -> None:
    run = page["run"]
    folder = page["folder"] / run.path
    assert {"report.html", "result.json", "recipe.yaml", "run.json"} <= {each.name for each in folder.iterdir()}
    assert "zero" in (folder / "model" / "model.yaml").read_text(encoding="utf-8")
