"""A disk that is full or read-only: one sentence, nothing half written, and the run goes on when that is mended."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
from command_line import qdeq
from filelock import FileLock
from killed_runs import Moment, Steps, in_child, numbers_of

from qdeq_qiskit.files import CannotWriteError
from qdeq_qiskit.training import RunDirectory, RunError, TrainingRecipe
from qdeq_qiskit.training import event_log as event_log_module
from qdeq_qiskit.training.event_log import EventLog
from qdeq_qiskit.training.fit import fit, resume

pytestmark = pytest.mark.usefixtures("drawn_quickly")
FULL, READ_ONLY = errno.ENOSPC, errno.EROFS


def failing(at: Moment, number: int) -> Steps:
    return Steps(at, failure=OSError(number, os.strerror(number)))


@pytest.mark.parametrize("number", [FULL, READ_ONLY])
@pytest.mark.parametrize(("moment", "file"), [(0, "run.json"), (3, "recipe.yaml"), (("mkstemp", 5), "history.csv")])
def test_a_run_that_cannot_write_its_first_epoch_leaves_nothing(
    recipe: TrainingRecipe, tmp_path: Path, moment: Moment, file: str, number: int
) -> None:
    sentence = rf"run/{file}: cannot be written: {os.strerror(number)}, before the first epoch ended; nothing was kept"
    with failing(moment, number), pytest.raises(RunError, match=sentence):
        fit(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("moment", "file"),
    [
        (("replace previous.ckpt", 1), "previous.ckpt"),
        (("replace last.ckpt", 2), "last.ckpt"),
        (("replace test.safetensors", 1), "test.safetensors"),
        (("replace result.json", 1), "result.json"),
    ],
)
def test_a_run_that_met_a_full_disk_is_continued_to_the_same_bits(
    recipe: TrainingRecipe, whole: RunDirectory, tmp_path: Path, moment: Moment, file: str
) -> None:
    out = tmp_path / "run"
    with failing(moment, FULL), pytest.raises(RunError) as refused:
        fit(recipe, out=out)
    assert file in str(refused.value)
    assert str(refused.value).endswith(
        f"No space left on device; when that is mended, `qdeq fit --resume {out}` continues the run"
    )
    assert not list(out.rglob("*.part"))
    assert numbers_of(resume(out)) == numbers_of(whole)


@pytest.mark.filterwarnings("ignore:.*report.html. is missing")
def test_a_report_that_does_not_fit_on_the_disk_is_written_later(
    recipe: TrainingRecipe, whole: RunDirectory, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with failing(("replace report.html", 1), FULL), pytest.raises(RunError, match="only its report is missing"):
        fit(recipe, out=out)
    assert resume(out).report.is_file()
    assert numbers_of(RunDirectory(out)) == numbers_of(whole)


def fit_with_small_files(recipe: TrainingRecipe, out: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))  # a checkpoint is larger
    with pytest.raises(RunError, match=r"last\.ckpt: cannot be written: File too large, before the first epoch ended"):
        fit(recipe, out=out)
    assert not out.exists()


def test_a_limit_of_the_system_is_met_as_a_full_disk_is(recipe: TrainingRecipe, tmp_path: Path) -> None:
    assert in_child(fit_with_small_files, recipe, tmp_path / "run") == 0


def test_the_log_of_tensorboard_meets_a_full_disk_in_the_thread_that_trains(
    recipe: TrainingRecipe, whole: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this system")
    log = EventLog(tmp_path / "log")
    log.log_metrics({"loss": 1.0}, 0)
    log._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(CannotWriteError, match="log: cannot be written: No space left on device"):
        log.log_metrics({"loss": 0.5}, 1)
    log.finalize("failed")

    original, events = event_log_module._append, []

    def append(file: object, event: object) -> None:
        events.append(event)
        if len(events) == 4:  # the version, the start, two epochs
            raise OSError(FULL, os.strerror(FULL))
        original(file, event)  # type: ignore[arg-type]

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(event_log_module, "_append", append)
        with pytest.raises(RunError, match=r"run/tensorboard: cannot be written: No space left.*--resume"):
            fit(recipe, out=out)
    assert numbers_of(resume(out)) == numbers_of(whole)


def test_a_run_directory_that_became_read_only_is_one_sentence(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(READ_ONLY, os.strerror(READ_ONLY))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(CannotWriteError, match=r"run/\.lock: cannot be written: Read-only file system"):
        resume(run.path)
    assert run.finished


def test_what_an_evaluation_found_is_shown_also_where_it_cannot_be_kept(run: RunDirectory) -> None:
    with failing(("mkstemp", 1), READ_ONLY):
        result = qdeq("evaluate", run.path)
    assert result.exit_code == 0, result.output
    assert "evaluations/own-" in result.output
    assert "cannot be written: Read-only file system" in " ".join(result.output.split())
    assert "accuracy" in result.output


def test_a_file_system_without_locks_is_used_without(
    recipe: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.warns(UserWarning, match="run: its file system keeps no locks"):
        assert fit(recipe, out=tmp_path / "run").finished


def test_a_place_where_no_folder_can_be_made_is_one_sentence(recipe: TrainingRecipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="file/run: cannot be written: Not a directory"):
        fit(recipe, out=tmp_path / "file" / "run")
    with pytest.raises(RunError, match=r"/proc/run: cannot be written"):  # binds the superuser, too
        fit(recipe, out=Path("/proc/run"))
