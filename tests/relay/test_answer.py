"""One question and the reading of its answer: what is waited for, for how long, and what is made of an odd end."""

import asyncio
from collections.abc import Sequence

import pytest

from qwen_gateway.relay import answer as answer_module
from qwen_gateway.relay.answer import Answer, Patience
from qwen_gateway.relay.calls import Tries
from qwen_gateway.relay.cuts import Length, Stops
from qwen_gateway.relay.forms import Form, WholeJson
from qwen_gateway.relay.pipeline import Pipeline, Stage
from qwen_gateway.turn.events import Began, Event, Failed, Finished, Text
from qwen_gateway.turn.faults import Challenged, Drift, Empty, Fault, Incomplete, TimedOut, Unfit, Unreachable
from qwen_gateway.turn.flow import HttpCall
from qwen_gateway.turn.request import MaxOutput, OutputFormat

from .fakes import PROMPT, SILENCE, Clock, Net, Part, Reply, Site, Words, account, until

CALL = HttpCall("POST", "https://site.test/ask/c", {})
LONG = Patience(first=20, idle=20, total=20)
BROKEN = Incomplete("The connection broke.")
BEGAN = b"began\n"
State = tuple[str, str | None, bool]
"""How an answer ended: the last event, the fault's code, and whether the site may still be writing."""


class Run:
    """One answer, read to its end. waited: seconds that it took."""

    def __init__(self, site: Site | None = None, patience: Patience = LONG, stages: Sequence[Stage] = ()) -> None:
        self.net, self.clock = Net(), Clock()
        self.account = account(self.clock)
        pipeline = Pipeline(Words("c"), stages, lambda: PROMPT.text)
        self.answer = Answer(site or Site(), self.net, self.account, pipeline, patience)
        self.chunks: list[list[Event]] = []
        self.waited = 0.0

    async def read(self, reply: Reply | Fault, reader_takes: float = 0.0) -> "Run":
        self.net.replies.append(reply)
        begun = asyncio.get_running_loop().time()
        async with asyncio.timeout(10), self.answer:
            events = await self.answer.ask(CALL)
            while events:
                self.chunks.append(events)
                await asyncio.sleep(reader_takes)
                events = await self.answer.next()
        self.waited = asyncio.get_running_loop().time() - begun
        return self

    @property
    def last(self) -> Event:
        return self.chunks[-1][-1]

    @property
    def text(self) -> str:
        return "".join(event.text for events in self.chunks for event in events if isinstance(event, Text))

    @property
    def state(self) -> State:
        fault = self.answer.fault
        return type(self.last).__name__, fault.code if fault else None, self.answer.unfinished


WHOLE: State = ("Finished", None, False)


def quick(first: float = 5.0, idle: float = 5.0, total: float = 5.0) -> Patience:
    return Patience(first, idle, total)


async def test_an_answer_comes_chunk_by_chunk() -> None:
    reply = Reply(BEGAN, b"text:a\ntext:b\n", b"text:c\n", b"end\n", set_cookies=("seen=1",))
    run = await Run().read(reply)
    assert run.chunks[0] == [Began("c", "answer-in-c")]
    assert run.chunks[1] == [Text("a"), Text("b")]
    assert run.last == Finished()
    assert (run.text, run.state) == ("abc", WHOLE)
    assert run.answer.answer_id == "answer-in-c"
    assert "seen=1" in run.account.session.cookie_header
    assert reply.closed


