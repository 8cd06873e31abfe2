"""The dask cluster that tasks run on: worker processes here, or a scheduler somewhere."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dask
from distributed import Client, LocalCluster, rpc
from distributed.security import Security

from qdeq_qiskit import __version__
from qdeq_qiskit.studies.tasks import ClusterError

SECONDS_TO_CONNECT = 15
SECONDS_FOR_A_WORKER = 60


@contextmanager
def cluster(*, workers: int | None = None, scheduler: str | None = None, shared: Path) -> Iterator[Client]:
    """A cluster's client, for a while.

    Args:
        workers: worker processes of a cluster on this machine, each with one thread; None for one per CPU that this
            process may use.
        scheduler: address of a running scheduler, such as tcp://10.0.0.1:8786, to use its workers instead.
        shared: the folder that results go to; every worker must see it under this path.

    Raises:
        ClusterError: the scheduler does not answer, has no workers, or a worker does not share the folder or has
            another version of this package.
    """
    with _quiet():
        if scheduler is None:
            with _local(workers) as client:
                yield client
        else:
            with _connected(scheduler) as client:
                _check_workers(client, scheduler, shared)
                yield client


def check_scheduler(address: str) -> None:
    """Whether a scheduler answers at an address; known within `SECONDS_TO_CONNECT`.

    A `Client` that does not get through hangs, or leaves a traceback behind; this asks without one.

    Raises:
        ClusterError: the address has another form, or nothing that is a scheduler answers there.
    """
    matched = re.fullmatch(r"(?:(?:tcp|tls|ws|wss)://)?(?:\[[\da-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})", address)
    if matched is None or not 0 < int(matched[1]) < 2**16:
        raise ClusterError(
            f"--scheduler {address}: this is no address of a dask scheduler; expected tcp://HOST:PORT, such as "
            "tcp://10.0.0.1:8786"
        )
    try:
        with _quiet():
            kind = asyncio.run(asyncio.wait_for(_kind_at(address), SECONDS_TO_CONNECT))
        reason = "" if kind == "Scheduler" else f"it is a {kind}"
    except TimeoutError:
        reason = f"no answer within {SECONDS_TO_CONNECT} s"
    except Exception as error:  # whatever else may listen there, and whatever it says
        reason = " ".join(str(error).split()) or type(error).__name__
    if reason:
        raise ClusterError(
            f"--scheduler {address}: no dask scheduler answers there ({reason}); start one with "
            "`dask scheduler` and workers with `dask worker ADDRESS --nthreads 1`"
        )


async def _kind_at(address: str) -> str:
    """What is there, such as Scheduler or Worker."""
    async with rpc(address, connection_args=Security().get_connection_args("client")) as server:
        return str((await server.identity())["type"])


@contextmanager
def _local(workers: int | None) -> Iterator[Client]:
    """Worker processes on this machine, replaced when they die, and ended with us."""
    try:
        local = LocalCluster(
            n_workers=workers or available_cpus(),
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            memory_limit=0,
            preload="qdeq_qiskit.studies.worker_preload",
        )
    except (RuntimeError, OSError) as error:
        raise ClusterError(
            f"worker processes cannot be started ({error}); in a script of your own, call this below "
            '`if __name__ == "__main__":`'
        ) from error
    client = Client(local, set_as_default=False)
    try:
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=5)
        with suppress(Exception):
            local.close(timeout=10)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    check_scheduler(address)
    try:
        client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(f"--scheduler {address}: no connection ({' '.join(str(error).split())})") from None
    try:
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=5)


def _check_workers(client: Client, address: str, shared: Path) -> None:
    """Every worker has this version, and reads in the shared folder what we write there."""
    try:
        client.wait_for_workers(1, timeout=SECONDS_FOR_A_WORKER)
    except TimeoutError:
        raise ClusterError(
            f"--scheduler {address}: it has no workers; start some with `dask worker {address} --nthreads 1`"
        ) from None
    content = uuid.uuid4().hex
    token = shared.resolve() / f".token-{content[:8]}"
    token.write_text(content, encoding="utf-8")
    try:
        answers = client.run(_look_for, str(token), on_error="return")
    finally:
        token.unlink()
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise ClusterError(
                f"--scheduler {address}: the worker {worker} cannot import qdeq_qiskit {__version__}: {answer}"
            )
        version, found = answer
        if version != __version__:
            raise ClusterError(
                f"--scheduler {address}: the worker {worker} has qdeq_qiskit {version}, here it is {__version__}"
            )
        if found != content:
            raise ClusterError(
                f"--scheduler {address}: the worker {worker} does not see {shared.resolve()}; every worker needs "
                "that folder under that path (a shared file system)"
            )


def _look_for(path: str) -> tuple[str, str | None]:
    """This worker's version, and what the file holds, None if there is none."""
    from qdeq_qiskit import __version__ as version

    try:
        return version, Path(path).read_text(encoding="utf-8")
    except OSError:
        return version, None


def available_cpus() -> int:
    """CPUs that this process may use."""
    with suppress(AttributeError):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence dask's log: a worker that dies and one that is told to end are no news for the terminal."""
    logger = logging.getLogger("distributed")
    before = logger.level
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1)
    with dask.config.set(
        {"distributed.nanny.pre-spawn-environ": threads, "distributed.comm.timeouts.connect": f"{SECONDS_TO_CONNECT}s"}
    ):
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(before)
