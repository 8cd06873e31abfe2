import contextlib
import io
import json
import pickle
import sqlite3
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scripted import ScriptedProcessor, ScriptedService, answer, request

from qdeq_qiskit.backends.runtime.errors import LedgerError
from qdeq_qiskit.backends.runtime.ledger import Ledger

ROWS = [[0.1, 0.2], [0.3, 0.4]]


def test_what_is_pinned_at_a_solves_beginning_is_read_back(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        solve = ledger.begin(
            "circuits", {"samples": [1, 2]}, calibration="{}", processor="ibm_x", predicted={"jobs": 3}
        )
        solve.keep_session("s-1")
    with Ledger.read(tmp_path / "ledger.sqlite") as ledger:
        (solve,) = ledger.solves()
        assert (solve.id, solve.kind, solve.settings, solve.processor) == (1, "circuits", {"samples": [1, 2]}, "ibm_x")
        assert (solve.session_id, solve.state, solve.predicted, solve.result) == ("s-1", "open", {"jobs": 3}, None)


def test_a_finished_solve_has_its_result_and_a_closed_one_is_cancelled():
    ledger = Ledger.open(None)
    first, second = ledger.begin("circuits", {}), ledger.begin("surrogate", {})
    first.finish({"accuracy": 0.9})
    second.close()
    assert [solve.state for solve in ledger.solves()] == ["finished", "cancelled"]
    assert first.result == {"accuracy": 0.9}


def test_outcomes_are_stored_to_the_last_bit(tmp_path):
    of = request(np.random.default_rng(0).normal(size=(5, 2)))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        solve = ledger.begin("circuits", {})
        solve.dispatcher(ScriptedProcessor(ScriptedService()), sleep=lambda _: None).run([of])
    with Ledger.read(tmp_path / "ledger.sqlite") as ledger:
        outcome, charged = ledger.solve(1).answer(0)
    np.testing.assert_array_equal(outcome.arrays["evs"], answer(of))
    assert (outcome.qpu_seconds, charged) == (2.5, 2.5)


def test_two_processes_do_not_work_on_one_ledger_and_a_killed_one_lets_go(tmp_path):
    path = tmp_path / "ledger.sqlite"
    holds = f"""
        import time; from pathlib import Path; from qdeq_qiskit.backends.runtime.ledger import Ledger
        ledger = Ledger.open(Path({str(path)!r})); print("open", flush=True); time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(holds)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"open\n"
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: another process works with this ledger"):
        Ledger.open(path)
    with Ledger.read(path) as ledger:
        assert ledger.solves() == []
    process.kill()
    process.wait()
    process.stdout.close()
    Ledger.open(path).close()


def test_reading_what_was_never_written_says_that_nothing_was_submitted(tmp_path):
    with pytest.raises(LedgerError, match="nothing was submitted"):
        Ledger.read(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("way", [Ledger.open, Ledger.read])
def test_a_file_that_is_no_database_is_refused(tmp_path, way):
    path = tmp_path / "ledger.sqlite"
    path.write_text("not a ledger " * 1000)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: the ledger is damaged, or is none"):
        way(path)


def test_a_truncated_ledger_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        for _ in range(50):
            ledger.begin("circuits", {"text": "x" * 500})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(LedgerError, match="damaged"):
        Ledger.open(path)


def test_another_database_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE poems(line TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(LedgerError, match="not a ledger of qdeq"):
        Ledger.open(path)


def test_a_ledger_of_another_schema_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    Ledger.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(LedgerError, match="its schema is 7"):
        Ledger.open(path)


def test_a_process_that_dies_before_the_first_table_leaves_a_ledger_that_opens(tmp_path):
    (tmp_path / "ledger.sqlite").touch()
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.solves() == []


def test_a_stored_outcome_that_was_tampered_with_is_told(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(path) as ledger:
        ledger.begin("circuits", {}).dispatcher(ScriptedProcessor(ScriptedService()), sleep=lambda _: None).run(
            [request(ROWS)]
        )
    connection = sqlite3.connect(path)
    connection.execute("UPDATE requests SET outcome = ?", (b"PK\x03\x04 nonsense",))
    connection.commit()
    connection.close()
    with Ledger.open(path) as ledger, pytest.raises(LedgerError, match="request 0: the stored outcome is damaged"):
        ledger.solve(1).answer(0)


def test_half_a_transaction_leaves_nothing():
    ledger = Ledger.open(None)

    def half():
        with ledger.transaction():
            ledger.begin("circuits", {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert ledger.solves() == []


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(LedgerError, match="there is no folder"):
        Ledger.open(tmp_path / "nowhere" / "ledger.sqlite")


def test_settings_are_plain_json(tmp_path):
    ledger = Ledger.open(None)
    settings = {"seed": 3, "names": ["a"], "none": None}
    assert json.loads(json.dumps(ledger.begin("circuits", settings).settings)) == settings


def damaged(path, sql, *values):
    """A ledger with one finished request, changed by hand."""
    with Ledger.open(path) as ledger:
        solve = ledger.begin("circuits", {"a": 1})
        solve.dispatcher(ScriptedProcessor(ScriptedService()), sleep=lambda _: None).run([request(ROWS)])
    connection = sqlite3.connect(path)
    connection.execute(sql, values)
    connection.commit()
    connection.close()


def zipped(header, content=b""):
    """An npz with an array of that header, as nobody would write it."""
    text = repr(header).encode().ljust(117) + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evs.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content)
    return file.getvalue()


class Planted:
    """What would run if it were unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def pickled():
    file = io.BytesIO()
    np.savez(file, evs=np.array([Planted()], dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pickled(),
        pickle.dumps(Planted()),
        zipped({"descr": "<f8", "fortran_order": False, "shape": (10**13,)}),
        zipped({"descr": "<U2", "fortran_order": False, "shape": (1,)}, b"abcdefgh"),
        zipped({"descr": [("a", "<f8")], "fortran_order": False, "shape": (1,)}, b"abcdefgh"),
        zipped("{"),
        "text",
        7,
    ],
    ids=["pickled", "pickle", "huge", "text array", "records", "no header", "text", "number"],
)
def test_stored_outcomes_are_numbers_or_damaged(tmp_path, content):
    path = tmp_path / "ledger.sqlite"
    damaged(path, "UPDATE requests SET outcome=?", content)
    with Ledger.open(path) as ledger, pytest.raises(LedgerError, match=r"request 0: the stored outcome is damaged"):
        ledger.solve(1).answer(0)


@pytest.mark.parametrize("settings", ["{", "[]", "7"])
def test_settings_that_are_damaged_are_told(tmp_path, settings):
    path = tmp_path / "ledger.sqlite"
    damaged(path, "UPDATE solves SET settings=?", settings)
    with Ledger.open(path) as ledger, pytest.raises(LedgerError, match=r"ledger\.sqlite, solve 1: .*settings.*damaged"):
        _ = ledger.solve(1).settings


def test_a_ledger_in_which_any_bytes_are_others_is_damaged_or_as_it_was(tmp_path):
    path = tmp_path / "ledger.sqlite"
    damaged(path, "UPDATE solves SET state=state")
    content, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(content)
        for place in generator.integers(len(changed), size=20):
            changed[place] = generator.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(LedgerError), Ledger.open(path) as ledger:
            for solve in ledger.solves():
                _ = solve.settings, solve.predicted, solve.result, solve.jobs(), solve.answer(0)


@pytest.mark.parametrize("instead", [False, True], ids=["deleted", "replaced"])
def test_a_ledger_that_is_taken_away_is_told_before_anything_is_handed_in(tmp_path, instead):
    path, other = tmp_path / "ledger.sqlite", tmp_path / "other.sqlite"
    Ledger.open(other).close()
    service = ScriptedService()
    with Ledger.open(path) as ledger:
        dispatcher = ledger.begin("circuits", {}).dispatcher(ScriptedProcessor(service), sleep=lambda _: None)
        dispatcher.run([request(ROWS)])
        other.replace(path) if instead else path.unlink()
        with pytest.raises(LedgerError, match=r"was moved, deleted or replaced while it was in use"):
            dispatcher.run([request(ROWS, seed=1)])
    assert len(service.jobs) == 1


FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from scripted import ScriptedProcessor, ScriptedService, request
from qdeq_qiskit.backends.runtime.errors import LedgerError
from qdeq_qiskit.backends.runtime.ledger import Ledger
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
service = ScriptedService()
with Ledger.open(Path({path!r})) as ledger:
    dispatcher = ledger.begin("circuits", {{}}).dispatcher(ScriptedProcessor(service), sleep=lambda _: None)
    dispatcher.run([request([[0.1, 0.2]])])
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path({path!r}).stat().st_size + {room},) * 2)
    try:
        dispatcher.run([request([[0.1, 0.2]] * 20, seed=seed) for seed in range(1, 40)])
    except LedgerError as error:
        print(len(service.jobs), error)
"""


@pytest.mark.parametrize("room", [0, 20_000])
def test_a_disk_that_is_full_is_told_and_what_was_written_is_kept(tmp_path, room):
    path = tmp_path / "ledger.sqlite"
    script = FULL.format(tests=str(Path(__file__).parent), path=str(path), room=room)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    taken, told = done.stdout.strip().split(" ", 1)
    assert told.startswith(f"{path}: the ledger cannot be read or written (")
    with Ledger.open(path) as ledger:
        # Whatever the service has was written down before it was handed in.
        assert len(ledger.jobs()) >= int(taken)
        assert ledger.solve(1).answer(0) is not None
