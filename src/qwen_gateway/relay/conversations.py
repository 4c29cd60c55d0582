"""How a turn's conversation reaches the model: in a chat that holds it already, or told anew in a new one.

The client's list is the truth (`history.plan`). What is found here decides only how much of it has to be told, so
whatever is missing, held by others or in doubt means: all of it.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Literal

import structlog
from msgspec import Struct

from qwen_gateway.history import canon, chain, plan
from qwen_gateway.media.abilities import takes
from qwen_gateway.relay.account import Account
from qwen_gateway.relay.chats import DeletePolicy
from qwen_gateway.relay.drive import drive
from qwen_gateway.relay.memory import Memory
from qwen_gateway.relay.path import Path, ReadChat, Telling, Words
from qwen_gateway.relay.ports import Ambient, Continuation, Transport
from qwen_gateway.relay.renewal import Renewal
from qwen_gateway.turn.catalog import Model
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import ChatLost, Fault, StorageUnavailable
from qwen_gateway.turn.places import Node, StoredMessage
from qwen_gateway.turn.request import TurnRequest

__all__ = ("Asker", "Conversations", "Manner", "Path")

AccountOf = Callable[[str], Account | None]
"""The account with this key, if it could take the turn now or soon."""

_log = structlog.get_logger()


class Asker(Struct, frozen=True):
    """tenant: whose conversations the turn may go on with. mode: how. keep: `False`: nothing is remembered of the turn,
    and its chat goes. handle: id of the answer that the client goes on from, where it says so."""

    tenant: str
    mode: Continuation = "auto"
    keep: bool = True
    handle: str = ""


class Manner(Struct, frozen=True):
    """policy: when chats go. changed_instructions: what follows when they do. volatile: lines of instructions that do
    not count. verify: whether a chat is read after an answer that broke off. shorten: whether old results may be.
    offload: whether the oldest part of a long conversation may be attached as a document."""

    policy: DeletePolicy
    changed_instructions: Literal["resend", "replay"] = "resend"
    volatile: tuple[re.Pattern[str], ...] = ()
    verify: bool = False
    shorten: bool = True
    offload: bool = False

    @property
    def forgetful(self) -> bool:
        """No chat outlives its turn, so there is nothing to go on with."""
        return self.policy == "now" or not self.policy


class Conversations:
    """secret: keys the digests. seconds: bounds each call to the site."""

    def __init__(  # noqa: PLR0913 - the parts are joined here, once
        self,
        memory: Memory,
        site: Upstream,
        transport: Transport,
        renewal: Renewal,
        ambient: Ambient,
        *,
        secret: bytes,
        seconds: float,
        manner: Manner,
    ) -> None:
        self._memory, self._site, self._transport, self._renewal = memory, site, transport, renewal
        self._ambient, self._secret, self._seconds, self._manner = ambient, secret, seconds, manner
        self._away = False

    async def path(
        self, request: TurnRequest, asker: Asker, model: Model, account_of: AccountOf, *, tools: bytes, words: Words
    ) -> Path:
        """tools: what the request says of its tools, in canonical form. words: what is told beside the conversation."""
        read = canon.read(request.messages, self._manner.volatile)
        root = chain.root(self._secret, tenant=asker.tenant, end_user=request.end_user, model=model.id)
        view = plan.View(
            read.groups,
            chain.chain(self._secret, root, read.groups),
            chain.digest(self._secret, read.instructions.encode()),
            chain.digest(self._secret, tools),
        )
        limits = plan.Limits(model.context_window, changed_instructions=self._manner.changed_instructions)
        found = await self._plan(asker, view, limits, account_of)
        telling = Telling(
            request.messages,
            words,
            view,
            tenant=asker.tenant,
            remembers=asker.keep and asker.mode != "replay" and not self._manner.forgetful,
            verifies=self._manner.verify,
            shortens=self._manner.shorten,
            offloads=self._manner.offload and takes(model, "document"),
        )
        return Path(self._memory, self._ambient, self._secret, self._read_chat, telling, found)

    async def _plan(self, asker: Asker, view: plan.View, limits: plan.Limits, account_of: AccountOf) -> plan.Plan:
        if self._manner.forgetful or not asker.keep:
            return plan.Plan("replay", "off")
        if asker.mode == "replay":
            return plan.Plan("replay", "mode")
        if not plan.wanted(view):
            return plan.plan(view, (), limits)
        try:
            found = await _Search(self._memory, self._secret, view, limits, account_of).found(asker, self._read_chat)
        except StorageUnavailable as fault:
            if not self._away:
                _log.warning("conversations_unknown", why=fault.text)
            self._away = True
            return plan.Plan("replay", "store")
        self._away = False
        return found

    async def _read_chat(self, account: Account, chat_id: str) -> dict[str, StoredMessage] | None:
        """All messages of the chat. `None` when the site does not say."""
        try:
            await self._renewal.ensure_fresh(account)
            flow = self._site.read_chat(account.session, self._ambient.moment(), chat_id)
            return await drive(flow, self._transport, account, self._seconds)
        except ChatLost:
            self._memory.mark([chat_id])
            return None
        except Fault as fault:
            account.noticed(fault)
            _log.info("chat_not_read", chat=chat_id, code=fault.code)
            return None


class _Search:
    """For the chat in which one conversation goes on."""

    def __init__(
        self, memory: Memory, secret: bytes, view: plan.View, limits: plan.Limits, account_of: AccountOf
    ) -> None:
        self._memory, self._secret, self._view, self._limits = memory, secret, view, limits
        self._account_of = cache(account_of)  # many nodes, few accounts

    async def found(self, asker: Asker, reads: ReadChat) -> plan.Plan:
        """By all that was said; else by the handle; else, where that is wished for, by what was said last. Raises
        StorageUnavailable."""
        nodes = await self._memory.find("key", plan.wanted(self._view))
        usable = [node for node in nodes if self._usable(node)]
        if nodes and not usable:
            free = any(self._account_of(node.account) for node in nodes)
            return plan.Plan("replay", "busy" if free else "account")
        found = plan.plan(self._view, usable, self._limits)
        if found.way == "continue" or found.reason in ("context", "instructions"):
            return found
        if asker.handle and (by_handle := await self._by_handle(asker.handle, reads)) is not None:
            return by_handle
        if asker.mode == "suffix" and found.way == "replay" and (alike := await self._by_likeness()) is not None:
            return alike
        return found

    async def _by_handle(self, token: str, reads: ReadChat) -> plan.Plan | None:
        handle = chain.handle(self._secret, self._view.chain.root, token)
        nodes = [node for node in await self._memory.find("handle", [handle]) if self._usable(node)]
        hint = plan.hint(self._view, nodes)
        account = None if hint is None else self._account_of(hint.node.account)
        if hint is None or account is None:
            return None
        stored = await reads(account, hint.node.chat_id)
        if stored is None or not plan.holds(hint, stored):
            return None
        return _going_on(plan.from_hint(self._view, hint, self._limits))

    async def _by_likeness(self) -> plan.Plan | None:
        if (last := plan.last_answer(self._view)) is None:
            return None
        likeness = chain.likeness(self._secret, self._view.chain.root, *last)
        if likeness is None:
            return None
        # Also those that cannot be used now: a second one means that it is not sure which is meant.
        nodes = await self._memory.find("likeness", [likeness])
        if not all(self._usable(node) for node in nodes):
            return None
        return _going_on(plan.by_likeness(self._view, nodes, self._limits))

    def _usable(self, node: Node) -> bool:
        return not node.busy and self._account_of(node.account) is not None


def _going_on(found: plan.Plan | None) -> plan.Plan | None:
    return None if found is None or found.way == "replay" else found
