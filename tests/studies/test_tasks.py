"""Tasks on real worker processes: order, failures, and workers that die. The tasks are shell commands, so that the
workers need to import nothing of these tests.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from qdeq_qiskit.studies.cluster import check_scheduler, cluster
from qdeq_qiskit.studies.study import run_study
from qdeq_qiskit.studies.tasks import ClusterError, Outcome, Task, run_tasks


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    # The second death of a worker under the same task is enough to give that task up.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        cluster(workers=2, shared=tmp_path_factory.mktemp("shared")) as client,
    ):
        yield client


def shell(key: str, command: str, folder: Path, requires: tuple[str, ...] = ()) -> Task:
    """A task that runs a command, with $PPID being its worker."""
    return Task(key, subprocess.check_call, (["sh", "-c", f"cd {folder} && ({command})"],), f"task {key}", requires)


def log(folder: Path) -> list[str]:
    return (folder / "log").read_text().split()


def test_a_task_is_done_after_those_that_it_requires(client: Client, tmp_path: Path) -> None:
    tasks = [
        shell("c", "echo c >> log", tmp_path, ("a", "b")),
        shell("b", "echo b >> log", tmp_path, ("a",)),
        shell("a", "sleep 0.2; echo a >> log", tmp_path),
        shell("d", "true", tmp_path, ("done before, so not among the tasks",)),
    ]
    outcomes: list[Outcome] = []
    assert run_tasks(tasks, client, on_outcome=outcomes.append) == []
    assert log(tmp_path) == ["a", "b", "c"]
    assert {outcome.task.key for outcome in outcomes} == {"a", "b", "c", "d"}
    assert next(outcome for outcome in outcomes if outcome.task.key == "a").seconds >= 0.2


def test_what_fails_is_reported_what_needs_it_is_not_tried_and_the_rest_is_done(client: Client, tmp_path: Path) -> None:
    tasks = [
        shell("bad", "exit 3", tmp_path),
        shell("child", "echo child >> log", tmp_path, ("bad",)),
        shell("grandchild", "echo grandchild >> log", tmp_path, ("child", "good")),
        shell("good", "echo good >> log", tmp_path),
    ]
    failed = run_tasks(tasks, client)
    assert [outcome.task.key for outcome in failed] == ["bad", "child", "grandchild"]
    assert failed[0].error is not None
    assert "CalledProcessError" in failed[0].error
    assert "exit status 3" in failed[0].error
    assert "Traceback" in failed[0].details
    assert failed[1].error == "needs “task bad”, which failed"
    assert log(tmp_path) == ["good"]


def test_a_worker_that_dies_is_replaced_and_its_task_done_again(client: Client, tmp_path: Path) -> None:
    once = "if mkdir died 2>/dev/null; then kill -9 $PPID; sleep 5; fi; echo victim >> log"
    tasks = [shell("victim", once, tmp_path), *(shell(str(n), f"echo {n} >> log", tmp_path) for n in range(4))]
    assert run_tasks(tasks, client) == []
    assert sorted(log(tmp_path)) == ["0", "1", "2", "3", "victim"]
    client.wait_for_workers(2, timeout=20)


def test_a_task_that_kills_every_worker_is_given_up(client: Client, tmp_path: Path) -> None:
    killer = shell("killer", "echo x >> log; kill -9 $PPID; sleep 5", tmp_path)
    (outcome,) = run_tasks([killer, shell("other", "true", tmp_path)], client)
    assert outcome.task is killer
    assert outcome.error is not None
    assert "every worker that tried it died" in outcome.error
    assert log(tmp_path) == ["x", "x"]


def test_a_scheduler_that_is_not_there_is_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdeq_qiskit.studies.cluster.SECONDS_TO_CONNECT", 1)
    with (
        pytest.raises(ClusterError, match=r"^--scheduler tcp://127.0.0.1:1: no dask scheduler answers there .*worker"),
        cluster(scheduler="tcp://127.0.0.1:1", shared=tmp_path),
    ):
        pass


def test_something_else_that_listens_there_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdeq_qiskit.studies.cluster.SECONDS_TO_CONNECT", 1)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(ClusterError, match=r"no dask scheduler answers there \(no answer within 1 s\)"):
            check_scheduler(f"tcp://127.0.0.1:{mute.getsockname()[1]}")


def test_a_study_that_no_worker_takes_up_leaves_no_folder(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdeq_qiskit.studies.cluster.SECONDS_FOR_A_WORKER", 1)
    monkeypatch.chdir(study_file.parent)
    with (
        LocalCluster(n_workers=0, protocol="tcp", processes=False, dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(ClusterError, match="it has no workers; start some with"),
    ):
        run_study(study_file, scheduler=empty.scheduler_address)
    assert not list(Path("runs").iterdir())


def test_workers_that_do_not_see_the_folder_are_named(tmp_path: Path) -> None:
    with cluster(workers=1, shared=tmp_path) as local:
        from qdeq_qiskit.studies.cluster import _check_workers

        address = local.scheduler.address
        _check_workers(local, address, tmp_path)
        assert list(tmp_path.iterdir()) == []

        class Elsewhere:
            """The same workers, on a machine without the folder."""

            wait_for_workers = staticmethod(local.wait_for_workers)

            def run(self, function: object, path: str, on_error: str) -> object:
                return local.run(function, f"/somewhere/else{path}", on_error=on_error)

        with pytest.raises(ClusterError, match=rf"the worker tcp://\S+ does not see {tmp_path}.*shared file system"):
            _check_workers(Elsewhere(), address, tmp_path)  # type: ignore[arg-type]
