"""Settings of the account that show in answers, how they are switched off, and that this can be undone."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.accounts.leaks import find, switch_off, undo_of

GROUPS = ("memory", "personalization", "tools")
ALL: dict[str, Any] = {
    "ui": {"theme": "light"},
    "memory": {"enable_memory": True, "enable_history_memory": True, "memory_version_reminder": True},
    "tools_enabled": {"web_search": True, "bio": False, "code_interpreter": True},
    "mcp": {"amap": True, "fire-crawl": False},
    "mcp_remind": True,
    "personalization": {"name": "Geheim", "description": " ", "style": "terse", "enable_for_new_chat": True},
}


def merged(settings: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """As the site merges a partial object into the settings."""
    whole = copy.deepcopy(dict(settings))
    for key, value in patch.items():
        here = whole.get(key)
        whole[key] = merged(here, value) if isinstance(here, dict) and isinstance(value, dict) else value
    return whole


def test_what_is_found() -> None:
    leaks = find(ALL)
    assert [(leak.group, leak.path) for leak in leaks] == [
        ("memory", "memory.enable_memory"),
        ("memory", "memory.enable_history_memory"),
        ("personalization", "personalization.enable_for_new_chat"),
        ("tools", "tools_enabled.web_search"),
        ("tools", "tools_enabled.code_interpreter"),
        ("tools", "mcp.amap"),
    ]
    assert leaks[2].value == "on, with name, style"
    assert all(leak.why for leak in leaks)


def test_nothing_that_the_owner_wrote_is_shown() -> None:
    assert "Geheim" not in repr(find(ALL))
    assert "Geheim" not in repr(switch_off(ALL, GROUPS))


@pytest.mark.parametrize(
    ("group", "changes"),
    [
        ("memory", {"memory": {"enable_memory": False, "enable_history_memory": False}}),
        ("personalization", {"personalization": {"enable_for_new_chat": False}}),
        ("tools", {"tools_enabled": {"web_search": False, "code_interpreter": False}, "mcp": {"amap": False}}),
    ],
)
def test_a_group_is_switched_off_alone(group: str, changes: dict[str, Any]) -> None:
    assert switch_off(ALL, [group]) == changes
    assert {leak.group for leak in find(merged(ALL, changes))} == set(GROUPS) - {group}


PERSONAL: dict[str, tuple[dict[str, Any], bool]] = {
    "texts that are on": ({"instruction": "x", "enable_for_new_chat": True}, True),
    "texts that are off": ({"instruction": "x", "enable_for_new_chat": False}, False),
    "texts of which nothing is said": ({"instruction": "x"}, False),
    "no text": ({"name": "", "description": " \n", "enable_for_new_chat": True}, False),
    "something else": ({"name": 5, "voice": "x", "enable_for_new_chat": True}, False),
    "a switch of another kind": ({"name": "x", "enable_for_new_chat": "yes"}, False),
}


@pytest.mark.parametrize(("personal", "leaks"), PERSONAL.values(), ids=PERSONAL.keys())
def test_personal_texts_leak_where_they_hold_for_new_chats(personal: dict[str, Any], leaks: bool) -> None:
    assert bool(find({"personalization": personal})) is leaks


UNKNOWN: list[dict[str, Any]] = [
    {},
    {"memory": None, "personalization": [], "tools_enabled": "all", "mcp": 1},
    {"memory": {"enable_memory": "yes", "enable_history_memory": 1}},
    {"tools_enabled": {"web_search": {"on": True}, "x": None}},
]


@pytest.mark.parametrize("shape", UNKNOWN)
def test_what_is_not_understood_is_no_leak(shape: dict[str, Any]) -> None:
    assert find(shape) == []
    assert switch_off(shape, GROUPS) == {}


def test_an_undo_says_what_was_before_and_leaves_out_what_was_not_there() -> None:
    changes = {"memory": {"enable_memory": False, "new": 1}, "mcp": False, "new": {"x": 1}, "mcp_remind": {"x": 1}}
    assert undo_of(ALL, changes) == {"memory": {"enable_memory": True}, "mcp": ALL["mcp"], "mcp_remind": True}


JSON = st.recursive(
    st.sampled_from([None, True, True, False, 0, 1, "", "x"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["enable_memory", "enable_history_memory", "name", "enable_for_new_chat", "web_search"]),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=15,
)
SETTINGS = st.dictionaries(st.sampled_from(["memory", "personalization", "tools_enabled", "mcp", "ui"]), JSON)


@settings(deadline=None, max_examples=200)
@given(SETTINGS, st.sets(st.sampled_from([*GROUPS, "unknown"])))
def test_switching_off_can_be_undone_and_is_done_once(shape: dict[str, Any], groups: set[str]) -> None:
    before = copy.deepcopy(shape)
    changes = switch_off(shape, groups)
    undo = undo_of(shape, changes)
    assert shape == before
    off = merged(shape, changes)
    assert switch_off(off, groups) == {}
    assert not [leak for leak in find(off) if leak.group in groups]
    assert merged(off, undo) == shape
