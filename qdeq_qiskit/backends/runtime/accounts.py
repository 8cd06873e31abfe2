"""The user's account at IBM: where its credentials come from, and that they go nowhere else.

Credentials are read by IBM's client, from the environment (`QISKIT_IBM_TOKEN`, `QISKIT_IBM_INSTANCE`,
`QISKIT_IBM_CHANNEL`, `QISKIT_IBM_URL`) or else from the account that was saved on this machine. No recipe, ledger or
report has a place for them.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final
from urllib.parse import quote, quote_plus

from qdeq_qiskit.backends.runtime.client_faults import told, went_unanswered
from qdeq_qiskit.backends.runtime.errors import AccountError
from qdeq_qiskit.backends.runtime.retries import TransientFault

if TYPE_CHECKING:
    from qiskit_ibm_runtime import QiskitRuntimeService

HOW_TO_SAVE = (
    "save one once, in Python, by `QiskitRuntimeService.save_account(token=..., instance=...)` of qiskit_ibm_runtime, "
    "or set QISKIT_IBM_TOKEN and QISKIT_IBM_INSTANCE in the environment"
)
_UNREADABLE = f"the saved accounts cannot be read ({{}}); {HOW_TO_SAVE}"
_CHANNELS = ("ibm_quantum_platform", "ibm_cloud")
_LOGGERS = ("qiskit_ibm_runtime", "ibm_cloud_sdk_core", "ibm-cloud-sdk-core", "urllib3", "requests")
_HEADER = re.compile(r"(?i)\b(bearer|apikey)\s+[\w.~+/=-]{8,}")
_HIDDEN = "***"


def open_service(
    *, instance: str | None = None, channel: str | None = None, answer_within: float | None = None
) -> tuple[QiskitRuntimeService, Callable[[str], str]]:
    """The service, for the account of the environment or the saved one, and what takes secrets out of a text.

    Args:
        instance: its name or CRN; None for that of the account.
        channel: `ibm_quantum_platform` or `ibm_cloud`; None for that of the account.
        answer_within: seconds after which a request without an answer is given up; None to wait for ever.

    Raises:
        AccountError: there is no account, or it does not have the instance.
        TransientFault: the service could not be asked.
    """
    from qiskit_ibm_runtime import QiskitRuntimeService
    from qiskit_ibm_runtime.accounts import AccountNotFoundError, InvalidAccountError
    from qiskit_ibm_runtime.exceptions import IBMInputValueError
    from requests import RequestException

    if channel is not None and channel not in _CHANNELS:
        raise AccountError(f"channel must be one of {', '.join(_CHANNELS)}, not {channel!r}")
    hide = hiding(_tokens())
    _keep_out_of_logs(hide)
    options: dict[str, Any] = {"instance": instance, "channel": channel}
    try:
        with told("opening the account", hide), _without_warnings():
            try:
                service = QiskitRuntimeService(**{key: value for key, value in options.items() if value is not None})
            except AccountNotFoundError:
                raise AccountError(f"there is no account at IBM Quantum on this machine: {HOW_TO_SAVE}") from None
            except (InvalidAccountError, IBMInputValueError) as error:
                if went_unanswered(error):
                    raise TransientFault("opening the account: IBM Cloud does not answer") from None
                raise AccountError(hide(f"the account cannot be used: {_line(error)}; {HOW_TO_SAVE}")) from None
            except ValueError as error:
                if isinstance(error, RequestException):
                    raise
                raise AccountError(
                    _UNREADABLE.format(type(error).__name__)
                ) from None  # a file of accounts that is none
    except KeyError as error:  # the same
        raise AccountError(_UNREADABLE.format(type(error).__name__)) from None
    # Loggers are made when modules are read, and each has to have the filter.
    import qiskit_ibm_runtime.executor_estimator
    import qiskit_ibm_runtime.results  # noqa: F401

    _keep_out_of_logs(hide)
    # The client waits for ever, as on a connection that died. Each instance of the account has a client of its own.
    for client in (service._active_api_client, *service._api_clients.values()):
        client._session._timeout = (5.0, answer_within)
    # What goes wrong with the credentials, the client passes over in silence until now.
    with told("asking for the account's usage", hide):
        service.usage()
    return service, hide


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps the client from logging what it passes over, which is told as an error right after; not from debugging."""
    logger = logging.getLogger("qiskit_ibm_runtime.qiskit_runtime_service")
    before = logger.level
    if logger.getEffectiveLevel() >= logging.WARNING:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def hiding(tokens: set[str]) -> Callable[[str], str]:
    """What takes tokens, and whatever stands behind `Bearer` or `apikey`, out of a text."""
    written = {form for token in tokens if token for form in (token, quote(token, safe=""), quote_plus(token))}
    secrets = sorted(written, key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, _HIDDEN)
        return _HEADER.sub(rf"\1 {_HIDDEN}", text)

    return hide


def _tokens() -> set[str]:
    """All tokens that the client may read."""
    from qiskit_ibm_runtime import QiskitRuntimeService

    tokens = {os.environ.get("QISKIT_IBM_TOKEN", "")}
    try:
        accounts = QiskitRuntimeService.saved_accounts()
    except Exception:  # a damaged file, which opening the account will tell
        return tokens
    return tokens | {str(account.get("token", "")) for account in accounts.values()}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).strip("'\"")


@final
class _Hiding(logging.Filter):
    """Takes secrets out of what is logged; nothing is left out."""

    def __init__(self, hide: Callable[[str], str]) -> None:
        super().__init__()
        self._hide = hide

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._hide(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = self._hide(logging.Formatter().formatException(record.exc_info))
        return True


def _keep_out_of_logs(hide: Callable[[str], str]) -> None:
    """A filter on every logger of the client and of what it talks through: filters are not handed down."""
    known = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _LOGGERS]
    for name in {*known, *_LOGGERS}:
        logger = logging.getLogger(name)
        for old in [each for each in logger.filters if isinstance(each, _Hiding)]:
            logger.removeFilter(old)
        logger.addFilter(_Hiding(hide))
