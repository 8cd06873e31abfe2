"""A malicious file in the place of each artefact is refused in one sentence, and none of it is executed."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import error_line, qdeq

from qdeq_qiskit.backends.runtime.errors import LedgerError
from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.backends.runtime.stored_arrays import read_npy, read_npz
from qdeq_qiskit.backends.surrogate.errors import SurrogateError
from qdeq_qiskit.backends.surrogate.measured import MeasuredOperators
from qdeq_qiskit.hardware.solve_folder import SolveFolder
from qdeq_qiskit.models import ModelFileError, QDEQClassifier
from qdeq_qiskit.noise.calibration import load_calibration
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.studies.directory import StudyDirectory
from qdeq_qiskit.training import DataError, DataRecipe, Evaluation, RunDirectory, RunError, TrainingRecipe, load_splits
from qdeq_qiskit.training.checkpoints import read_checkpoint
from qdeq_qiskit.training.fit import rewrite_report
from qdeq_qiskit.training.seal import sealed

REFUSALS = (RunError, ModelFileError, RecipeError, DataError, SurrogateError, LedgerError)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.canary),)


def pickled(canary: Path) -> bytes:
    return pickle.dumps(Malicious(canary))


def torch_file(canary: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"qdeq": Malicious(canary), "weight": torch.zeros(2)}, file)
    return file.getvalue()


def sealed_torch_file(canary: Path) -> bytes:
    return sealed(torch_file(canary))


def objects(canary: Path) -> bytes:
    file = io.BytesIO()
    np.savez(file, images=np.array([Malicious(canary)], dtype=object), labels=np.zeros(1))
    return file.getvalue()


def one_object(canary: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Malicious(canary)], dtype=object))
    return file.getvalue()


def yaml_with_code(canary: Path) -> bytes:
    return f"format: !!python/object/apply:os.mkdir ['{canary}']\n".encode()


def zip_that_climbs(canary: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"../../../../../../..{canary}/images.npy", pickled(canary))
        archive.writestr(f"{canary}", b"executed")
    return file.getvalue()


def safetensors_that_lies(canary: Path) -> bytes:
    return (2**62).to_bytes(8, "little") + b'{"weight": {}}'


def deep_json(canary: Path) -> bytes:
    return b'{"a":' * 100_000 + b"1" + b"}" * 100_000


def bomb(canary: Path) -> bytes:
    return gzip.compress(bytes(50_000_000))


PAYLOADS = (
    pickled,
    torch_file,
    sealed_torch_file,
    objects,
    one_object,
    yaml_with_code,
    zip_that_climbs,
    safetensors_that_lies,
    deep_json,
    bomb,
)


def read_mnist(path: Path) -> Any:
    return load_splits(DataRecipe(name="mnist", classes=(0, 1)), data_dir=path.parent)


def read_users_arrays(path: Path) -> Any:
    return load_splits(DataRecipe(name="arrays", path=str(path)))


def read_ledger(path: Path) -> None:
    with Ledger.read(path):
        pass


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "checkpoint": ("last.ckpt", read_checkpoint),
    "training recipe": ("recipe.yaml", TrainingRecipe.load),
    "run's recipe": ("recipe.yaml", lambda path: RunDirectory(path.parent).recipe()),
    "run.json": ("run.json", lambda path: RunDirectory(path.parent).origin()),
    "result": ("result.json", lambda path: RunDirectory(path.parent).result()),
    "history": ("history.csv", lambda path: RunDirectory(path.parent).epochs()),
    "test outcomes": ("test.safetensors", Evaluation.load),
    "study": ("study.yaml", lambda path: StudyDirectory(path.parent).recipe()),
    "study's origin": ("study.json", lambda path: StudyDirectory(path.parent).origin()),
    "solve's result": ("result.json", lambda path: SolveFolder(path.parent).read_result()),
    "measured operators": ("operators.safetensors", MeasuredOperators.load),
    "ledger": ("ledger.sqlite", read_ledger),
    "stored angles": ("angles", lambda path: read_npy(path.read_bytes(), "the ledger")),
    "stored outcome": ("outcome", lambda path: read_npz(path.read_bytes(), "the ledger")),
    "calibration": ("calibration.json", load_calibration),
    "calibration in YAML": ("calibration.yaml", load_calibration),
    "MNIST": ("train-images-idx3-ubyte.gz", read_mnist),
    "user's arrays": ("arrays.npz", read_users_arrays),
}


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.__name__)
@pytest.mark.parametrize("reader", READERS)
def test_whatever_stands_in_the_place_of_a_file_is_refused_and_not_executed(
    tmp_path: Path, reader: str, payload: Callable[[Path], bytes]
) -> None:
    name, read = READERS[reader]
    canary = tmp_path / "canary"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_bytes(payload(canary))
    with pytest.raises(REFUSALS) as refused:
        read(tmp_path / "folder" / name)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 1000
    assert sorted(os.listdir(tmp_path)) == ["folder"], "nothing was executed or unpacked"
    assert os.listdir(tmp_path / "folder") == [name]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.__name__)
@pytest.mark.parametrize("name", ["model.safetensors", "model.yaml"])
def test_a_model_with_a_malicious_file_is_refused(
    run: RunDirectory, tmp_path: Path, name: str, payload: Callable[[Path], bytes]
) -> None:
    (run.model / name).write_bytes(payload(tmp_path / "canary"))
    with pytest.raises((ModelFileError, RecipeError), match=name) as refused:
        QDEQClassifier.load(run.model)
    assert len(str(refused.value).splitlines()) == 1
    assert not (tmp_path / "canary").exists()


def test_a_finished_cell_of_a_study_that_is_no_json_counts_as_not_finished(tmp_path: Path) -> None:
    directory = StudyDirectory(tmp_path)
    directory.cells.mkdir()
    directory.books.failures.mkdir()
    for payload in PAYLOADS:
        for folder in (directory.cells, directory.books.failures):
            (folder / "cell.json").write_bytes(payload(tmp_path / "canary"))
        assert directory.row("cell") is None
        assert directory.books.failure("cell") is None
    assert not (tmp_path / "canary").exists()


def test_a_database_of_somebody_else_is_no_ledger(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger") as connection:
        connection.execute("CREATE TABLE solves (id)")
        connection.execute(f"CREATE VIEW jobs AS SELECT load_extension('{tmp_path / 'canary.so'}')")
    with pytest.raises(LedgerError):
        read_ledger(tmp_path / "ledger")


def test_names_cannot_bring_code_into_a_report(run: RunDirectory) -> None:
    script = "<script>alert('executed')</script>"
    origin = json.loads((run.path / "run.json").read_text())
    origin |= {"name": script, "begun": script, "versions": {script: script}}
    (run.path / "run.json").write_text(json.dumps(origin))
    recipe = (run.path / "recipe.yaml").read_text()
    (run.path / "recipe.yaml").write_text(recipe.replace("description: ''", f'description: "{script}"'))
    result = json.loads((run.path / "result.json").read_text())
    result["backend"] = result["control"]["name"] = script
    (run.path / "result.json").write_text(json.dumps(result))
    page = rewrite_report(run.path).read_text()
    assert page.count("&lt;script&gt;alert") >= 6
    assert "<script" not in page


def test_the_command_answers_a_malicious_run_in_one_line(run: RunDirectory, tmp_path: Path) -> None:
    (run.path / "result.json").unlink()
    for path in run.checkpoints.iterdir():
        path.write_bytes(sealed_torch_file(tmp_path / "canary"))
    assert "last.ckpt: is damaged, or no checkpoint of plain tensors" in error_line(qdeq("fit", "--resume", run.path))
    assert not (tmp_path / "canary").exists()


def test_a_checkpoint_with_parts_of_wrong_types_is_refused_in_one_sentence(run: RunDirectory) -> None:
    (run.path / "result.json").unlink()
    content = torch.load(run.checkpoints / "previous.ckpt", weights_only=True)
    for part, wrong in (("loops", {}), ("optimizer_states", [{}]), ("qdeq", {"history": 3, "circuits": 0, "shots": 0})):
        file = io.BytesIO()
        torch.save({**content, part: wrong}, file)
        for path in run.checkpoints.iterdir():
            path.write_bytes(sealed(file.getvalue()))
        line = error_line(qdeq("fit", "--resume", run.path))
        assert "last.ckpt: is not a whole checkpoint of this library" in line


def test_the_canary_sings_where_code_is_executed(tmp_path: Path) -> None:
    for number, payload in enumerate((pickled, one_object)):
        canary = tmp_path / f"canary{number}"
        content = io.BytesIO(payload(canary))
        pickle.load(content) if payload is pickled else np.load(content, allow_pickle=True)
        assert canary.exists()
