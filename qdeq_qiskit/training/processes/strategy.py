"""Lightning's DDP, told about processes that were started by ourselves."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import final

import torch
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed

from qdeq_qiskit.training.errors import SetupError
from qdeq_qiskit.training.processes.share import Share

# That a process is gone is noticed otherwise, at once; one that is slow, or was stopped by Ctrl-Z, is waited for.
PATIENCE = timedelta(days=1)
_INTERFACE = "GLOO_SOCKET_IFNAME"


@final
class StartedAlready(DDPStrategy):
    """DDP that starts nothing: the processes are there, each with one device.

    Lightning's own launchers run the user's program once more for each process, or fork this one. The first does not
    work in a notebook and repeats whatever the program does besides; the second does not work once a GPU or a thread is
    in use. Of processes that an environment says are there already, the first launcher starts none, but it refuses
    notebooks all the same, and sets torch's threads and OMP_NUM_THREADS. Hence the one hook that is overridden.
    """

    def __init__(self, share: Share) -> None:
        super().__init__(cluster_environment=_Environment(share))

    def _configure_launcher(self) -> None:
        """No launcher, so that Lightning calls what it is to run."""


@final
class _Environment(ClusterEnvironment):
    """Each process is a node with one device: it sees no other."""

    def __init__(self, share: Share) -> None:
        self._share = share

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return 0  # never asked for: they have met when Lightning begins

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._share.processes

    def set_world_size(self, size: int) -> None:
        assert size == self._share.processes

    def global_rank(self) -> int:
        return self._share.rank

    def set_global_rank(self, rank: int) -> None:
        assert rank == self._share.rank

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return self._share.rank


def check_not_joined() -> None:
    """See that this process belongs to no group of processes yet.

    Raises:
        SetupError: it does.
    """
    if distributed.is_available() and distributed.is_initialized():
        raise SetupError(
            "optimisation.processes is more than 1, but torch.distributed is in use in this process already; end that, "
            "or set it to 1"
        )


@contextlib.contextmanager
def joined(share: Share, store: Path, device: torch.device) -> Iterator[None]:
    """Be one of the processes of a run for a while.

    Args:
        share: which one.
        store: a file where they find each other; all of them name the same.
        device: what this one computes on.
    """
    backend = "nccl" if device.type == "cuda" else "gloo"
    with _on_this_machine():
        distributed.init_process_group(
            backend,
            store=distributed.FileStore(str(store), share.processes),
            rank=share.rank,
            world_size=share.processes,
            timeout=PATIENCE,
        )
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def _on_this_machine() -> Iterator[None]:
    """Let gloo use the loopback interface, which no other machine reaches, unless the user has chosen one."""
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")] if os.name == "posix" else []
    if _INTERFACE in os.environ or not loopback:
        yield
        return
    os.environ[_INTERFACE] = loopback[0]
    try:
        yield
    finally:
        del os.environ[_INTERFACE]
