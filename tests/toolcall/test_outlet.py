from qwen_gateway.toolcall.outlet import Outlet
from qwen_gateway.toolcall.pieces import Bad, CallArguments, CallBegan, CallEnded, Stop, TextOut


def outlet(*, most: int = 3) -> Outlet:
    return Outlet(most=most)


def test_text_comes_in_front_of_what_follows_it() -> None:
    one = outlet()
    one.visible.add("a \n")
    one.call("b", "{}")
    assert one.take() == [TextOut("a"), CallBegan(0, "b"), CallArguments(0, "{}"), CallEnded(0, "{}")]
    assert one.take() == []


def test_a_long_call_comes_in_pieces() -> None:
    one = outlet()
    one.call("b", '{"a": "' + "x" * 9000 + '"}')
    sizes = [len(part.piece) for part in one.take() if isinstance(part, CallArguments)]
    assert sizes == [4096, 4096, 9009 - 8192]


def test_a_call_that_says_the_same_ends_the_answer() -> None:
    one = outlet()
    one.call("b", '{"x": 1, "y": 2}')
    one.call("c", '{"x": 1, "y": 2}')
    one.take()
    one.call("b", '{"y":2,"x":1}')
    assert one.take() == [Stop("duplicate")]
    assert one.done


def test_good_and_bad_calls_are_counted() -> None:
    one = outlet()
    one.refuse(Bad("unknown", "x"))
    one.call("a", "{}")
    assert not one.done
    one.refuse(Bad("unknown", "y"))
    assert one.take()[-1] == Stop("cap")
    assert one.tries == 3


def test_it_is_known_of_which_tools_calls_have_ended() -> None:
    one = outlet()
    one.begin("a")
    one.refuse(Bad("schema", "x", "b"))
    assert not one.has_ended("a")
    one.end("a", "{}")
    assert one.has_ended("a")
    assert not one.has_ended("b")


def test_at_the_end_held_text_is_shown_unless_calls_have_come() -> None:
    one = outlet()
    one.visible.add("a ")
    one.finish()
    assert one.take() == [TextOut("a ")]
    one.visible.add(" ")
    one.call("b", "{}")
    one.finish()
    assert not any(isinstance(part, TextOut) for part in one.take())
