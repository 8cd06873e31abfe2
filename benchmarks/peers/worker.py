"""`python -m benchmarks.peers.worker CONTENDER`: what an `OtherInterpreterCase` talks to."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import IO

import torch

from .frames import Message, receive, send
from .layer_case import CircuitLayer, LayerCase
from .points import Points
from .problem import Problem
from .solving import SOLVING

Make = Callable[[Problem, torch.dtype], CircuitLayer]


def serve(contender: str, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers until the pipe is closed; cases are told apart by numbers."""
    make = importlib.import_module(f"benchmarks.peers.contenders.{contender}").make
    cases: dict[int, LayerCase] = {}
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        send(answers, _answer(request, cases, make))


def _answer(request: Message, cases: dict[int, LayerCase], make: Make) -> Message:
    number = request["case"]
    if "problem" in request:
        problem = Problem.from_plain(request["problem"])
        points = Points(request["features"], request["weights"], request["labels"])
        dtype = points.features.dtype
        cases[number] = LayerCase(
            lambda: make(problem, dtype), points, penalised=request["penalised"], solving=SOLVING[request["solving"]]
        )
    elif "value" in request:
        return {"value": cases[number].value(request["value"])}
    elif "seconds" in request:
        return {"seconds": cases[number].seconds(request["seconds"])}
    else:
        del cases[number]
    return {}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the package prints is no answer
    serve(sys.argv[1], sys.stdin.buffer, answers)
