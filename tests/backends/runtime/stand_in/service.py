"""A stand-in for IBM's service: an HTTP server in a process of its own that keeps its jobs, and fails when told to.

It speaks the part of the REST API that the client uses. `POST /control` sets the faults to come, `GET /records` says
what was asked for and what was evaluated. Run it as `python service.py DATABASE`; it prints its port.
"""

import json
import sqlite3
import sys
import threading
import time
import uuid
from collections import Counter
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
from execution import description, digest, execute

NAME = "ibm_manila"
PREFIX = "/experimental"
JOB = "id, seq, tags, params, state, reason, code, result, seconds, session, created, hidden"


class Refusal(Exception):
    def __init__(self, status, message, code=0):
        super().__init__(message)
        self.status, self.body = status, {"error": {"message": message, "code": code}}


class Cut(Exception):
    """The connection is cut without an answer."""


class Service:
    """Jobs in a database, a worker that runs them one after another, and faults to come.

    Faults are how often each still happens, by name; -1 for always.
    """

    def __init__(self, path):
        self.database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.database.executescript(
            "CREATE TABLE IF NOT EXISTS jobs(id TEXT PRIMARY KEY, seq INTEGER, tags TEXT, params TEXT, state TEXT,"
            " reason TEXT, code INTEGER, result TEXT, seconds REAL, session TEXT, created TEXT, hidden INTEGER);"
            "CREATE TABLE IF NOT EXISTS evaluations(job TEXT, digest TEXT);"
            "CREATE TABLE IF NOT EXISTS sessions(id TEXT PRIMARY KEY, mode TEXT, open INTEGER);"
        )
        self.turn = threading.RLock()
        self.work = threading.Condition(self.turn)
        self.faults, self.settings, self.calls, self.results = {}, {}, Counter(), {}
        threading.Thread(target=self.run_jobs, daemon=True).start()

    def control(self, body):
        with self.turn:
            self.faults, self.settings = body.get("faults", {}), body.get("settings", {})
            if body.get("forget"):
                self.calls.clear()
                for table in ("jobs", "evaluations", "sessions"):
                    self.database.execute(f"DELETE FROM {table}")
            self.work.notify_all()

    def happens(self, fault):
        with self.turn:
            left = self.faults.get(fault, 0)
            if left > 0:
                self.faults[fault] = left - 1
            return left != 0

    def one(self, sql, *values):
        with self.turn:
            return self.database.execute(sql, values).fetchone()

    def all(self, sql, *values):
        with self.turn:
            return self.database.execute(sql, values).fetchall()

    def job(self, job_id):
        row = self.one(f"SELECT {JOB} FROM jobs WHERE id=?", job_id)
        if row is None:
            raise Refusal(404, f"job {job_id} not found", 1291)
        return dict(zip(JOB.split(", "), row, strict=True))

    def accept(self, body):
        job_id = uuid.uuid4().hex[:20]
        with self.turn:
            (count,) = self.one("SELECT COUNT(*) FROM jobs")
            values = (
                *(job_id, count, json.dumps(body.get("tags", [])), json.dumps(body["params"]), "Queued", None, None),
                *(None, None, body.get("session_id"), datetime.now(UTC).isoformat(), self.settings.get("lag", 0)),
            )
            self.database.execute(f"INSERT INTO jobs({JOB}) VALUES ({','.join('?' * 12)})", values)
            self.work.notify_all()
        return job_id

    def end(self, job_id, state, **columns):
        with self.turn:
            changes = {"state": state, **columns}
            assignments = ", ".join(f"{column}=?" for column in changes)
            self.database.execute(f"UPDATE jobs SET {assignments} WHERE id=?", (*changes.values(), job_id))

    def run_jobs(self):
        while True:
            with self.turn:
                row = None
                while row is None:
                    if not self.settings.get("stopped"):
                        row = self.one("SELECT id, params FROM jobs WHERE state='Queued' ORDER BY seq LIMIT 1")
                    if row is None:
                        self.work.wait()
                job_id, params = row[0], json.loads(row[1])
                self.end(job_id, "Running")
            self.run_job(job_id, params)

    def run_job(self, job_id, params):
        time.sleep(self.settings.pop("first_seconds", 0.0))
        echo = self.settings.get("echo", "")
        if self.happens("job_fails"):
            self.end(job_id, "Failed", reason=f"Failed to run job {echo}", code=5203, seconds=0.0)
        elif self.happens("job_fails_for_good"):
            self.end(job_id, "Failed", reason=f"Instruction not in basis gates {echo}", code=7000, seconds=0.0)
        elif self.happens("job_is_cancelled"):
            self.end(job_id, "Cancelled", seconds=0.0)
        else:
            try:
                name = digest(params)
                with self.turn:
                    self.database.execute("INSERT INTO evaluations VALUES (?, ?)", (job_id, name))
                if name not in self.results:  # an evaluation all the same, and recorded as one
                    self.results[name] = execute(params)
                result, seconds = self.results[name]
            except Exception as error:
                self.end(job_id, "Failed", reason=f"{type(error).__name__}: {error}", code=9999, seconds=0.0)
            else:
                self.end(job_id, "Completed", result=result, seconds=seconds)

    # What the client asks for, verb by verb.

    def get_backends(self, query):
        status = "paused" if self.settings.get("paused") else "online"
        return {"devices": [{"name": NAME, "status": {"name": status}, "queue_length": 3, "qubits": 5}]}

    def get_status(self):
        paused = bool(self.settings.get("paused"))
        return {"state": not paused, "status": "paused" if paused else "active", "length_queue": 3}

    def post_job(self, body):
        for fault, status in (("submit_400", 400), ("submit_401", 401), ("submit_403", 403), ("submit_429", 429)):
            if self.happens(fault):
                raise Refusal(status, f"refused with {status} " + self.settings.get("echo", ""), 1234)
        if self.happens("submit_500_before"):
            raise Refusal(500, "internal error")
        if self.happens("submit_cut_before"):
            raise Cut
        if body.get("session_id"):
            row = self.one("SELECT open FROM sessions WHERE id=?", body["session_id"])
            if row is None or not row[0]:
                raise Refusal(400, "the session is closed", 1217)
        job_id = self.accept(body)
        if self.happens("submit_twice"):
            job_id = self.accept(body)
        if self.happens("submit_500_after"):
            raise Refusal(500, "internal error")
        if self.happens("submit_cut_after"):
            raise Cut
        if self.happens("acknowledged_without_id"):
            return {"status": "accepted"}
        if self.happens("acknowledged_by_half_a_text"):
            return '{"id": "'
        if self.happens("acknowledged_as_another"):
            (job_id,) = self.one("SELECT id FROM jobs ORDER BY seq LIMIT 1")
        return {"id": job_id, "backend": NAME}

    def get_jobs(self, query):
        if self.happens("listing_malformed"):
            return {}
        tags = set(query.get("tags", []))
        rows = self.all(f"SELECT {JOB} FROM jobs ORDER BY seq {'ASC' if query.get('sort') == ['ASC'] else 'DESC'}")
        jobs = [dict(zip(JOB.split(", "), row, strict=True)) for row in rows]
        found = [job for job in jobs if tags <= set(json.loads(job["tags"]))]
        for job in found:
            with self.turn:
                self.database.execute("UPDATE jobs SET hidden=hidden-1 WHERE id=?", (job["id"],))
        shown = [job for job in found if job["hidden"] <= 0]
        offset, limit = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["20"])[0])
        return {"jobs": [self.shown(job) for job in shown[offset : offset + limit]], "count": len(shown)}

    def get_job(self, job_id):
        if self.happens("state_500"):
            raise Refusal(500, "internal error")
        if self.happens("state_cut"):
            raise Cut
        if self.happens("state_hangs"):
            time.sleep(self.settings["hang"])
        if self.happens("state_malformed"):
            return {"id": job_id}
        return self.shown(self.job(job_id))

    def shown(self, job):
        state = {"status": job["state"]}
        if job["reason"]:
            state |= {"reason": job["reason"], "reason_code": job["code"]}
        return {
            "id": job["id"],
            "backend": NAME,
            "state": state,
            "status": job["state"],
            "program": {"id": "executor"},
            "tags": json.loads(job["tags"]),
            "created": job["created"],
            "session_id": job["session"],
        }

    def get_result(self, job_id):
        job = self.job(job_id)
        if job["state"] != "Completed":
            return job["reason"] or ""
        if self.happens("result_missing"):
            raise Refusal(404, "no result", 1292)
        if self.happens("result_empty"):
            return ""
        if self.happens("result_truncated"):
            return job["result"][: len(job["result"]) // 2]
        if self.happens("result_of_something_else"):
            return json.dumps({"schema_version": "v2.0", "data": [], "metadata": {"chunk_timing": []}})
        return job["result"]

    def get_metrics(self, job_id):
        seconds = self.job(job_id)["seconds"]
        if seconds is None or self.happens("usage_pending"):
            return {"usage": {"status": "pending"}}
        return {"usage": {"status": "final", "qpu_charge_time_seconds": seconds}}

    def post_cancel(self, job_id):
        if self.job(job_id)["state"] not in ("Queued", "Running"):
            raise Refusal(409, "job has ended", 1293)
        self.end(job_id, "Cancelled", seconds=0.0)

    def post_session(self, body):
        if self.settings.get("open_plan") and body.get("mode") == "dedicated":
            raise Refusal(403, "You are not authorized to run a session when using the open plan.", 1352)
        session = uuid.uuid4().hex[:20]
        with self.turn:
            self.database.execute("INSERT INTO sessions VALUES (?, ?, 1)", (session, body.get("mode")))
        return {"id": session}

    def session(self, session):
        row = self.one("SELECT mode, open FROM sessions WHERE id=?", session)
        if row is None:
            raise Refusal(404, f"session {session} not found", 1290)
        accepts = bool(row[1])
        state = "active" if accepts else "closed"
        return {"id": session, "backend_name": NAME, "mode": row[0], "state": state, "accepting_jobs": accepts}

    def close_session(self, session):
        if self.happens("close_500"):
            raise Refusal(500, "internal error")
        self.session(session)
        with self.turn:
            self.database.execute("UPDATE sessions SET open=0 WHERE id=?", (session,))

    def records(self):
        return {
            "jobs": [
                {"id": row[0], "tags": json.loads(row[1]), "state": row[2], "session": row[3]}
                for row in self.all("SELECT id, tags, state, session FROM jobs ORDER BY seq")
            ],
            "evaluations": [row[0] for row in self.all("SELECT digest FROM evaluations")],
            "sessions": [
                {"id": row[0], "mode": row[1], "open": bool(row[2])} for row in self.all("SELECT * FROM sessions")
            ],
            "calls": dict(self.calls),
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or every answer waits 40 ms for an acknowledgement of its headers
    service: Service

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answered("GET")

    def do_POST(self):
        self.answered("POST")

    def do_PATCH(self):
        self.answered("PATCH")

    def do_DELETE(self):
        self.answered("DELETE")

    def answered(self, verb):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, body = 200, self.routed(verb, content)
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
        except Cut:
            self.close_connection = True
            self.connection.close()
            return
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        try:
            self.send_response(204 if body is None else status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "0" if body is None else str(len(data)))
            self.end_headers()
            if body is not None:
                self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the client died

    def routed(self, verb, content):
        service, url = self.service, urlsplit(self.path)
        path, query = url.path.removeprefix(PREFIX), parse_qs(url.query)
        parts = path.strip("/").split("/")
        if path == "/control":
            return service.control(json.loads(content))
        if path == "/records":
            return service.records()
        if path == "/identity/token":
            return self.token(content)
        call = f"{verb} {parts[0]}{'/' + parts[2] if len(parts) > 2 else ''}"
        service.calls[call] += 1
        if service.happens(f"nonsense {call}"):
            return service.settings["nonsense"]
        if service.happens("401"):
            raise Refusal(401, "not authorized " + service.settings.get("echo", ""), 1201)
        match verb, *parts:
            case "GET", "backends":
                return service.get_backends(query)
            case "GET", "backends", name, what if name == NAME:
                return {
                    "configuration": lambda: description("conf"),
                    "properties": lambda: description("props"),
                    "status": service.get_status,
                }[what]()
            case "GET", "instances", "usage":
                return {"usage_limit_reached": bool(service.settings.get("exhausted"))}
            case "POST", "jobs":
                return service.post_job(json.loads(content))
            case "GET", "jobs":
                return service.get_jobs(query)
            case "GET", "jobs", job_id:
                return service.get_job(job_id)
            case "GET", "jobs", job_id, "results":
                return service.get_result(job_id)
            case "GET", "jobs", job_id, "metrics":
                return service.get_metrics(job_id)
            case "POST", "jobs", job_id, "cancel":
                return service.post_cancel(job_id)
            case "POST", "sessions":
                return service.post_session(json.loads(content))
            case "GET", "sessions", session:
                return service.session(session)
            case ("PATCH", "sessions", session) | ("DELETE", "sessions", session, "close"):
                return service.close_session(session)
        raise Refusal(404, f"no such thing: {verb} {path}")

    def token(self, content):
        if self.service.happens("iam_down"):
            raise Refusal(503, "try later")
        if self.service.happens("iam_unknown"):
            raise Refusal(400, "Provided API key could not be found.")
        now = int(time.time())
        token = jwt.encode({"iat": now, "exp": now + 3600}, "a key of sufficient length for the algorithm", "HS256")
        return {"access_token": token, "token_type": "Bearer", "expires_in": 3600, "expiration": now + 3600}


def main():
    Handler.service = Service(Path(sys.argv[1]))
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
