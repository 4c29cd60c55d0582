"""Names that models write, and names that clients give."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_gateway.toolcall.names import Names, refuse

TOOLS = Names(["Bash", "read_file", "web.search", "get-user", "Grep", "grep", "a_b", "a-b"])


@pytest.mark.parametrize("name", TOOLS.all)
def test_a_name_as_it_is_means_itself(name: str) -> None:
    assert TOOLS.resolve(name) == name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("bash", "Bash"),
        ("READ_FILE", "read_file"),
        ("readFile", "read_file"),
        ("read-file", "read_file"),
        ("websearch", "web.search"),
        ("GetUser", "get-user"),
        ("A_B", "a_b"),
        ("AB", None),
        ("a.b", None),
        ("Bash2", None),
        ("", None),
        ("shell", None),
        ("bash ", None),
    ],
)
def test_a23_a_name_that_differs_in_case_or_separators_means_the_only_one(written: str, meant: str | None) -> None:
    assert TOOLS.resolve(written) == meant


def test_a24_of_two_names_that_differ_only_in_case_a_third_spelling_means_none() -> None:
    assert TOOLS.resolve("GREP") is None


def test_a25_an_invented_name_means_none() -> None:
    assert TOOLS.resolve("Search") is None


def test_a54_two_tools_of_one_name_are_refused_with_their_places() -> None:
    with pytest.raises(ValueError, match=r"^tools\[2\]\.name: duplicate tool name 'a', also that of tools\[0\]"):
        refuse(["a", "b", "a"])


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "x" * 129, "a\n"])
def test_a55_names_that_no_dialect_allows_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^tools\[1\]\.name: "):
        refuse(["ok", name])


def test_names_of_all_dialects_are_taken() -> None:
    refuse(["a", "mcp__server__tool", "a.b:c-d_1", "x" * 128, "A"])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.text(alphabet="aAb-_.", min_size=1, max_size=4), max_size=5), st.text(alphabet="aAb-_.", max_size=4))
def test_what_is_found_is_a_tool_and_the_order_of_tools_does_not_matter(names: list[str], written: str) -> None:
    found = Names(names).resolve(written)
    assert found is None or found in names
    assert Names(names[::-1]).resolve(written) == found