ENDS: dict[str, tuple[list[Part], State]] = {
    "whole": ([BEGAN, b"text:a\n", b"end\n"], WHOLE),
    "whole, in one piece": ([b"began\ntext:a\nend\n"], WHOLE),
    "closed before the closing frame": ([BEGAN, b"text:a\n"], ("Failed", "upstream_incomplete", True)),
    "broken before the closing frame": ([BEGAN, b"text:a\n", BROKEN], ("Failed", "upstream_incomplete", True)),
    "broken after the closing frame": ([BEGAN, b"text:a\n", b"end\n", BROKEN], WHOLE),
    "broken after both in one": ([b"began\ntext:a\nend\n", BROKEN], WHOLE),
    "nothing": ([], ("Failed", "upstream_empty", True)),
    "broken at once": ([BROKEN], ("Failed", "upstream_empty", True)),
    "another fault": ([BEGAN, b"text:a\n", Drift("odd")], ("Failed", "upstream_changed", True)),
}


@pytest.mark.parametrize("name", ENDS)
async def test_ends(name: str) -> None:
    parts, state = ENDS[name]
    assert (await Run().read(Reply(*parts))).state == state


async def test_no_connection_is_a_fault_and_no_exception() -> None:
    run = await Run().read(Unreachable("refused"))
    assert run.state == ("Failed", "upstream_unreachable", True)


async def test_nothing_comes_after_the_end() -> None:
    run = await Run().read(Reply(b"text:a\nend\n"))
    assert await run.answer.next() == []


# --- time ---


async def test_the_head_may_take_as_long_as_the_first_event() -> None:
    run = await Run(patience=quick(first=3)).read(Unreachable("x"))
    assert run.net.seconds == {"ask": 3}


async def test_a_site_that_never_begins() -> None:
    run = await Run(patience=quick(first=0.05)).read(Reply(SILENCE))
    assert run.state == ("Failed", "upstream_timeout", True)
    assert 0.04 < run.waited < 2


async def test_the_first_event_has_its_own_time_also_when_idle_is_shorter() -> None:
    run = await Run(patience=quick(first=4, idle=0.04)).read(Reply(0.15, b"began\ntext:a\nend\n"))
    assert run.state == WHOLE


async def test_a_site_that_falls_silent() -> None:
    run = await Run(patience=quick(idle=0.05)).read(Reply(BEGAN, b"text:a\n", SILENCE))
    assert run.state == ("Failed", "upstream_idle_timeout", True)
    assert run.text == "a"
    assert 0.04 < run.waited < 2


@pytest.mark.parametrize("nothing", [b": comment\n", b"\n", b"data:\n"], ids=["comments", "blank lines", "empty data"])
async def test_what_is_no_event_does_not_count_as_life(nothing: bytes) -> None:
    noise: list[Part] = [part for _ in range(100) for part in (0.01, nothing)]
    run = await Run(patience=quick(idle=0.08)).read(Reply(b"began\ntext:a\n", *noise, b"end\n"))
    assert run.state == ("Failed", "upstream_idle_timeout", True)
    assert run.waited < 0.8, "the noise alone lasts a second"


async def test_comments_do_not_put_off_the_first_event_either() -> None:
    noise: list[Part] = [part for _ in range(100) for part in (0.01, b": comment\n")]
    run = await Run(patience=quick(first=0.08)).read(Reply(*noise, b"began\ntext:a\nend\n"))
    assert run.state == ("Failed", "upstream_timeout", True)


async def test_events_do_count_as_life() -> None:
    slow: list[Part] = [part for _ in range(8) for part in (0.05, b"text:a\n")]
    run = await Run(patience=quick(idle=0.25)).read(Reply(BEGAN, *slow, b"end\n"))
    assert (run.text, run.state) == ("a" * 8, WHOLE)
    assert run.waited > 0.3, "longer than the idle time, or this proves nothing"


async def test_the_whole_answer_has_an_end_however_lively_it_is() -> None:
    lively: list[Part] = [part for _ in range(200) for part in (0.01, b"text:a\n")]
    run = await Run(patience=quick(total=0.15)).read(Reply(BEGAN, *lively, b"end\n"))
    assert run.state == ("Failed", "upstream_timeout", True)
    assert isinstance(run.answer.fault, TimedOut)
    assert "longer than 0.15 s" in run.answer.fault.text
    assert run.waited < 1


