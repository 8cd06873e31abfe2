"""Starts and tells the stand-in service, and points the client at it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

TOKEN = "planted-token-4f1c9e7a2b"
INSTANCE = "crn:v1:bluemix:public:quantum-computing:us-east:a/planted:instance::"


class StandIn:
    """A service in a process of its own; a context manager."""

    def __init__(self, folder: Path):
        self._database, self.port = folder / "service.sqlite", 0
        self._log = (folder / "service.log").open("ab")

    @classmethod
    def at(cls, port):
        """One that runs already, to be told and asked."""
        found = cls.__new__(cls)
        found.port = port
        return found

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self._log.close()

    def start(self):
        command = [
            sys.executable,
            str(Path(__file__).parent / "stand_in" / "service.py"),
            str(self._database),
            str(self.port),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, env=environment)
        self.port = int(self._process.stdout.readline())

    def stop(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()

    @property
    def environment(self):
        """Variables by which the client finds the service, and its account."""
        base = f"http://127.0.0.1:{self.port}"
        return {
            "QISKIT_IBM_TOKEN": TOKEN,
            "QISKIT_IBM_INSTANCE": INSTANCE,
            "QISKIT_IBM_URL": f"{base}/experimental",
            "QISKIT_FUNCTIONS_EXPERIMENTAL": "1",
            "IAM_URL": base,
            "USAGE_DATA_OPT_OUT": "True",  # or the client searches its stack at every request
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }

    def set(self, *, forget=False, settings=None, **faults):
        """The faults to come, each with how often it happens (-1 for always), and lasting settings."""
        self._asked("/control", {"faults": faults, "settings": settings or {}, "forget": forget})

    def records(self):
        return self._asked("/records")

    def _asked(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", data=data, timeout=30) as answer:
            return json.loads(answer.read() or b"null")
