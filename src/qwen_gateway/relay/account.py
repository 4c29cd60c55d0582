"""An account in use: its session, what of it rests, and one refresh at a time however many turns wait for it."""

import asyncio
from collections.abc import Awaitable, Callable

from qwen_gateway.accounts.rest import Rest
from qwen_gateway.accounts.session import Session
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.turn.contracts import Tokens
from qwen_gateway.turn.faults import Challenged, Fault, LoginExpired

_EXPIRED = (
    "The session at chat.qwen.ai has ended. Log in there in your browser and give the gateway the fresh cookies "
    "(QWEN_GATEWAY_COOKIES)."
)


class Account:
    def __init__(self, session: Session, rest: Rest, ambient: Ambient) -> None:
        self.session = session
        self._rest = rest
        self._ambient = ambient
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def key(self) -> str:
        return self.session.key

    def check(self, model: str) -> None:
        """Raises the fault for which the account, or this model on it, rests; with the time that is left."""
        now = self._ambient.now()
        if self.session.expired(now):
            raise LoginExpired(_EXPIRED)
        pause = self._rest.pause(model, now)
        if pause is not None:
            left = max(1.0, round(pause.until - now))
            raise type(pause.fault)(
                f"{pause.fault.text} (The gateway asks again in {_span(left)}.)",
                code=pause.fault.code,
                retry_after=left,
            )

    def noticed(self, fault: Fault) -> None:
        """Takes a fault of a call beside the turns (a deletion, the list of models), where the end of a session and a
        challenge count as well."""
        if isinstance(fault, Challenged):
            self.failed("", fault)
        elif isinstance(fault, LoginExpired):
            self.ended(fault)

    def resting(self) -> Fault | None:
        """Why no model of the account can be used now, for health pages."""
        try:
            self.check("")
        except Fault as fault:
            return fault
        return None

    def absorb(self, set_cookies: tuple[str, ...]) -> None:
        if set_cookies:
            self.session.absorb(set_cookies, self._ambient.now())

    def failed(self, model: str, fault: Fault) -> None:
        """Takes a fault of the site: after a challenge the account rests, and the fault says how long."""
        now = self._ambient.now()
        self._rest.failed(model, fault, now)
        pause = self._rest.pause(model, now)
        if isinstance(fault, Challenged) and pause is not None:
            fault.retry_after = pause.until - now

    def wake(self) -> None:
        """Ends any rest."""
        self._rest.clear()

    def succeeded(self, began: float) -> None:
        """A turn that began then (seconds since 1970) has been answered."""
        self._rest.succeeded(began)

    def ended(self, fault: LoginExpired) -> None:
        """The session is over and could not be renewed."""
        self._rest.ended(fault, self._ambient.now())

    async def ensure_fresh(self, refresh: Callable[[], Awaitable[Tokens]]) -> None:
        """Renews the access token when it is at its end. Raises what `refresh` raises."""
        if self.session.needs_refresh(self._ambient.now()):
            await self.refresh(refresh)

    async def refresh(self, refresh: Callable[[], Awaitable[Tokens]]) -> None:
        """Renews the access token. Whoever comes while it is under way waits for the same one."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(refresh))
        # Shielded: the turn that began it may be cancelled while others wait.
        await asyncio.shield(self._refreshing)

    async def _refresh(self, refresh: Callable[[], Awaitable[Tokens]]) -> None:
        try:
            self.session.renew(await refresh())
        finally:
            self._refreshing = None


def _span(seconds: float) -> str:
    """As a person would say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
