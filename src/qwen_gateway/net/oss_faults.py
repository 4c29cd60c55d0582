"""What the storage's SDK raises → faults in our own words. Its words may hold credentials, so none of them is kept."""

import ssl

import requests
from alibabacloud_oss_v2 import exceptions as _errors  # type: ignore[import-untyped]
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import TimeoutError as PoolTimeoutError

from qwen_gateway.net.oss_section import Halted, Unanswered
from qwen_gateway.turn.faults import Fault, SiteError, TimedOut, Unreachable

_EXPIRED = frozenset({"SecurityTokenExpired", "InvalidSecurityToken", "InvalidAccessKeyId"})
"""What the storage says of leave that has run out: temporary keys are forgotten after their time."""


def fault_of(problem: BaseException) -> Exception:
    """Halted, Unanswered, or a fault in our own words."""
    problem = _told(problem)
    if isinstance(problem, Halted | Unanswered | Fault):
        return problem.with_traceback(None)
    if isinstance(problem, _errors.ServiceError):
        return _refusal(str(problem.code or ""), str(problem.message or ""), int(problem.status_code or 0))
    if isinstance(problem, _errors.InconsistentError):
        return damaged()
    if isinstance(problem, _errors.RequestError | _errors.ResponseError):
        return _lost(_causes(problem))
    return refused()


def code_of(problem: BaseException) -> str:
    """The storage's word for why it refused; empty when it did not."""
    problem = _told(problem)
    return str(problem.code or "") if isinstance(problem, _errors.ServiceError) else ""


def status_of(problem: BaseException) -> int:
    """0 when there was no answer."""
    problem = _told(problem)
    return int(problem.status_code or 0) if isinstance(problem, _errors.ServiceError) else 0


def _told(problem: BaseException) -> BaseException:
    while isinstance(problem, _errors.OperationError):
        problem = problem.unwrap()
    return problem


_LATE = (TimeoutError, PoolTimeoutError, requests.Timeout)
"""Among them is, by its class, what says that a connection was refused."""


def _lost(causes: list[BaseException]) -> Fault:
    """What it means that no answer came."""
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Unreachable(
            "Qwen's storage for files showed a certificate that cannot be trusted. Is a proxy or a log-in page of your "
            "network between?",
            code="upstream_tls",
        )
    if any(isinstance(cause, _LATE) and not isinstance(cause, NewConnectionError) for cause in causes):
        return TimedOut("Qwen's storage for files did not answer in time, or took bytes too slowly.")
    return Unreachable("Qwen's storage for files cannot be reached, or broke the connection while a file was sent.")


def _causes(problem: BaseException) -> list[BaseException]:
    """The problem and all that it wraps: libraries put causes into arguments, attributes and the chain."""
    found: list[BaseException] = []
    waiting: list[object] = [problem]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [*one.args, one.__cause__, one.__context__, getattr(one, "reason", None)]
            if isinstance(one, _errors.BaseError):
                waiting.append(one.kwargs.get("error"))
    return found


def _refusal(code: str, message: str, status: int) -> Fault:
    if code in _EXPIRED or (code == "AccessDenied" and "expired" in message.lower()):
        return SiteError("The leave to upload this file has run out.", code="upload_expired")
    if code == "RequestTimeTooSkewed":
        return SiteError(
            "Qwen's storage for files refuses uploads because this computer's clock is wrong by more than a quarter of "
            "an hour. Set the clock, then try again.",
            code="upload_failed",
        )
    word = code if code.isascii() and code.isalnum() and len(code) < 40 else "no code"
    return SiteError(
        f"Qwen's storage for files refused the upload (HTTP {status}, {word}). Try again.", code="upload_failed"
    )


def refused() -> Fault:
    return SiteError("Qwen's storage for files could not take the upload. Try again.", code="upload_failed")


def damaged() -> Fault:
    return SiteError("The file arrived damaged at Qwen's storage, several times. Try again.", code="upload_failed")
