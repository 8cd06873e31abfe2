"""What IBM's client raises, told in one sentence, without secrets, as what is worth another try and what is not."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qdeq_qiskit.backends.runtime.errors import AccountError, HardwareError, ProcessorError
from qdeq_qiskit.backends.runtime.retries import TransientFault

_LENGTH = 400  # of what is repeated of the client's words
_NO_TOKEN = "Unable to retrieve IBM Cloud access token"


@contextmanager
def told(doing: str, hide: Callable[[str], str]) -> Iterator[None]:
    """Turns what the client raises inside into our errors; what is none of the client's passes.

    Args:
        doing: what is being done, for the message.
        hide: takes secrets out of a text.

    Raises:
        AccountError: the credentials are refused, or do not allow it.
        ProcessorError: the service refuses what was asked.
        TransientFault: the service could not be asked, or could not answer.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except Exception as error:
            failure: BaseException | None = _translated(error, doing, hide, [str(each.message) for each in caught])
            if failure is None:
                raise
        else:
            failure = None
    for warning in caught:
        if _NO_TOKEN not in str(warning.message):
            text = hide(str(warning.message))
            warnings.warn_explicit(text, warning.category, warning.filename, warning.lineno)
    if failure is not None:
        raise failure from None


def _translated(error: Exception, doing: str, hide: Callable[[str], str], warned: list[str]) -> HardwareError | None:
    from qiskit.providers.exceptions import QiskitBackendNotFoundError
    from qiskit_ibm_runtime.exceptions import IBMError, IBMNotAuthorizedError
    from requests import RequestException

    if isinstance(error, HardwareError):
        return error
    status = _status(error)
    what = f"{doing}: {hide(_line(error))}"
    if isinstance(error, IBMNotAuthorizedError) or status == 401:
        if any(_NO_TOKEN in text and "Status code: 4" not in text for text in warned):
            return TransientFault(f"{doing}: IBM Cloud gave no access token")
        return AccountError(
            f"{what}; the service does not accept the token: save a new one by `QiskitRuntimeService.save_account(..., "
            "overwrite=True)`, or set QISKIT_IBM_TOKEN"
        )
    if status == 403:
        return AccountError(f"{what}; the account's plan or instance does not allow it")
    if went_unanswered(error):
        return TransientFault(what)
    if isinstance(error, RequestException | ConnectionError | TimeoutError):
        return TransientFault(what)
    if isinstance(error, IBMError | QiskitBackendNotFoundError):
        return ProcessorError(what)
    if isinstance(error, KeyError):  # the client looks up fields of an answer without a thought
        return TransientFault(f"{doing}: the service's answer has no {hide(_line(error))}")
    if isinstance(error, TypeError | AttributeError | IndexError) and _is_the_clients(error):
        return TransientFault(f"{doing}: the service's answer cannot be read ({type(error).__name__})")
    if isinstance(error, ValueError) and _is_the_clients(error):
        return ProcessorError(f"{doing}: the client cannot make sense of it ({hide(_line(error))})")
    return None


_NO_ANSWER = -1
_CLIENT = ("qiskit_ibm_runtime", "ibm_cloud_sdk_core", "ibm_platform_services", "ibm_quantum_schemas")


def _is_the_clients(error: BaseException) -> bool:
    """Whether an error came up in the client, or in what it called: it reads answers without a doubt."""
    modules = [
        str(frame.f_globals.get("__name__", "")).split(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    ours = max((place for place, module in enumerate(modules) if module == "qdeq_qiskit"), default=-1)
    return any(module in _CLIENT for module in modules[ours + 1 :])


def went_unanswered(error: BaseException) -> bool:
    """Whether behind an error there is a request that got no answer, or that of a server in trouble."""
    status = _status(error)
    return status is not None and (status in (429, _NO_ANSWER) or status >= 500)


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error, `_NO_ANSWER` where the request got none, None where there was no request.

    The client hides the error of the request behind one of its own, but leaves it as the context.
    """
    from ibm_cloud_sdk_core import ApiException
    from qiskit_ibm_runtime.api.exceptions import RequestsApiError
    from requests import RequestException

    found: int | None = None
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, RequestsApiError):
            found = link.status_code
        elif isinstance(link, ApiException):
            found = _NO_ANSWER if link.status_code is None else link.status_code
        elif isinstance(link, RequestException):
            found = _NO_ANSWER if link.response is None else link.response.status_code
        if found not in (None, _NO_ANSWER):
            return found
        link = link.__cause__ or link.__context__
    return found


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()).strip("'\"")
    text = text.split('. {"')[0]  # the service's whole answer, after its message
    return text if len(text) <= _LENGTH else f"{text[:_LENGTH]} ..."
