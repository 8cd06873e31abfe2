"""Kills solves at random moments: `python killing.py FOLDER KILLS PORT [RUN]`, with the client's variables set.

The solve is the small one of `chain`, or, given a run directory, that of a trained model. Processes are forked from
this one, which has imported all that they need, so that kills do not hit imports alone.
"""

import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import chain
import qiskit_ibm_runtime.executor_estimator  # noqa: F401 (before forking)
from standing_in import StandIn


def small(folder):
    steps = int(os.environ.get("CHAIN_STEPS", chain.STEPS))
    return 2.0, lambda: chain.run(folder / "ledger.sqlite", steps=steps).ravel()


def model(folder, run):
    import trained_model

    copy = Path(shutil.copytree(run, folder / "run"))
    return 5.0, lambda: trained_model.solve(copy)


def attempt(solve, output, seconds):
    """Whether the process was killed before it was done."""
    process = os.fork()
    if process == 0:
        try:
            output.write_text(" ".join(repr(float(value)) for value in solve()))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
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
    killed, number = 0, 0
    while killed < kills or not number:
        service.set(forget=True, settings={"lag": 1})
        place = folder / f"solve-{number}"
        place.mkdir()
        output = place / "numbers.txt"
        longest, solve = model(place, Path(sys.argv[4])) if len(sys.argv) > 4 else small(place)
        while not output.exists():
            killed += attempt(solve, output, moments.uniform(0, longest) if killed < kills else 300.0)
        counts = Counter(service.records()["evaluations"])
        print("solved", output.read_text())
        print("evaluated", *counts.values(), flush=True)
        number += 1
    print(f"killed {killed}")


if __name__ == "__main__":
    main()
