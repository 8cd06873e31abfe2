"""Files of a run that were damaged: what can be made anew is, and says so; the rest is one sentence."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from command_line import error_line, qdeq
from killed_runs import numbers_of

from qdeq_qiskit.models import ModelFileError, QDEQClassifier
from qdeq_qiskit.training import RunDirectory, RunError
from qdeq_qiskit.training.fit import resume

DAMAGES = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: 2 * len(content) // 3],
    "garbage": lambda content: bytes(random.Random(1).randrange(256) for _ in content[:500]),
}
MADE_ANEW = ["history.csv", "result.json", "test.safetensors", "model/model.safetensors", "model/model.yaml"]
READ_BY_REPORT = ["history.csv", "result.json", "test.safetensors", "run.json", "recipe.yaml"]
READ_BY_EVALUATE = ["model/model.safetensors", "model/model.yaml", "run.json", "recipe.yaml"]


def damage(path: Path, kind: str) -> None:
    path.write_bytes(DAMAGES[kind](path.read_bytes()))


@pytest.mark.usefixtures("drawn_quickly")
@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", MADE_ANEW)
def test_what_follows_from_the_checkpoint_is_made_anew(
    run: RunDirectory, whole: RunDirectory, name: str, kind: str
) -> None:
    damage(run.path / name, kind)
    with pytest.warns(UserWarning, match=rf"{name}: .*; it is written anew"):
        resume(run.path)
    assert numbers_of(run) == numbers_of(whole)


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize(
    ("command", "name"),
    [("report", name) for name in READ_BY_REPORT]
    + [("evaluate", name) for name in READ_BY_EVALUATE]
    + [("fit", name) for name in ("run.json", "recipe.yaml")],
)
def test_a_command_that_needs_a_damaged_file_names_it_in_one_line(
    run: RunDirectory, command: str, name: str, kind: str
) -> None:
    damage(run.path / name, kind)
    if command == "fit":
        (run.path / "result.json").unlink()
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    options = ["--resume"] if command == "fit" else []
    assert name in error_line(qdeq(command, *options, run.path))
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("drawn_quickly")
@pytest.mark.parametrize("position", [0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_one_flipped_bit_of_a_checkpoint_is_noticed(run: RunDirectory, whole: RunDirectory, position: float) -> None:
    (run.path / "result.json").unlink()
    last = run.checkpoints / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[int(position * len(content))] ^= 4
    last.write_bytes(content)
    with pytest.warns(UserWarning, match=r"last\.ckpt: is damaged: .*SHA-256.*; continuing from .*previous\.ckpt"):
        resume(run.path)
    assert numbers_of(run) == numbers_of(whole)


@pytest.mark.usefixtures("drawn_quickly")
def test_a_damaged_last_checkpoint_never_takes_the_place_of_the_good_one(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run.path / "result.json").unlink()
    good = (run.checkpoints / "previous.ckpt").read_bytes()
    (run.checkpoints / "last.ckpt").write_bytes(b"damaged")
    kept = []
    original = RunDirectory.reopen

    def look(self: RunDirectory, *arguments: object) -> None:
        kept.extend(path.name for path in self.checkpoints.iterdir())
        original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RunDirectory, "reopen", look)
    with pytest.warns(UserWarning, match="continuing from"):
        resume(run.path)
    assert kept == ["previous.ckpt"]
    assert (run.checkpoints / "previous.ckpt").read_bytes() == good


def test_one_flipped_bit_of_a_models_weights_is_noticed(run: RunDirectory) -> None:
    path = run.model / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.safetensors: is damaged: .*SHA-256"):
        QDEQClassifier.load(run.model)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"best_epoch": ', '"best_epoch": "x", "was": ', "best_epoch"),
        ('"test": {', '"test": 3, "was": {', "test"),
        ('"accuracy_interval": [', '"accuracy_interval": [[], ', r"test\.accuracy_interval"),
    ],
)
def test_a_result_with_a_wrong_value_is_called_damaged(run: RunDirectory, old: str, new: str, complaint: str) -> None:
    path = run.path / "result.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(RunError, match=rf"result\.json: is damaged: {complaint}"):
        run.result()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("epoch,train_loss\n1,0.5\n2,0.4\n", "the column .* is missing"),
        ("epoch,train_loss\n1,0.5\n", "it has 1 epochs, but the run has 2"),
        ("epoch,valid_loss\n2,0.5\n1,0.5\n", "its rows are not the epochs"),
        ("epoch,valid_loss\n1,0.5,7\n", "is damaged"),
        ("epoch,valid_loss\n", "is empty"),
    ],
)
def test_a_history_that_cannot_be_one_is_refused(run: RunDirectory, text: str, complaint: str) -> None:
    run.history.write_text(text)
    with pytest.raises(RunError, match=rf"history\.csv: .*{complaint}"):
        run.epochs()


@pytest.mark.usefixtures("drawn_quickly")
def test_one_run_is_trained_by_one_process_at_a_time(run: RunDirectory) -> None:
    (run.path / "result.json").unlink()
    with RunDirectory(run.path).locked():
        line = error_line(qdeq("fit", "--resume", run.path))
        assert "another process is training this run; wait until it is done, or end it" in line
        line = error_line(qdeq("fit", run.path / "recipe.yaml", "--out", run.path))
        assert "is there already and is never overwritten" in line
    assert qdeq("fit", "--resume", run.path).exit_code == 0


@pytest.mark.usefixtures("drawn_quickly")
def test_the_lock_of_a_process_that_was_killed_holds_nobody_up(run: RunDirectory) -> None:
    (run.path / ".lock").write_text("")
    (run.path / "result.json").unlink()
    resume(run.path)
    assert not (run.path / ".lock").exists()


@pytest.mark.usefixtures("drawn_quickly")
def test_a_folder_whose_run_had_hardly_begun_is_begun_again(run: RunDirectory, tmp_path: Path) -> None:
    left = tmp_path / "left"
    (left / "checkpoints").mkdir(parents=True)
    (left / "run.json").write_text("{")
    (left / ".recipe.yaml.abc.part").write_text("half")
    line = error_line(qdeq("fit", "--resume", left))
    assert line.endswith(f"it was interrupted before it had begun; begin it again with --out {left}")
    result = qdeq("fit", run.path / "recipe.yaml", "--out", left)
    assert result.exit_code == 0, result.output
    assert not list(left.glob(".*"))
    (tmp_path / "mine" / "checkpoints").mkdir(parents=True)
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "never overwritten" in error_line(qdeq("fit", run.path / "recipe.yaml", "--out", tmp_path / "mine"))
