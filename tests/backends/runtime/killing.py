"""Kills solves at random moments: `python killing.py FOLDER KILLS PORT`, with the client's variables set.

Processes are forked from this one, which has imported all that they need, so that kills do not hit imports alone.
"""

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import chain
import qiskit_ibm_runtime.executor_estimator  # noqa: F401 (before forking)
from standing_in import StandIn

LONGEST = 2.0  # seconds until a process is killed


def child(path, output):
    angles = chain.run(path)
    output.write_text(" ".join(repr(float(angle)) for angle in angles.ravel()))
    os._exit(0)


def attempt(path, output, seconds):
    """Whether the process was killed before it was done."""
    process = os.fork()
    if process == 0:
        try:
            child(path, output)
        except BaseException as error:
            print(f"failed {error!r}", flush=True)
            os._exit(1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(process, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return True


def main():
    folder, kills, port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    service = StandIn.at(port)
    moments = random.Random(2026)
    killed, solve = 0, 0
    while killed < kills:
        service.set(forget=True, settings={"lag": 1})
        path, output = folder / f"ledger-{solve}.sqlite", folder / f"angles-{solve}.txt"
        while not output.exists():
            killed += attempt(path, output, moments.uniform(0, LONGEST) if killed < kills else 60.0)
        counts = Counter(service.records()["evaluations"])
        print("solved", output.read_text())
        print("evaluated", *counts.values(), flush=True)
        solve += 1
    print(f"killed {killed}")


if __name__ == "__main__":
    main()
