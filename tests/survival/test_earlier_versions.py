"""Runs of earlier versions, whose files carry no SHA-256, no mark of their end, and fewer keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import error_line, qdeq
from killed_runs import numbers_of
from safetensors.numpy import load_file, save_file

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training import RunDirectory
from qdeq_qiskit.training.fit import resume
from qdeq_qiskit.training.seal import sealed, unsealed

LATER = {"recipe.yaml": ["  path: null", "  size: null", "..."], "model/model.yaml": ["    compiled: false", "..."]}


def drop(path: Path, later: list[str]) -> None:
    lines = path.read_text().splitlines()
    assert set(later) <= set(lines)
    path.write_text("".join(f"{line}\n" for line in lines if line not in later))


@pytest.fixture
def earlier(run: RunDirectory) -> RunDirectory:
    """The finished run as an earlier version would have left it."""
    for name, lines in LATER.items():
        drop(run.path / name, lines)
    for path in run.checkpoints.iterdir():
        archive = unsealed(path.read_bytes())
        assert archive is not None
        path.write_bytes(archive)
    weights = run.model / "model.safetensors"
    save_file(load_file(weights), weights)
    return run


@pytest.mark.usefixtures("drawn_quickly")
def test_they_are_evaluated_reported_and_trained_further(earlier: RunDirectory, whole: RunDirectory) -> None:
    for command in ("evaluate", "report"):
        result = qdeq(command, earlier.path)
        assert result.exit_code == 0, result.output
    loaded, expected = QDEQClassifier.load(earlier.model), QDEQClassifier.load(whole.model)
    assert all(torch.equal(tensor, expected.tensors()[name]) for name, tensor in loaded.tensors().items())
    (earlier.path / "result.json").unlink()
    assert numbers_of(resume(earlier.path)) == numbers_of(whole)


def test_a_recipe_of_theirs_that_lost_its_end_is_refused_wherever_it_was_cut(earlier: RunDirectory) -> None:
    path = earlier.path / "recipe.yaml"
    text, recipe = path.read_text(), earlier.recipe()
    for length in range(text.index("optimisation:"), len(text), 7):
        path.write_text(text[:length])
        assert "recipe.yaml" in error_line(qdeq("report", earlier.path))
    path.write_text(text)
    assert earlier.recipe() == recipe


def test_a_seal_is_missing_only_where_the_archive_says_so() -> None:
    archive = b"PK\x05\x06" + bytes(18)
    assert unsealed(archive) == archive
    assert unsealed(sealed(archive)) == archive
    assert all(unsealed(sealed(archive)[:length]) is None for length in range(len(sealed(archive))))
