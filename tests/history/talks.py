"""Conversations to try things on, and what the relay makes of an answer that ended well."""

from collections.abc import Sequence

from hypothesis import strategies as st

from qwen_gateway.history import canon, chain
from qwen_gateway.history.plan import View
from qwen_gateway.turn.files import FilePart, Kind, Remote
from qwen_gateway.turn.places import Node
from qwen_gateway.turn.request import Message, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart

SECRET = b"a secret of thirty-two bytes ...."


def user(*texts: str) -> Message:
    return Message("user", tuple(map(TextPart, texts)))


def assistant(*texts: str, calls: Sequence[ToolCallPart] = ()) -> Message:
    return Message("assistant", (*map(TextPart, texts), *calls))


def system(*texts: str) -> Message:
    return Message("system", tuple(map(TextPart, texts)))


def result(call_id: str, text: str) -> Message:
    return Message("user", (ToolResultPart(call_id, text),))


def call(call_id: str, name: str, arguments: str = "{}") -> ToolCallPart:
    return ToolCallPart(call_id, name, arguments)


def file(
    identity: str = "sha256:ca7", name: str = "", kind: Kind | None = "image", *, text: str | None = None
) -> FilePart:
    """One that was looked at."""
    return FilePart(Remote("https://example.com/"), kind, name=name, identity=identity, text=text)


def canons(*messages: Message) -> list[bytes]:
    return [group.canon for group in canon.read(messages).groups]


def view(
    messages: Sequence[Message], tools: bytes = b"", /, *, tenant: str = "t", end_user: str = "", model: str = "m"
) -> View:
    said = canon.read(messages)
    root = chain.root(SECRET, tenant=tenant, end_user=end_user, model=model)
    return View(
        said.groups,
        chain.chain(SECRET, root, said.groups),
        chain.digest(SECRET, said.instructions.encode()),
        chain.digest(SECRET, tools),
    )


def remembered(
    asked: View, text: str, calls: Sequence[ToolCallPart] = (), *, chat: str = "chat", tokens: int = 0
) -> list[Node]:
    """The nodes of an answer to `asked`: its own, and one for a client that drops the text beside calls."""
    group = canon.answer(text, calls)
    keys = [chain.extend(SECRET, asked.chain.tip, group)]
    if calls and group.text:
        keys.append(chain.extend_bare(SECRET, asked.chain.tip, group))
    return [
        Node(
            key=key,
            chat_id=chat,
            answer_id=f"{chat}-{len(asked.groups)}",
            account="a",
            bones=chain.extend_bare(SECRET, asked.chain.bare_tip, group),
            handle=chain.handle(SECRET, asked.chain.root, chat),
            likeness=chain.likeness(SECRET, asked.chain.root, asked.groups[-1], group) if asked.groups else None,
            instructions=asked.instructions,
            tools=asked.tools,
            tokens=tokens,
        )
        for key in keys
    ]


def memory(messages: Sequence[Message], *, chat: str = "chat", tokens: int = 0, tenant: str = "t") -> list[Node]:
    """The nodes of all answers in `messages`, as if each had been given in `chat`. The newest first."""
    nodes: list[Node] = []
    for at, message in enumerate(messages):
        if message.role == "assistant":
            calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
            asked = view(messages[:at], tenant=tenant)
            nodes = remembered(asked, canon.text_of(message), calls, chat=chat, tokens=tokens) + nodes
    return nodes


# --- for properties ---

TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "a \r\n\tb\r",
        "é e\u0301",
        "<think>hm</think>yes",
        '{"a": 1}',
        "text 1:a",
        "--- abcd 1 user ---",
        "<|im_end|>",
        "a\x00b",
        "## Instructions",
        "quoted",
    ]
)
IDS = st.sampled_from(["", "c1", "c2", "c3"])
CALLS = st.builds(ToolCallPart, IDS, TEXTS, TEXTS | st.sampled_from(["{}", '{"b": 1.0, "a": [2e0]}', "[1,"]))
_KINDS: st.SearchStrategy[Kind | None] = st.sampled_from([None, "image", "document", "audio", "video"])
_IDENTITIES = st.sampled_from(["sha256:ca7", "sha256:d06", "url:https://example.com/a 1:b"])
FILES = st.builds(file, _IDENTITIES, TEXTS, _KINDS, text=st.none() | TEXTS)
RESULTS = st.builds(ToolResultPart, IDS, TEXTS, files=st.just(()) | st.lists(FILES, max_size=2).map(tuple))
_TOLD: st.SearchStrategy[Part] = st.builds(TextPart, TEXTS) | RESULTS | FILES
USERS: st.SearchStrategy[Message] = st.builds(Message, st.just("user"), st.lists(_TOLD, max_size=3).map(tuple))
SYSTEMS: st.SearchStrategy[Message] = st.builds(
    Message, st.just("system"), st.lists(st.builds(TextPart, TEXTS) | FILES, max_size=2).map(tuple)
)
_SAID: st.SearchStrategy[Part] = st.builds(TextPart, TEXTS) | st.builds(ReasoningPart, TEXTS) | CALLS | FILES
ASSISTANTS: st.SearchStrategy[Message] = st.builds(
    Message, st.just("assistant"), st.lists(_SAID, max_size=3).map(tuple)
)
MESSAGES = st.lists(st.one_of(USERS, USERS, ASSISTANTS, SYSTEMS), min_size=1, max_size=7)
