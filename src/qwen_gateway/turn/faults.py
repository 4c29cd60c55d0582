"""Everything that can go wrong with a turn, and whose fault it is.

    Fault
    ├── ClientFault                 the request cannot be served as it is
    │   ├── InvalidRequest     400  names the parameter
    │   │   ├── ContextTooLong 400
    │   │   └── ContentFiltered 400 the site's content filter refused it
    │   ├── BadKey             401
    │   ├── Forbidden          403  Host, Origin
    │   ├── NotFound           404
    │   │   └── ModelNotFound  404
    │   ├── WrongMethod        405
    │   ├── NameTaken          409  two accounts or keys cannot have one name
    │   ├── BodyTooLarge       413
    │   ├── LimitReached       429  a limit of the caller's key
    │   │   └── BudgetSpent    429  its tokens of today
    │   └── ClientLeft         499  nobody is there to be told
    ├── GatewayFault                we cannot serve now
    │   ├── NoAccount          503
    │   ├── Overloaded         503
    │   ├── Draining           503
    │   ├── StorageUnavailable 503
    │   │   └── BadVault       503  a secret at rest cannot be decrypted
    │   └── Bug                500
    └── SiteFault                   the site refused, broke or kept silent
        ├── Unreachable        502
        ├── TimedOut           504
        ├── LoginExpired       503
        ├── Blocked            503  the site does not serve this account, or from this place
        ├── Down               503  it failed again and again, and is left alone for a while
        ├── Challenged         503  a person must act in a browser
        │   └── Crowded        503  the same wall in its "too busy" form
        ├── RateLimited        429  a day's limit
        │   └── Throttled      429  too many for the moment
        ├── Busy               503  the site's back end is busy
        │   └── ChatBusy       503  an answer is still being written in this chat
        ├── ChatLost           502  the chat or its parent message is gone
        ├── Empty              502  nothing came
        ├── Incomplete         502  the stream broke
        ├── Unfit              502  the model's answer is not what the request wants
        ├── UploadFailed       502  a file could not be brought to the site
        ├── SiteError          502
        └── Drift              502  an answer we do not understand

The public text is written for the person who reads the client's error dialog: what happened, and what to do.
"""

from typing import ClassVar, Literal

Origin = Literal["client", "gateway", "site"]
Kind = Literal["invalid_request", "authentication", "permission", "not_found", "too_large", "rate_limit", "server"]


class Fault(Exception):
    """A failure with everything that a dialect needs to report it.

    status: HTTP status while nothing has been sent yet.
    code: stable machine-readable word.
    param: name of the offending parameter, such as `messages[2].content`.
    retry_after: seconds after which trying again can help, when known.
    retryable: whether a client's program should send the same request again by itself. False also where we have
        tried twice already: its tries would multiply with ours.
    """

    origin: ClassVar[Origin]
    kind: ClassVar[Kind] = "server"
    status: ClassVar[int] = 500
    code: str = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self, text: str, *, code: str = "", param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(text)
        self.text = text
        self.code = code or self.code
        self.param = param
        self.retry_after = retry_after


class ClientFault(Fault):
    origin = "client"
    kind: ClassVar[Kind] = "invalid_request"
    status = 400


class InvalidRequest(ClientFault):
    code = "invalid_value"


class ContextTooLong(InvalidRequest):
    code = "context_length_exceeded"


class ContentFiltered(InvalidRequest):
    code = "content_filter"


class BadKey(ClientFault):
    kind = "authentication"
    status = 401
    code = "invalid_api_key"


class Forbidden(ClientFault):
    kind = "permission"
    status = 403
    code = "forbidden"


class NotFound(ClientFault):
    kind = "not_found"
    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class WrongMethod(ClientFault):
    status = 405
    code = "method_not_allowed"


class NameTaken(ClientFault):
    status = 409
    code = "name_taken"


class BodyTooLarge(ClientFault):
    kind = "too_large"
    status = 413
    code = "request_too_large"


class LimitReached(ClientFault):
    kind = "rate_limit"
    status = 429
    code = "rate_limit_exceeded"
    retryable = True


class BudgetSpent(LimitReached):
    code = "insufficient_quota"
    retryable = False


class ClientLeft(ClientFault):
    status = 499
    code = "client_left"


class GatewayFault(Fault):
    origin = "gateway"
    status = 503


class NoAccount(GatewayFault):
    code = "no_account"


class Overloaded(GatewayFault):
    code = "overloaded"
    retryable = True


class Draining(GatewayFault):
    code = "draining"
    retryable = True


class StorageUnavailable(GatewayFault):
    code = "storage_unavailable"
    retryable = True


class BadVault(StorageUnavailable):
    """A secret at rest cannot be decrypted: the key is another one, or the data was changed."""

    code = "vault_key_wrong"
    retryable = False


class Bug(GatewayFault):
    status = 500
    code = "internal_error"


class SiteFault(Fault):
    origin = "site"
    status = 502


class Unreachable(SiteFault):
    code = "upstream_unreachable"


class TimedOut(SiteFault):
    status = 504
    code = "upstream_timeout"


class LoginExpired(SiteFault):
    """The account's session is no longer valid. 503 and not 401: the client's own key is fine."""

    status = 503
    code = "upstream_auth_required"


class Blocked(SiteFault):
    """The site refuses this account, or our address, for a reason that logging in again does not change."""

    status = 503
    code = "upstream_blocked"


class Down(SiteFault):
    """The site was not asked: it has failed again and again, and is given time."""

    status = 503
    code = "breaker_open"


class Challenged(SiteFault):
    status = 503
    code = "upstream_challenge"


class Crowded(Challenged):
    code = "upstream_crowded"


class RateLimited(SiteFault):
    kind = "rate_limit"
    status = 429
    code = "upstream_rate_limited"


class Throttled(RateLimited):
    """Too many requests for the moment; no word about a day's limit."""


class Busy(SiteFault):
    status = 503
    code = "upstream_busy"
    retryable = True


class ChatBusy(Busy):
    """Only this chat: says nothing of how the site is doing."""


class ChatLost(SiteFault):
    code = "upstream_chat_lost"


class Empty(SiteFault):
    code = "upstream_empty"


class Incomplete(SiteFault):
    code = "upstream_incomplete"


class Unfit(SiteFault):
    """hint: a note to the model with which the question may be put again; `None` when that was tried often enough."""

    code = "invalid_tool_call"

    def __init__(self, text: str, *, code: str = "", hint: str | None = None) -> None:
        super().__init__(text, code=code)
        self.hint = hint


class UploadFailed(SiteFault):
    """What was sent of it was sent again as often as made sense."""

    code = "upload_failed"


class SiteError(SiteFault):
    code = "upstream_error"


class Drift(SiteFault):
    code = "upstream_changed"
