from typing import Any

import pytest

from qwen_gateway.toolcall.ahead import Broken, More
from qwen_gateway.toolcall.markers import Markers
from qwen_gateway.toolcall.quotes import Container, Place, ends_key, ends_value

TOOL: dict[str, Any] = {"properties": {"a": {}, "b": {"items": {"properties": {"c": {}}}}}}


def ends(text: str, openers: str, *, schema: Any = TOOL, **options: Any) -> bool:
    """The quote is the first one of `text`; `openers` are the open containers, the last of which has `schema`."""
    stack = [Container(opener, None) for opener in openers[:-1]] + [Container(openers[-1], schema)]
    return ends_value(Place(text, text.index('"'), stack, Markers("k7q2").boundary, **options))


PLAIN = {
    '"}} ': True,
    '"}}}': True,
    '"}}"': False,
    '"}}': None,
    '"}, "name":': True,
    '"},': None,
    '"}, x y': False,
    '"} ]': False,
    '"} x': False,
    '", "x":': True,
    '", "x"': None,
    '", "x" y': False,
}
PLAIN |= {'"}\n[END TOOL CALL] ': True, '"\n[END TOOL CALL k7q2] ': True, '"\n[END TOOL CALL] ': False, '" x': False}
PLAIN |= {
    '"]': False,
    '", a:': True,
    '", x:': False,
    '", a b': False,
    '", }}\n': True,
    '", } x': False,
    '"': None,
    '"}': None,
}


@pytest.mark.parametrize(("text", "expected"), PLAIN.items())
def test_without_doubt(text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(More):
            ends(text, "{{")
    else:
        assert ends(text, "{{") is expected


DOUBTFUL = {'"}} ': None, '"}}\n[END TOOL CALL] ': True, '"}} x': False, '"}}}]\n</tool_call>': True, '"}}"}}': False}
DOUBTFUL |= {'", "a":': True, '", "x":': False, '"}, "name":': True, '"}, "a":': False, '", a:': True, '", }}': False}


DOUBTFUL |= {'"}}' + "}" * 8 + " </tool_call>": True, '"}}' + "}" * 9 + " </tool_call>": False}


@pytest.mark.parametrize(("text", "expected"), DOUBTFUL.items())
def test_in_doubt(text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(More):
            ends(text, "{{", doubtful=True)
        assert ends(text, "{{", doubtful=True, final=True)
    else:
        assert ends(text, "{{", doubtful=True) is expected


def test_in_doubt_a_key_says_nothing_if_the_tool_names_none() -> None:
    with pytest.raises(Broken):
        ends('", "a":', "{{", doubtful=True, schema=None)
    assert ends('", a:', "{{", schema=None)


ITEMS = {'", "x': True, '", 1,': True, '", 1': None, '", tru': None, '", true]': True, '", the': None, '", the ': False}
ITEMS |= {'"]}} ': True, '"], "x":': True, '"] x': False, '", ]}}\n': True, '", [': True, '"]}': None}


@pytest.mark.parametrize(("text", "expected"), ITEMS.items())
def test_within_an_array(text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(More):
            ends(text, "{{[")
    else:
        assert ends(text, "{{[") is expected


def test_in_doubt_a_key_that_was_given_already_is_not_guessed() -> None:
    stack = [Container("{", None, {"name"}), Container("{", TOOL, {"a"})]
    place = Place('", "a":', 0, list(stack), Markers("k7q2").boundary)
    assert ends_value(place)
    place.stack, place.doubtful = list(stack), True
    with pytest.raises(Broken):
        ends_value(place)
    place.stack, place.text = list(stack), '"}, "name":'
    assert not ends_value(place)


def test_an_odd_number_of_quotes_within_an_array_is_not_guessed() -> None:
    with pytest.raises(Broken):
        ends('", "x', "{{[", doubtful=True, inner=1)
    assert ends('", "x', "{{[", doubtful=True, inner=2)


def test_long_keys() -> None:
    with pytest.raises(More):
        ends('", "' + "x" * 256, "{{")
    assert ends('", "' + "x" * 257, "{{")
    assert not ends('", "' + "x" * 257, "{{", doubtful=True)


def test_the_end_of_a_key() -> None:
    assert ends_key('" :', 0)
    assert not ends_key('" x', 0)


def test_schemas_within() -> None:
    top = Container("{", TOOL)
    items = Container("[", top.inner("b"))
    assert Container("{", items.inner("")).keys == frozenset({"c"})
    assert top.inner("x") is None
    assert Container("[", True).inner("") is None
    assert Container("{", {"properties": {}}).keys is None
