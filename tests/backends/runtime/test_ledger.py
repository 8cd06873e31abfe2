import json
import sqlite3
import subprocess
import sys
import textwrap

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
