"""Whether a conversation goes on in a chat that the site has, and with what; or whether all of it is told anew.

The client's list is the truth, and a chat is only a memory of it. What is in doubt is told anew: that costs time,
while a chat that says something else costs the right answer. Nothing here looks anything up: `wanted` says which keys
to look for, and the planners judge what was found.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from qwen_gateway.history.canon import Group, spoken
from qwen_gateway.history.chain import Chain
from qwen_gateway.turn.places import Node, StoredMessage

Way = Literal["continue", "catchup", "replay"]
"""continue: only what is new is told. catchup: also answers that the chat does not have. replay: all, in a new chat."""

MOST_KEYS = 500
"""As many as `relay.ports.ConversationStore.find` takes. What lies further back is too much to catch up with anyway."""


class Plan(Struct, frozen=True):
    """told: `groups[told:]` are to be told; 0 for a replay. nodes: to be tried in this order; all know the same.
    resend, resend_tools: the instructions, the tools that they know are not those of the request.

    reason: `next`, `suffix` or `handle` (how the chat was found), `changed` (answers differ from those in the chat; for
    a replay: too many), `prefill` (the last answer is begun, and the model is to go on with it), `first` (there is no
    earlier answer), `unknown` (no chat has its beginning), `context` (the chat is nearly full), `instructions` (they
    changed).
    """

    way: Way
    reason: str
    told: int = 0
    nodes: tuple[Node, ...] = ()
    resend: bool = False
    resend_tools: bool = False


class View(Struct, frozen=True):
    """A request's conversation. instructions, tools: digests (`history.chain`)."""

    groups: tuple[Group, ...]
    chain: Chain
    instructions: bytes
    tools: bytes


class Limits(Struct, frozen=True):
    """window: what the model takes, in tokens. catchup_share: of the whole conversation. filling: of the window."""

    window: int | None
    catchup_bytes: int = 24 * 1024
    catchup_share: float = 1 / 3
    filling: float = 0.8
    changed_instructions: Literal["resend", "replay"] = "resend"


class Hint(Struct, frozen=True):
    """A node that knows the same questions and calls, and perhaps not the same answers. texts: what the client says
    that the answers before `told` were."""

    node: Node
    told: int
    texts: tuple[str, ...]


def wanted(view: View) -> list[bytes]:
    """Keys of the places to go on from, the longest prefix first."""
    return [view.chain.keys[told - 1] for told in _places(view.groups)[:MOST_KEYS]]


def plan(view: View, nodes: Sequence[Node], limits: Limits) -> Plan:
    """nodes: those found for `wanted` that can be used, in any order of keys. For one key the first is the best, but
    one that knows the instructions and tools goes before one that does not."""
    places = _places(view.groups)
    if not places:
        return Plan("replay", "first")
    found: dict[bytes, list[Node]] = {}
    for node in nodes:
        found.setdefault(node.key, []).append(node)
    for told in places:
        if known := found.get(view.chain.keys[told - 1]):
            return _from(view, told, known, limits, reason="next")
    return Plan("replay", "unknown")


def last_answer(view: View) -> tuple[Group, Group] | None:
    """The last question and answer before what is pending, for `chain.likeness`."""
    places = _places(view.groups)
    if not places or places[0] < 2:
        return None
    return view.groups[places[0] - 2], view.groups[places[0] - 1]


def by_likeness(view: View, nodes: Sequence[Node], limits: Limits) -> Plan | None:
    """nodes: those that are like `last_answer`. `None` unless all of them are one answer in one chat."""
    if len({node.place for node in nodes}) != 1 or last_answer(view) is None:
        return None
    return _from(view, _places(view.groups)[0], nodes, limits, reason="suffix")


def hint(view: View, nodes: Sequence[Node]) -> Hint | None:
    """nodes: those found by handles that the client sent back, the best first."""
    for told in _places(view.groups):
        for node in nodes:
            if node.bones == view.chain.bones[told - 1]:
                return Hint(node, told, tuple(_answers(view.groups[:told])))
    return None


def holds(hint: Hint, stored: Mapping[str, StoredMessage]) -> bool:
    """Whether the client's answers are those in the chat, but for what the client has left out of them."""
    path = _path(stored, hint.node.answer_id)
    answers = [message for message in path if message.role == "assistant"]
    return len(answers) == len(hint.texts) and all(
        there.done and said in spoken(there.text) for there, said in zip(answers, hint.texts, strict=True)
    )


def from_hint(view: View, hint: Hint, limits: Limits) -> Plan:
    """For a hint that `holds`."""
    return _from(view, hint.told, [hint.node], limits, reason="handle")


def _path(stored: Mapping[str, StoredMessage], answer_id: str) -> list[StoredMessage]:
    """From the first message to the answer; empty when it does not lead there."""
    path: list[StoredMessage] = []
    at: str | None = answer_id
    while at is not None:
        message = stored.get(at)
        if message is None or len(path) == len(stored):  # one is missing, or they go round in a circle
            return []
        path.append(message)
        at = message.parent
    return path[::-1]


def _places(groups: Sequence[Group]) -> list[int]:
    """After how many groups there is an answer that something follows, the longest prefix first."""
    return [told for told in range(len(groups) - 1, 0, -1) if groups[told - 1].role == "assistant"]


def _answers(groups: Sequence[Group]) -> list[str]:
    return [group.text for group in groups if group.role == "assistant"]


def _from(view: View, told: int, nodes: Sequence[Node], limits: Limits, *, reason: str) -> Plan:
    """Going on from `nodes`, which all know `groups[:told]`."""
    pending = view.groups[told:]
    begun = pending[-1].role == "assistant"
    # The answer that is begun has no size to keep: it is what the client asks for.
    settled = view.groups[:-1] if begun else view.groups
    changed, size = bool(_answers(settled[told:])), _size(settled[told:])
    if changed and size > min(limits.catchup_bytes, limits.catchup_share * _size(settled)):
        return Plan("replay", "changed")
    if limits.changed_instructions == "replay":
        nodes = [node for node in nodes if node.instructions == view.instructions]
        if not nodes:
            return Plan("replay", "instructions")
    nodes = [node for node in nodes if _fits(node, pending, limits)]
    if not nodes:
        return Plan("replay", "context")
    resend, resend_tools = min(_lacks(node, view) for node in nodes)
    alike = tuple(node for node in nodes if _lacks(node, view) == (resend, resend_tools))
    if reason == "next" and (changed or begun):
        reason = "changed" if changed else "prefill"
    return Plan("catchup" if changed or begun else "continue", reason, told, alike, resend, resend_tools)


def _fits(node: Node, pending: Iterable[Group], limits: Limits) -> bool:
    """A token is about three bytes: one Chinese character, most of an English word."""
    return limits.window is None or node.tokens + _size(pending) / 3 <= limits.filling * limits.window


def _lacks(node: Node, view: View) -> tuple[bool, bool]:
    """Whether it knows other instructions, other tools. `False` sorts first."""
    return node.instructions != view.instructions, node.tools != view.tools


def _size(groups: Iterable[Group]) -> int:
    return sum(len(group.canon) for group in groups)
