"""Credentials: where they come from, and that they are found nowhere else."""

import json
import logging
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import chain
import pytest
from qiskit_ibm_runtime.accounts import management
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import IBMNotAuthorizedError, IBMRuntimeError
from standing_in import INSTANCE, TOKEN

from qdeq_qiskit.backends.runtime.accounts import hiding, open_service
from qdeq_qiskit.backends.runtime.client_faults import told
from qdeq_qiskit.backends.runtime.errors import AccountError, ProcessorError
from qdeq_qiskit.backends.runtime.ibm_processor import open_processor
from qdeq_qiskit.backends.runtime.retries import TransientFault, patiently

CLIENTS = ("qiskit_ibm_runtime", "ibm_cloud_sdk_core", "ibm-cloud-sdk-core", "urllib3", "requests")


def save(url):
    """The account in the file that the client reads, as `save_account` writes it."""
    path = Path(management._DEFAULT_ACCOUNT_CONFIG_JSON_FILE)
    path.parent.mkdir(exist_ok=True)
    account = {"channel": "ibm_quantum_platform", "url": url, "token": TOKEN, "instance": INSTANCE}
    path.write_text(json.dumps({"default-ibm-quantum-platform": account}))
    return path


def test_no_account_is_told_with_how_to_save_one(service, monkeypatch):
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    with pytest.raises(AccountError, match=r"no account at IBM Quantum.*save_account\(token=.*or set QISKIT_IBM_TOKEN"):
        open_service()


def test_the_saved_account_is_taken_where_the_environment_has_none(service, monkeypatch):
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    save(service.environment["QISKIT_IBM_URL"])
    opened, hide = open_service()
    assert opened.active_instance() == INSTANCE
    assert TOKEN not in hide(f"a text with {TOKEN}")


def test_a_damaged_file_of_accounts_is_told(service, monkeypatch):
    monkeypatch.delenv("QISKIT_IBM_TOKEN")
    save(service.environment["QISKIT_IBM_URL"]).write_text('{"token": ')
    with pytest.raises(AccountError, match="saved accounts cannot be read"):
        open_service()


def test_a_token_that_the_service_does_not_accept_is_told_and_nothing_else(service, caplog):
    service.set(**{"401": -1})
    with pytest.raises(AccountError, match=r"not authorized .*the service does not accept the token: save") as told:
        open_service()
    assert "{" not in str(told.value)
    assert not caplog.records


def test_secrets_are_taken_out_of_texts():
    hide = hiding({"abc", "abcdef"})
    assert hide("x abcdef abc") == "x *** ***"
    assert hide("Authorization: Bearer eyJhbGciOi.J9_-x") == "Authorization: Bearer ***"


def raised(error):
    with told("asking", hiding({TOKEN})):
        raise error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RequestsApiError("no answer", -1), TransientFault),
        (RequestsApiError("Bad Gateway", 502), TransientFault),
        (RequestsApiError("too many requests", 429), TransientFault),
        (RequestsApiError("gone", 404), ProcessorError),
        (RequestsApiError("forbidden", 403), AccountError),
        (IBMNotAuthorizedError("who are you"), AccountError),
        (ConnectionResetError("reset"), TransientFault),
        (IBMRuntimeError("no such session"), ProcessorError),
        (KeyError("state"), TransientFault),
    ],
)
def test_the_clients_errors_say_whether_another_try_is_worth_it(error, kind):
    with pytest.raises(kind):
        raised(error)


def test_the_status_is_found_behind_what_the_client_puts_before_it():
    def wrapped():
        try:
            raise RequestsApiError("server error", 500)
        except RequestsApiError as error:
            raise IBMRuntimeError(f"Failed to run program: {error}") from None

    with pytest.raises(TransientFault), told("asking", str):
        wrapped()


def test_a_mistake_of_our_own_is_not_taken_for_a_fault_of_the_service():
    with pytest.raises(ZeroDivisionError):
        raised(ZeroDivisionError())


def test_a_token_that_cannot_be_renewed_for_a_while_is_no_wrong_token():
    def refused(reason):
        with told("asking", str):
            warnings.warn(f"Unable to retrieve IBM Cloud access token. API Key will be used. {reason}", stacklevel=1)
            raise IBMNotAuthorizedError("401")

    with pytest.raises(TransientFault):
        refused("Error: try later, Status code: 503")
    with pytest.raises(AccountError):
        refused("Error: Provided API key could not be found., Status code: 400")


def test_warnings_of_the_client_are_handed_on_without_secrets():
    with pytest.warns(UserWarning, match=r"the key is \*\*\*"), told("asking", hiding({TOKEN})):
        warnings.warn(f"the key is {TOKEN}", stacklevel=1)


def test_an_error_that_repeats_the_token_shows_it_neither_in_the_traceback_nor_in_a_log(service, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    service.set(settings={"echo": f"(key {TOKEN})"}, submit_400=1)
    with pytest.raises(ProcessorError) as refused:
        chain.run(tmp_path / "ledger.sqlite")
    assert "(key ***)" in str(refused.value)
    assert TOKEN not in "".join(traceback.format_exception(refused.value))
    assert "refused with 400" in caplog.text or "Posting the API request" in caplog.text
    assert TOKEN not in caplog.text
    assert TOKEN.encode() not in (tmp_path / "ledger.sqlite").read_bytes()


def test_a_planted_token_is_in_no_file_and_no_output_of_a_process_that_met_every_fault(service, tmp_path):
    script = Path(__file__).parent / "meeting_faults.py"
    command = [sys.executable, str(script), str(tmp_path), str(service.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.count("AccountError") == 3
    assert "solved" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"log.txt", "ledger.sqlite"} <= {path.name for path in files}
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]


def test_every_logger_of_the_client_takes_secrets_out_also_those_that_are_made_late(service, tmp_path):
    script = f"""
import logging, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import chain
chain.run(Path({str(tmp_path)!r}) / "ledger.sqlite", steps=1)
names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in {CLIENTS!r}]
assert len(names) > 10
print(*(name for name in names if not logging.getLogger(name).filters))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def without_shortcut(monkeypatch):
    """The client asks IBM Cloud for the account's instances, as it does for users."""
    monkeypatch.delenv("QISKIT_FUNCTIONS_EXPERIMENTAL")


def test_no_connection_to_ibm_cloud_is_no_wrong_token(service, monkeypatch):
    without_shortcut(monkeypatch)
    monkeypatch.setenv("IAM_URL", "http://127.0.0.1:9")
    with pytest.raises(TransientFault, match="IBM Cloud does not answer"):
        open_service()
    slept = []
    with pytest.raises(ProcessorError, match=r"opening ibm_manila: tried 4 times in vain .*does not answer"):
        open_processor("ibm_manila", num_qubits=2, sleep=slept.append)
    assert sum(slept) < 30


def test_a_token_that_ibm_cloud_does_not_know_is_a_wrong_one(service, monkeypatch):
    without_shortcut(monkeypatch)
    service.set(iam_unknown=-1)
    with pytest.raises(AccountError, match=r"the account cannot be used.*save_account") as told:
        open_service()
    assert TOKEN not in str(told.value)


def test_whoever_waits_for_the_service_is_told_so(caplog):
    def fails():
        raise TransientFault("no answer")

    with pytest.raises(ProcessorError):
        patiently(fails, sleep=lambda _: None, doing="asking")
    assert caplog.messages[0] == "asking: no answer; trying again in 4 s"
