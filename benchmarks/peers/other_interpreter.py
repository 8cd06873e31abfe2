"""A peer that cannot live with the library's requirements: it computes in an interpreter of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, final

from torch import Tensor

from .frames import Message, receive, send
from .layer_peer import SAME_CIRCUIT
from .peer import DTYPES, Operation, Precision
from .points import Points
from .problem import Problem

_ROOT = Path(__file__).parents[2]


@final
@dataclass(frozen=True)
class OtherInterpreterPeer:
    """See `peer.Peer`.

    Attributes:
        package: what has to be installed there.
        contender: the module in `contenders/` whose `make` builds the circuit's layer.
        python_variable: the environment variable with the path of the interpreter.
        python_default: where it is looked for otherwise, from the repository's root.
        how: the command that sets it up.
        solving: by whose solver the step is made; with torchdeq's the step alone is.
    """

    name: str
    package: str
    contender: str
    precisions: tuple[Precision, ...]
    python_variable: str
    python_default: str
    how: str
    ours: bool = False
    loops: bool = False
    penalised: bool = True
    checked: int | None = None
    solving: Literal["equilibrium", "torchdeq"] = "equilibrium"

    @property
    def python(self) -> Path:
        """The interpreter."""
        return Path(os.environ.get(self.python_variable) or _ROOT / self.python_default)

    def missing(self) -> str | None:
        if not self.python.exists():
            return f"not installed: {self.how}"
        found = _version(self.python, self.package)
        return found.error

    def versions(self) -> dict[str, str]:
        found = _version(self.python, self.package)
        return {} if found.number is None else {self.package: found.number, f"Python of {self.package}": found.python}

    def refusal(self, problem: Problem, operation: Operation) -> str | None:
        return SAME_CIRCUIT if self.solving == "torchdeq" and operation != "step" else None

    def case(self, problem: Problem, precision: Precision, points: Points) -> OtherInterpreterCase:
        return OtherInterpreterCase(
            self.python,
            self.contender,
            problem,
            points.to(DTYPES[precision]),
            {"penalised": self.penalised, "solving": self.solving},
        )


class OtherInterpreterCase:
    """See `peer.Case`; the process keeps the clock itself, so that talking to it costs nothing.

    Raises:
        RuntimeError: the process fails; the message is the last line that it wrote.
    """

    def __init__(self, python: Path, contender: str, problem: Problem, points: Points, step: Message) -> None:
        self._worker = _worker(python, contender)
        self._number = next(_numbers)
        given = {"features": points.features, "weights": points.weights, "labels": points.labels}
        self._ask({"problem": problem.plain(), **step, **given})

    def value(self, operation: Operation) -> Tensor:
        found: Tensor = self._ask({"value": operation})["value"]
        return found

    def seconds(self, operation: Operation) -> float:
        return float(self._ask({"seconds": operation})["seconds"])

    def close(self) -> None:
        """Lets the process forget the case."""
        self._ask({})

    def _ask(self, message: Message) -> Message:
        return self._worker.ask({"case": self._number, **message})


_numbers = itertools.count()


class _Worker:
    """The process; it ends when its pipe is closed, as it is at the latest when this process ends."""

    def __init__(self, python: Path, contender: str) -> None:
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", "-m", "benchmarks.peers.worker", contender],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
        )

    def ask(self, message: Message) -> Message:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            send(self._process.stdin, message)
            return receive(self._process.stdout)
        except (EOFError, BrokenPipeError) as error:
            _, written = self._process.communicate()
            lines = written.decode(errors="replace").strip().splitlines() or ["no message"]
            raise RuntimeError(f"the peer's own interpreter failed: {lines[-1]}") from error


@lru_cache
def _worker(python: Path, contender: str) -> _Worker:
    return _Worker(python, contender)


@dataclass(frozen=True)
class _Found:
    """What an interpreter says of a package."""

    number: str | None
    python: str
    error: str | None


@lru_cache
def _version(python: Path, package: str) -> _Found:
    code = (
        f"import platform; from importlib.metadata import version; import {package};"
        f"print(version({package!r})); print(platform.python_version())"
    )
    environment = {**os.environ, "PYTHONPATH": ""}
    ran = subprocess.run(
        [str(python), "-W", "ignore", "-c", code], check=False, capture_output=True, text=True, env=environment
    )
    lines = ran.stdout.strip().splitlines()
    if ran.returncode or len(lines) < 2:
        why = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        return _Found(None, "", f"cannot be imported: {why}")
    return _Found(lines[-2], lines[-1], None)
