"""A command runs until its work ends or a signal comes, and cleans up either way."""

import asyncio
import signal

import pytest

from qwen_gateway.cli.running import Stop, run

SIGNALS = [signal.SIGINT, signal.SIGTERM]


async def hang(marks: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        marks.append("cleaned up")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_work_after_its_cleaning_up(number: signal.Signals) -> None:
    marks: list[str] = []

    async def work() -> None:
        signal.raise_signal(number)
        await hang(marks)

    run(work())
    assert marks == ["cleaned up"]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_gateways_echo_of_a_signal_does_not_cut_its_cleaning_up(number: signal.Signals) -> None:
    marks: list[str] = []
    stop = Stop()

    async def work() -> None:
        stop.hand_over()
        signal.raise_signal(number)
        await asyncio.sleep(0.01)
        marks.append("went on")
        signal.raise_signal(number)
        await hang(marks)

    run(work(), stop)
    assert marks == ["went on", "cleaned up"]


def test_errors_come_through_and_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    async def work() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        run(work())
    assert [signal.getsignal(number) for number in SIGNALS] == before
