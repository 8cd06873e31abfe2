"""A solve that meets every fault, whose messages repeat the token: `python meeting_faults.py FOLDER PORT`.

What goes wrong is printed as a traceback, and everything is logged to FOLDER/log.txt.
"""

import logging
import sys
import traceback
from pathlib import Path

import chain
from standing_in import TOKEN, StandIn

WORLDS = [
    {"401": -1},
    {"submit_401": 1},
    {"submit_400": 1},
    {"submit_403": 1},
    {"job_fails_for_good": 1},
    {"result_missing": 5},
    {"submit_cut_after": 1, "state_500": 1, "result_truncated": 1, "submit_429": 1, "state_cut": 1, "job_fails": 1},
]


def main():
    folder, service = Path(sys.argv[1]), StandIn.at(int(sys.argv[2]))
    logging.basicConfig(level=logging.DEBUG, filename=folder / "log.txt")
    for faults in WORLDS:
        service.set(settings={"echo": f"(it was {TOKEN})", "lag": 1}, **faults)
        try:
            print("solved", chain.run(folder / "ledger.sqlite"))
        except Exception:
            traceback.print_exc(file=sys.stdout)


if __name__ == "__main__":
    main()
