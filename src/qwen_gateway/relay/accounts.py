"""The accounts in use: the operator's own, and in pass-through mode those that callers bring."""

from collections import OrderedDict

from qwen_gateway.accounts import credential
from qwen_gateway.accounts.rest import Rest, Resting
from qwen_gateway.accounts.session import Session
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.chats import Chats
from qwen_gateway.relay.ports import Ambient
from qwen_gateway.turn.faults import BadKey, Fault, NoAccount

MAX_BROUGHT = 256
"""Accounts of callers that are remembered; the one longest unused goes first."""

_NO_ACCOUNT = (
    "No Qwen account is connected to this gateway. Log in at https://chat.qwen.ai in your browser, copy the Cookie "
    "header of any request there, start the gateway with QWEN_GATEWAY_COOKIES set to it, and ask again. To try "
    "the gateway without an account, run `qwen-gateway demo`."
)


class Accounts:
    """own: the operator's account, if there is one."""

    def __init__(
        self,
        own: credential.Credential | None,
        chats: Chats,
        ambient: Ambient,
        *,
        user_agent: str | None,
        rest: Resting,
    ) -> None:
        self._chats, self._ambient, self._user_agent, self._rest = chats, ambient, user_agent, rest
        self._brought: OrderedDict[str, Account] = OrderedDict()
        self._own = self._new(own) if own is not None else None

    def start(self) -> None:
        if self._own is not None:
            self._chats.take_up(self._own)

    @property
    def own(self) -> Account | None:
        return self._own

    def need_own(self) -> Account:
        """Raises NoAccount."""
        if self._own is None:
            raise NoAccount(_NO_ACCOUNT)
        return self._own

    def any(self) -> Account:
        """An account to ask the site's list of models with. Raises NoAccount."""
        if self._own is None and self._brought:
            return next(reversed(self._brought.values()))
        return self.need_own()

    def brought(self, token: str) -> Account:
        """The account of a caller's own token. Raises BadKey when it cannot be one."""
        account = self._brought.get(token)
        if account is None:
            account = self._new(_read(token))
            self._brought[token] = account
            if len(self._brought) > MAX_BROUGHT:
                self._chats.forget(self._brought.popitem(last=False)[1])
        self._brought.move_to_end(token)
        return account

    def wake(self) -> None:
        """Ends the rest of all accounts."""
        for account in (self._own, *self._brought.values()):
            if account is not None:
                account.wake()

    def _new(self, found: credential.Credential) -> Account:
        return Account(Session(found, self._user_agent), Rest(self._rest), self._ambient)


def _read(token: str) -> credential.Credential:
    try:
        found = credential.read(cookies=None, token=token)
    except Fault as fault:
        raise BadKey(fault.text) from fault
    if found is None:
        raise BadKey("The key is empty.")
    return found