async def test_what_the_client_takes_to_read_is_not_the_sites_time() -> None:
    reply = Reply(BEGAN, b"text:a\n", b"text:b\n", b"end\n")
    run = await Run(patience=quick(idle=0.03)).read(reply, reader_takes=0.1)
    assert (run.text, run.state) == ("ab", WHOLE)


@pytest.mark.parametrize(
    "parts",
    [[b"began\ntext:a\n", b"end\n"], [b"began\n", b"text:a\nend\n"], [b"began\ntext:a\nend\n"]],
    ids=["alone", "with the last words", "with everything"],
)
async def test_after_the_closing_frame_the_stream_has_little_time_to_close(
    parts: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_module, "GRACE", 0.05)
    run = await Run().read(Reply(*parts, SILENCE))
    assert run.state == WHOLE
    assert run.waited < 3


async def test_comments_do_not_stretch_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "GRACE", 0.1)
    noise: list[Part] = [part for _ in range(200) for part in (0.01, b": comment\n")]
    run = await Run().read(Reply(b"began\ntext:a\n", b"end\n", *noise))
    assert run.state == WHOLE
    assert run.waited < 1.5, "the noise alone lasts two seconds"


# --- what is no stream ---

PAGE = {"content-type": "text/html"}
JSON = {"content-type": "application/json"}


async def test_a_refusal_is_what_the_site_says_it_is() -> None:
    site = Site()
    site.refuses = Challenged("a wall")
    run = await Run(site).read(Reply(b"<ht", b"ml>", status=403, headers=PAGE))
    assert run.chunks == [[Failed(site.refuses)]]
    assert run.state == ("Failed", "upstream_challenge", False)


async def test_a_refusal_that_nobody_understands_is_a_change_of_the_site() -> None:
    run = await Run().read(Reply(b"{}", headers=JSON))
    assert run.state == ("Failed", "upstream_changed", False)


async def test_a_refusal_that_breaks_off_is_judged_by_what_came() -> None:
    site = Site()
    site.refuses = Challenged("a wall")
    run = await Run(site).read(Reply(b"<html>", BROKEN, status=403, headers=PAGE))
    assert run.state == ("Failed", "upstream_challenge", False)


async def test_a_refusal_of_which_nothing_came_is_a_broken_body() -> None:
    run = await Run().read(Reply(BROKEN, status=403, headers=PAGE))
    assert run.state == ("Failed", "upstream_incomplete", True)


async def test_a_refusal_that_never_ends_has_the_time_of_the_first_event() -> None:
    run = await Run(patience=quick(first=0.05)).read(Reply(SILENCE, status=500, headers=PAGE))
    assert run.state == ("Failed", "upstream_timeout", True)


async def test_no_more_of_a_refusal_is_read_than_need_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_module, "MAX_REFUSAL", 100)
    reply = Reply(*[b"x" * 60] * 50, status=500, headers=PAGE)
    await Run().read(reply)
    assert reply.reads == 2


MISLABELLED: dict[str, tuple[list[Part], State]] = {
    "whole": ([b"data:began\ndata:te", b"xt:a\ndata:end\n"], WHOLE),
    "after blanks": ([b"\r\n\r\ndata:text:a\ndata:end\n"], WHOLE),
    "not whole": ([b"data:text:a\n"], ("Failed", "upstream_incomplete", True)),
    "broken": ([b"data:text:a\n", BROKEN], ("Failed", "upstream_incomplete", True)),
}


@pytest.mark.parametrize("name", MISLABELLED)
async def test_a_stream_under_a_wrong_content_type(name: str) -> None:
    parts, state = MISLABELLED[name]
    run = await Run().read(Reply(*parts, headers=JSON))
    assert (run.text, run.state) == ("a", state)


