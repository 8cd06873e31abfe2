"""`make bench-gpu` where there is no GPU, and rehearsed with the CPU in the GPU's place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_at_hand import why_none
from qdeq_qiskit.training.recipe import TrainingRecipe

ROOT = Path(__file__).parents[2]
ROLES = ["torch on the CPU, 1 thread", "torch_gpu", "aer_gpu"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch size, one step of comparison, one CPU."""
    monkeypatch.setattr(gpu, "BATCHES", (32,))
    monkeypatch.setattr(gpu, "STEPS_COMPARED", 2)
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def rehearse(folder: Path, *options: str) -> int:
    return gpu.main(
        ["--device", "cpu", "--quick", "--seconds", "0.01", "--output", str(folder / "found.json"), *options]
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_sentence_says_so_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main(["--output", str(tmp_path / "found.json"), "--publish"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("no NVIDIA GPU was found on this machine (torch")
    assert len(said.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(why_none() is None, reason="there is a GPU")
def test_without_a_driver_make_ends_before_anything_is_installed() -> None:
    # As make calls it: with no package of ours, or of anyone else's.
    found = subprocess.run(
        [sys.executable, "-I", "-S", "benchmarks/gpu_at_hand.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 2
    assert found.stderr.startswith("no NVIDIA GPU was found on this machine")
    assert "nothing was installed" in found.stderr


@pytest.mark.usefixtures("small")
def test_the_gpu_backends_are_measured_as_they_are_shipped() -> None:
    backends = [TrainingRecipe.load("mnist4", role.settings).backend for role in gpu.roles("cuda")]
    assert [(each.engine, each.device) for each in backends] == [("auto", "cpu"), ("torch", "cuda"), ("aer", "cuda")]


@pytest.mark.usefixtures("small")
def test_a_rehearsal_compares_then_measures_every_role_and_writes_both_files(tmp_path: Path) -> None:
    page = (ROOT / gpu.PAGE).read_text(encoding="utf-8")
    threads = torch.get_num_threads()
    assert rehearse(tmp_path, "--publish") == 0
    content = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [each["role"] for each in content["differences"]] == ROLES[1:]
    assert all(each["difference"] <= 1e-6 for each in content["differences"])
    assert [(each["qubits"], each["batch"], each["role"]) for each in content["steps"]] == [(4, 32, r) for r in ROLES]
    assert all(0 < each["least_ms"] <= each["median_ms"] for each in content["steps"])
    table = (tmp_path / "found.md").read_text(encoding="utf-8").splitlines()
    assert table[0] == "| qubits | batch | torch on the CPU, 1 thread | torch_gpu | aer_gpu |"
    assert table[2].startswith("| 4 | 32 | ")
    assert (ROOT / gpu.PAGE).read_text(encoding="utf-8") == page, "a rehearsal is not published"
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("small")
def test_other_losses_than_the_cpus_end_it_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = iter([[1.0, 2.0], [1.0, 2.0 + 2e-6]])
    monkeypatch.setattr(gpu, "losses", lambda *_: next(found))
    monkeypatch.setattr(gpu, "measurements", lambda *_: pytest.fail("it was measured"))
    assert rehearse(tmp_path) == 1
    assert "more than 1e-06: nothing was measured or written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small")
def test_a_case_that_does_not_fit_into_the_gpus_memory_is_a_cell_of_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpu, "differences", lambda *_: [])
    monkeypatch.setattr(gpu, "_bursts", too_large)
    assert rehearse(tmp_path) == 0
    table = (tmp_path / "found.md").read_text(encoding="utf-8").splitlines()
    assert table[2] == "| 4 | 32 |" + " the GPU's memory is too small |" * 3
