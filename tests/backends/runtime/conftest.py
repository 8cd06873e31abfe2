import os
from pathlib import Path

import chain
import pytest
from standing_in import StandIn


@pytest.fixture(scope="session")
def running_service(tmp_path_factory):
    with StandIn(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture
def service(running_service, monkeypatch, tmp_path):
    """The stand-in service without faults or jobs; the client finds it, and no account of the user's."""
    running_service.set(forget=True)
    for name in [name for name in os.environ if name.startswith("QISKIT_IBM")]:
        monkeypatch.delenv(name)
    for name, value in running_service.environment.items():
        monkeypatch.setenv(name, value)
    accounts = tmp_path / "home" / "qiskit-ibm.json"
    monkeypatch.setattr("qiskit_ibm_runtime.accounts.management._DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(accounts))
    return running_service


@pytest.fixture(scope="session")
def undisturbed(running_service, tmp_path_factory):
    """What the small solve gives when nothing happens."""
    running_service.set(forget=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running_service.environment.items():
            patch.setenv(name, value)
        return chain.run(Path(tmp_path_factory.mktemp("undisturbed")) / "ledger.sqlite")