async def test_a_stream_with_a_refusing_status_is_none() -> None:
    run = await Run().read(Reply(b"data:text:a\ndata:end\n", status=502, headers=JSON))
    assert run.state == ("Failed", "upstream_changed", False)


# --- whether the site may still be writing ---


async def test_a_question_that_was_not_asked_leaves_nothing_behind() -> None:
    async with Run().answer as answer:
        assert not answer.unfinished


async def test_a_reader_who_leaves_in_the_middle_leaves_the_site_writing() -> None:
    run, reply = Run(), Reply(b"began\ntext:a\n", SILENCE)
    run.net.replies.append(reply)
    async with run.answer:
        await run.answer.ask(CALL)
    assert run.answer.unfinished
    assert run.answer.fault is None
    assert reply.closed


async def test_cancelled_while_the_site_is_silent() -> None:
    run, reply = Run(), Reply(SILENCE)
    reading = asyncio.create_task(run.read(reply))
    await until(lambda: reply.reads == 1)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert run.answer.unfinished
    assert reply.closed


async def test_cancelled_before_the_head_came() -> None:
    run = Run()
    run.net.holds["ask"] = asyncio.Event()
    reading = asyncio.create_task(run.read(Empty("never used")))
    await until(lambda: run.net.count("ask") == 1)
    reading.cancel()
    await asyncio.wait([reading])
    assert run.answer.unfinished, "the question may have arrived"


# --- stages that keep or cut ---


def json_stage(left: int = 2) -> WholeJson:
    return WholeJson(Form(OutputFormat("json_object"), None), Tries(left=left), lambda: None)


async def test_what_is_kept_until_it_is_whole_counts_as_life() -> None:
    slowly: list[Part] = [0.06, b"text:0,\n"]
    pieces = [b'text:{"a": [\n', *slowly * 6, b"text:0]}\nend\n"]
    run = await Run(patience=quick(first=0.2, idle=0.2), stages=[json_stage()]).read(Reply(BEGAN, *pieces))
    assert (run.text, run.state) == ('{"a": [0,0,0,0,0,0,0]}', WHOLE)
    assert run.waited > 0.3


async def test_comments_do_not_count_as_life_while_something_is_kept() -> None:
    comments: list[Part] = [0.05, b": sign of life\n"]
    reply = Reply(BEGAN, b"text:{\n", *comments * 20, SILENCE)
    run = await Run(patience=quick(idle=0.2), stages=[json_stage()]).read(reply)
    assert run.state == ("Failed", "upstream_idle_timeout", True)


async def test_an_answer_of_which_there_is_enough_ends_at_once_and_the_site_still_writes() -> None:
    for stage, end in (
        (Stops(["END"]), Finished("stop", "END")),
        (Length(MaxOutput(1, True), len), Finished("length")),
    ):
        reply = Reply(BEGAN, b"text:oEND x\n", SILENCE)
        run = await Run(stages=[stage]).read(reply)
        assert run.last == end
        assert run.text == "o"
        assert (run.answer.fault, run.answer.unfinished) == (None, True)
        assert reply.closed


async def test_enough_and_the_end_in_one_piece_is_a_whole_answer() -> None:
    run = await Run(stages=[Stops(["END"])]).read(Reply(b"began\ntext:one END\nend\n"))
    assert run.last == Finished("stop", "END")
    assert run.answer.fault is None


async def test_a_whole_answer_that_cannot_be_used_leaves_the_site_in_peace() -> None:
    run = await Run(stages=[json_stage()]).read(Reply(BEGAN, b"text:No.\n", b"end\n"))
    assert isinstance(run.answer.fault, Unfit)
    assert run.state == ("Failed", "structured_output_failed", False)


async def test_what_is_kept_of_an_answer_that_broke_off_is_not_judged() -> None:
    run = await Run(stages=[json_stage(), Stops(["x"])]).read(Reply(BEGAN, b"text:No.\n", BROKEN))
    assert run.state == ("Failed", "upstream_incomplete", True)
