"""What the site says of a session: asked with a call that begins nothing, and told in words for its owner."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from qwen_gateway.accounts.credential import claims
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.ports import AccountState, Ambient, Check, Transport
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.turn.contracts import Upstream, User
from qwen_gateway.turn.faults import (
    Blocked,
    Challenged,
    Down,
    Fault,
    GatewayFault,
    InvalidRequest,
    LimitReached,
    LoginExpired,
    SiteError,
    TimedOut,
    Unreachable,
)
from qwen_gateway.turn.flow import Flow, Result

_STATES: tuple[tuple[type[Fault], AccountState], ...] = (
    (LoginExpired, "expired"),
    (Challenged, "challenged"),
    (Blocked, "blocked"),
    (Unreachable, "unreachable"),
    (TimedOut, "unreachable"),
    (Down, "unreachable"),
    (SiteError, "unreachable"),
)
LOOK_EVERY = 5.0
"""Seconds between two looks at one account that people ask for."""
_VALID = "Qwen's site knows the session: it is valid."


class OtherUser(InvalidRequest):
    """The site names another user than the session's own token does."""

    code = "mixed_sessions"


class Looks:
    """Paces what people ask the site of an account: one thing at a time, and seldom enough that nobody who presses a
    button again and again has the site take the account for a machine's."""

    def __init__(self, ambient: Ambient) -> None:
        self._ambient = ambient
        self._begun: dict[str, float] = {}
        self._running: set[str] = set()

    @contextmanager
    def one(self, account: str) -> Iterator[None]:
        """Around a look at the account of this key. Raises LimitReached."""
        now = self._ambient.now()
        # A clock that was set back forbids nothing.
        self._begun = {key: at for key, at in self._begun.items() if 0 <= now - at < LOOK_EVERY}
        if account in self._running:
            raise LimitReached("The site is being asked about this account just now.", retry_after=LOOK_EVERY)
        if account in self._begun:
            raise LimitReached(
                f"The site was asked about this account just now. It is asked every {LOOK_EVERY:.0f} s at most.",
                retry_after=LOOK_EVERY - (now - self._begun[account]),
            )
        self._begun[account] = now
        self._running.add(account)
        try:
            yield
        finally:
            self._running.discard(account)


class Checks:
    """seconds: bounds each call to the site."""

    def __init__(
        self, site: Upstream, transport: Transport, renewal: Renewal, ambient: Ambient, seconds: float
    ) -> None:
        self._site, self._transport, self._renewal = site, transport, renewal
        self._ambient, self._seconds = ambient, seconds

    async def ask(self, account: Account, flow: Callable[[], Flow[Result]]) -> Result:
        """The result of a flow that is made once the session is fresh. What the site says counts for the account."""
        try:
            await self._renewal.ensure_fresh(account)
            return await self._drive(flow(), account)
        except (Challenged, LoginExpired) as fault:
            account.noticed(fault)
            raise

    async def check(self, account: Account) -> Check:
        """What the site says of an account in use. Raises what is not said by the site."""
        try:
            await self.ask(account, lambda: self._whoami(account, _owner(account)))
        except Fault as fault:
            return self.failed(fault)
        return self.passed()

    async def visit(self, account: Account) -> User:
        """Whose session it is, for one that is not stored yet, so that nobody else can be at it. It is renewed first if
        need be. Raises what the site says against it, and OtherUser."""
        owner = _owner(account)
        if account.session.needs_refresh(self._ambient.now()):
            flow = self._site.refresh(account.session, self._ambient.moment())
            account.session.renew(await self._drive(flow, account), self._ambient.now())
        return await self._drive(self._whoami(account, owner), account)

    async def _drive(self, flow: Flow[Result], account: Account) -> Result:
        return await drive(flow, self._transport, account, self._seconds)

    def _whoami(self, account: Account, owner: str) -> Flow[User]:
        user = yield from self._site.whoami(account.session, self._ambient.moment())
        if owner and owner != user.id:
            raise OtherUser(
                "Qwen's site says that this session belongs to another user than its token does: cookies of two "
                "accounts were mixed. Give the gateway the cookies of one login."
            )
        return user

    def passed(self) -> Check:
        return Check("valid", self._ambient.now(), _VALID)

    def failed(self, fault: Fault) -> Check:
        """What the fault says of the session. Raises the fault when it is not about the site at all."""
        if isinstance(fault, GatewayFault):
            raise fault
        text = fault.text
        if isinstance(fault, SiteError):
            text = f"Qwen's site has trouble, so it did not say whether the session is valid. {text}"
        return Check(_state(fault), self._ambient.now(), text)


def _owner(account: Account) -> str:
    """The id of the user whose token it is, as the token says; empty when it does not."""
    bearer = account.session.bearer
    return claims(bearer).id if bearer else ""


def _state(fault: Fault) -> AccountState:
    for kind, state in _STATES:
        if isinstance(fault, kind):
            return state
    return "unclear"
