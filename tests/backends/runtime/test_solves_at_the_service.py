"""A trained model's solves at the service: what is refused, given up, or not known in full."""

import pytest

from qdeq_qiskit.backends.runtime.errors import AccountError, BudgetError
from qdeq_qiskit.backends.runtime.ledger import Ledger

BACKEND = "manila.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    import trained_model  # what is heavy, for these tests alone

    return trained_model.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(trained, monkeypatch):
    from qdeq_qiskit.hardware import solving

    monkeypatch.setattr(solving, "write_report", lambda *_: None)
    (trained / "ledger.sqlite").unlink(missing_ok=True)
    return trained


def submit(run, *overrides, **options):
    from qdeq_qiskit.hardware.solving import submit as carry_out
    from qdeq_qiskit.hardware.submission import Order, make_plan

    return carry_out(make_plan(Order(run, str(run / BACKEND), samples=2, overrides=overrides, **options)))


def states(run):
    with Ledger.read(run / "ledger.sqlite") as ledger:
        return [solve.state for solve in ledger.solves()]


def test_a_session_that_the_plan_does_not_have_leaves_nothing_that_could_be_resumed(service, run):
    from qdeq_qiskit.hardware.solving import resume

    service.set(settings={"open_plan": True})
    with pytest.raises(AccountError, match="take mode: job or mode: batch"):
        submit(run, "mode=session")
    assert states(run) == ["cancelled"]
    assert resume(run) == []
    assert service.records()["jobs"] == []


def test_usage_that_is_not_known_yet_fails_no_solve_and_is_asked_for_later(service, run, caplog):
    from qdeq_qiskit.hardware.solving import resume

    service.set(settings={"nonsense": "[]"}, **{"nonsense GET jobs/metrics": -1})
    solved = submit(run)
    assert solved.result["used"]["qpu_seconds"] is None
    service.set(**{"401": -1})
    assert resume(run) == []
    assert "what solve 1 was charged is not known in full" in caplog.text
    service.set()
    assert resume(run) == []
    used = solved.folder.read_result()["used"]
    assert used["qpu_seconds"] == pytest.approx(used["formula_seconds"], rel=0.1)


def test_a_solve_without_jobs_is_given_up_without_an_account(service, run, monkeypatch):
    from qdeq_qiskit.hardware.solving import cancel

    service.set(submit_400=1)
    with pytest.raises(Exception, match="refused with 400"):
        submit(run)
    assert states(run) == ["open"]
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    assert cancel(run) == {1: []}
    assert states(run) == ["cancelled"]


def test_a_budget_that_pays_no_job_spends_nothing(service, run):
    with pytest.raises(BudgetError, match="the first job alone takes about"):
        submit(run, max_qpu_seconds=1.0)
    assert service.records()["jobs"] == []
    assert not (run / "ledger.sqlite").exists()


def test_a_solve_goes_on_in_the_instance_where_it_began(service, run, monkeypatch):
    from qdeq_qiskit.backends.runtime import ibm_processor
    from qdeq_qiskit.hardware.solving import resume

    began = service.environment["QISKIT_IBM_INSTANCE"]
    service.set(submit_400=1)
    with pytest.raises(Exception, match="refused with 400"):
        submit(run)
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", began.replace("planted", "another"))
    asked, opens = [], ibm_processor.open_service

    def recorded(**options):
        asked.append(options["instance"])
        return opens(**options)

    monkeypatch.setattr(ibm_processor, "open_service", recorded)
    (solved,) = resume(run)
    assert solved.number == 1
    assert set(asked) == {began}
