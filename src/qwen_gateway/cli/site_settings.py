"""`accounts settings`: what of an account's own settings at the site finds its way into answers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from qwen_gateway.cli import options
from qwen_gateway.cli.asking import confirm
from qwen_gateway.cli.plainly import fail, plain_errors
from qwen_gateway.cli.visible import quoted, visible

if TYPE_CHECKING:
    from qwen_gateway.cli.views import LeakView, Management

GROUPS = ("memory", "personalization", "tools")

_CLEAN = "None of your settings at chat.qwen.ai ({name}) finds its way into answers."


def settings(  # noqa: PLR0913, PLR0917  (each parameter is a flag)
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the account.", show_default=False)],
    off: Annotated[
        str | None,
        typer.Option(
            "--off", metavar="GROUPS", help=f"Switch off, at the site: {','.join(GROUPS)}.", show_default=False
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Put back what --off has changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.Json = False,
    config: options.Config = None,
    set_: options.Set = None,
) -> None:
    """See what of your settings at the site changes answers.

    Memory of other chats, texts about yourself and tools that are on at the site find their way into what programs get.
    --off switches them off in your real account, --undo puts them back.
    """
    from qwen_gateway.cli.managed import managed

    if undo and off is not None:
        raise fail("--off and --undo are opposites. Give one of them.")
    groups = _groups(off)
    with plain_errors():
        if undo:
            _tell_undone(name, managed(config, set_, lambda management: management.unsilence(name)), as_json)
            return
        leaks = managed(config, set_, lambda management: management.leaks(name))
        if off is None:
            _tell_leaks(name, leaks, as_json)
            return
        wanted = [leak for leak in leaks if leak.group in groups]
        if wanted:
            _announce(name, wanted)
            confirm("Change this in your account?", yes=yes)

        async def work(management: "Management") -> "Sequence[LeakView]":
            return await management.silence(name, groups) if wanted else []

        _tell_silenced(name, managed(config, set_, work) if wanted else [], as_json)


def _groups(off: str | None) -> tuple[str, ...]:
    groups = tuple(dict.fromkeys(part.strip() for part in (off or "").split(",") if part.strip()))
    unknown = [visible(group) for group in groups if group not in GROUPS]
    if unknown or (off is not None and not groups):
        said = f"there is no group {unknown[0]!r}" if unknown else "--off wants at least one group"
        raise fail(f"{said}. Groups: {', '.join(GROUPS)}; several with commas.")
    return groups


def _announce(name: str, leaks: "Sequence[LeakView]") -> None:
    from qwen_gateway.cli.tables import say

    say(f"This switches off in your real account at chat.qwen.ai ({name}), for your own use there too:", err=True)
    for leak in leaks:
        say(f"  {leak.path} (now: {_value(leak)})", err=True)


def _tell_leaks(name: str, leaks: "Sequence[LeakView]", as_json: bool) -> None:
    from qwen_gateway.cli.tables import print_json, print_table, say

    if as_json:
        print_json({"leaks": leaks})
    elif not leaks:
        say(_CLEAN.format(name=name))
    else:
        print_table(("setting at the site", "group", "now", "why it matters"), _rows(leaks))
        groups = ",".join(group for group in GROUPS if any(leak.group == group for leak in leaks))
        say(f"Switch them off: qwen-gateway accounts settings {quoted(name)} --off {groups}")


def _rows(leaks: "Sequence[LeakView]") -> list[tuple[str, str, str, str]]:
    """A reason that the row above has too is not said again."""
    before = ["", *(leak.why for leak in leaks)]
    return [
        (leak.path, leak.group, _value(leak), "" if leak.why == above else leak.why)
        for leak, above in zip(leaks, before, strict=False)
    ]


def _tell_silenced(name: str, changed: "Sequence[LeakView]", as_json: bool) -> None:
    from qwen_gateway.cli.tables import print_json, say

    if as_json:
        print_json({"changed": changed})
    elif not changed:
        print("There is nothing to switch off: nothing was changed.")
    else:
        say(f"Switched off at chat.qwen.ai: {', '.join(leak.path for leak in changed)}.")
        say(f"Put it back: qwen-gateway accounts settings {quoted(name)} --undo")


def _tell_undone(name: str, paths: Sequence[str], as_json: bool) -> None:
    from qwen_gateway.cli.tables import print_json, say

    if as_json:
        print_json({"restored": paths})
    else:
        say(f"As before in your account at chat.qwen.ai ({name}): {', '.join(paths)}.")


def _value(leak: "LeakView") -> str:
    """As people say it. Texts of their own may be long."""
    if isinstance(leak.value, bool):
        return "on" if leak.value else "off"
    text = visible(str(leak.value))
    return text if len(text) <= 40 else f"{text[:39]}…"
