"""`ask`: one question, answered from the person's own account, without a server."""

import os
import sys
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from qwen_gateway.cli import ask_given, options
from qwen_gateway.cli.plainly import plain_errors
from qwen_gateway.cli.running import Stop, run
from qwen_gateway.cli.visible import visible

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_gateway.app.asking import Asking, Question
    from qwen_gateway.cli.ask_answer import Answer
    from qwen_gateway.cli.ask_transfers import Transfers
    from qwen_gateway.settings import Settings
    from qwen_gateway.turn.faults import Fault

MODEL = "qwen"
"""An alias: the site's own default, or what the setting `aliases` makes of it."""
FAILED, SIGNAL, PIPE = 1, 128, 141
"""Exit codes: there is no answer, or not a whole one; a signal's number is added; nobody reads any more, as a shell
says it."""
EPILOG = (
    "What is piped in stands below the question: git diff | qwen-gateway ask 'Review this.' Exit codes: 0 the whole "
    "answer came; 1 it did not; 2 nothing could be asked; 130 stopped with Ctrl-C."
)
_LEFT = "The chat of this question is still at Qwen's site. The next `qwen-gateway ask` or `serve` deletes it."


class _Interrupt(Stop):
    """Cancels the work at each signal: the first stops the answer, another one the cleaning up."""

    number = 0

    def __call__(self, number: int, frame: object) -> None:
        self.number = number
        super().__call__(number, frame)


def ask(  # noqa: PLR0913, PLR0917 - each parameter is an argument or a flag
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION", help="What to ask; - reads standard input.", show_default=False),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="A picture, document, sound or video to ask about. Can be given repeatedly.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="See `qwen-gateway models`.")] = MODEL,
    thinking: Annotated[
        bool | None,
        typer.Option("--thinking/--no-thinking", help="Whether the model thinks first.", show_default=False),
    ] = None,
    search: Annotated[bool, typer.Option("--search", help="Let the model search the web.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON, for programs.")] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Exactly what the model writes, also on a terminal, without a last line break."),
    ] = False,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """Ask one question, also about files, without a server. Its chat at the site is deleted afterwards."""
    (said, piped), paths = ask_given.question(words or ()), ask_given.files(file or ())
    with plain_errors():
        settings = options.load({"config": config, "set": set_}).settings

        from qwen_gateway.app.asking import Question
        from qwen_gateway.cli.ask_answer import Answer

        question = Question(said, piped, model, thinking=thinking, search=search or None)
        code = _Ask(settings, question, paths, Answer(raw=raw, as_json=as_json)).done()
    raise typer.Exit(code)


class _Ask:
    def __init__(self, settings: "Settings", question: "Question", paths: "list[Path]", answer: "Answer") -> None:
        self._settings, self._question, self._paths, self._answer = settings, question, paths, answer
        self._asking: Asking | None = None

    def done(self) -> int:
        """Its exit code. Raises SettingsError and bugs."""
        from qwen_gateway.cli.ask_answer import Unwritable
        from qwen_gateway.cli.managed import quiet_logs
        from qwen_gateway.turn.faults import Bug, Fault

        stop, code = _Interrupt(), 0
        try:
            with quiet_logs():
                run(self._work(), stop)
        except Bug:
            raise
        except Fault as fault:
            code = self._failed(_told(fault))
        except Unwritable as problem:
            _write_nowhere()
            code = PIPE if problem.nobody_reads else self._failed(str(problem))
        else:
            if stop.number:
                self._answer.break_off()
                code = SIGNAL + stop.number
        if self._asking is not None and self._asking.chats_left:
            print(_LEFT, file=sys.stderr)
        return code

    async def _work(self) -> None:
        from qwen_gateway.app.asking import asking
        from qwen_gateway.cli.ask_transfers import transfers

        async with asking(self._settings) as self._asking:
            self._asking.check()
            told = transfers()
            try:
                await self._answered(self._asking, told)
            finally:
                told.end()
            self._answer.complete(self._asking.model, self._asking.ignored)

    async def _answered(self, asking: "Asking", told: "Transfers") -> None:
        from msgspec import structs

        files = [await asking.file(path, partial(told.reading, path)) for path in self._paths]
        question = structs.replace(self._question, files=tuple(files))
        async with aclosing(asking.events(question, told.uploading)) as answer:
            async for events in answer:
                told.end()
                await self._answer.show(events)

    def _failed(self, text: str) -> int:
        self._answer.break_off()
        print(f"qwen-gateway: {visible(text, lines=True)}", file=sys.stderr)
        return FAILED


def _told(fault: "Fault") -> str:
    param = fault.param or ""
    ours = param.startswith(("--file", "standard input"))
    return f"{param}: {fault.text}" if ours and param not in fault.text else fault.text


def _write_nowhere() -> None:
    """What is still to be written would fail once more at the end of the process."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
