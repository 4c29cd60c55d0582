"""Chats that are kept, over HTTP."""

from qwen_gateway.relay.views import ConversationsView, KeptView
from qwen_gateway.server.admin.conversations import Conversations, Kept

from .bench import STATIC, Bench


async def test_chats_are_counted_by_account(bench: Bench) -> None:
    assert (await bench.call("GET", "conversations")).json() == {"kept": [], "marked": 0}
    await bench.keep((bench.account, "a"), (bench.account, "b"), (bench.account, "c"))
    await bench.kept.mark(["2"])
    assert (await bench.call("GET", "conversations")).json() == {
        "kept": [{"account": bench.account, "name": "main", "chats": 2}],
        "marked": 1,
    }


async def test_the_conversations_of_a_key_end_by_its_id_or_name(bench: Bench) -> None:
    client, viewer = bench.id("client"), bench.id("viewer")
    static = bench.keys.find(STATIC.encode()).id
    await bench.keep(("a", client), ("b", client), ("a", viewer), ("a", static), ("a", "another"))
    reply = await bench.call("DELETE", "conversations?of=the%20client")
    assert (reply.status_code, reply.json()) == (200, {"marked": 2})
    assert (await bench.call("DELETE", f"conversations?of={viewer}")).json() == {"marked": 1}
    assert (await bench.call("DELETE", f"conversations?of={static}")).json() == {"marked": 1}
    assert (await bench.call("DELETE", f"conversations?of={viewer}")).json() == {"marked": 0}
    assert (await bench.call("GET", "conversations")).json() == {
        "kept": [{"account": "a", "name": "", "chats": 1}],
        "marked": 4,
    }


async def test_without_a_known_key_nothing_ends(bench: Bench) -> None:
    await bench.keep(("a", bench.id("client")))
    before = bench.state()
    for query, status, code in (
        ("", 400, "missing_required_parameter"),
        ("?of=", 404, "key_not_found"),
        ("?of=another", 404, "key_not_found"),
        ("?name=the%20client", 400, "missing_required_parameter"),
        ("?key=the%20client", 401, "key_in_url"),
    ):
        reply = await bench.call("DELETE", f"conversations{query}")
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, code), query
    assert (await bench.call("DELETE", "conversations")).json()["error"]["param"] == "of"
    assert bench.state() == before


def test_answers_have_every_field_of_the_views() -> None:
    assert list(Conversations.model_fields) == list(ConversationsView.__struct_fields__)
    assert list(Kept.model_fields) == list(KeptView.__struct_fields__)
