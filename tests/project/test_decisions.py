"""What docs/decisions/0001-turn.md says of the turn is so: what is there is there, what is agreed is not there yet."""

import re
from pathlib import Path

from msgspec import Struct

from qwen_gateway.turn import contracts, events, faults, reply, request

PAGE = (Path(__file__).parents[2] / "docs" / "decisions" / "0001-turn.md").read_text(encoding="utf-8")
TYPES = {
    name: kind
    for module in (request, events, reply)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Struct) and kind is not Struct
} | {"ReplyHead": contracts.ReplyHead}


def _rows(title: str) -> list[list[str]]:
    section = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]


def _exists(name: str) -> bool:
    kind, _, field = name.partition(".")
    return kind in TYPES and (not field or field in TYPES[kind].__struct_fields__)


ADDED = {re.findall(r"`([\w.]+)`", row[0])[0]: row[1].strip() for row in _rows("What is agreed to be added")}


def test_all_types_of_the_turn_are_listed_with_all_their_fields() -> None:
    listed = {
        re.findall(r"`(\w+)`", row[0])[0]: tuple(re.findall(r"`(\w+)`", row[1])) for row in _rows("What there is today")
    }
    assert listed == {name: kind.__struct_fields__ for name, kind in TYPES.items()}


def test_what_is_agreed_is_not_there_yet() -> None:
    assert [name for name in ADDED if _exists(name)] == []


def test_every_place_is_there_or_agreed_and_today_means_today() -> None:
    tables = [line for line in PAGE.splitlines() if line.startswith("|") and line.count(" | ") == 2]
    checked = 0
    for line in tables:
        _, places, state = line.strip("|").split(" | ")
        for name in re.findall(r"`([A-Z]\w+(?:\.\w+)?)`", places):
            if name in vars(faults):
                continue
            assert _exists(name) or name in ADDED, line
            assert state.strip() != "today" or _exists(name), line
            checked += 1
    assert checked > 100
