"""The settings as a page and as an example file, made from the list itself so that they cannot go stale."""

import textwrap
from collections.abc import Iterator

from pydantic.fields import FieldInfo

from qwen_gateway.settings import Settings
from qwen_gateway.settings_sources import CONFIG_FILE, LEGACY, PREFIX, shown

# The first setting of each group, and what the group is about.
_GROUPS = {
    "host": "Where the gateway listens, and for whom",
    "data_dir": "What it keeps, and where",
    "log_level": "The log",
    "cookies": "An account given by the settings (`qwen-gateway login` is another way)",
    "account_concurrency": "How accounts are used",
    "site_url": "The site",
    "default_thinking": "Models",
    "continuation": "Chats at the site",
    "max_image_bytes": "Files",
    "tool_format": "Tools and parameters",
    "connect_timeout": "Patience",
}
_INTRO = f"""\
# Settings

<!-- Made by `make docs` from src/qwen_gateway/settings.py. Changes here are lost. -->

A setting can be given in four ways. The first that has it wins:

1. a flag: `qwen-gateway serve --port 9000`; every setting but those that hold secrets also works as
   `--set name=value`;
2. an environment variable: `{PREFIX}PORT=9000`;
3. the same line in a file `.env` in the working directory;
4. a line in a TOML file: `port = 9000`. The file is `{CONFIG_FILE}` in the working directory, or the one that
   `--config` or `{PREFIX}CONFIG` names.

`qwen-gateway settings` shows every value and where it came from. A name that is not in the list is refused, so that a
slip of the pen does not go unnoticed. A blank variable counts as not set.

Lists are written with commas (`a,b`) or as JSON (`["a", "b"]`), tables as JSON (`{{"name": "value"}}`); in TOML, both
have their own form. A duration is in seconds.
"""
_LEGACY_INTRO = """\
## Names of earlier bridges

These work in the environment and in `.env`, so that a configuration can be taken over as it is. They count only where
the setting has no value from any of the four ways above.

| variable | setting |
|---|---|
"""


def settings_page() -> str:
    """The page `docs/settings.md`."""
    lines: list[str] = []
    for name, field in Settings.model_fields.items():
        if name in _GROUPS:
            lines += [
                "",
                f"## {_GROUPS[name]}",
                "",
                "| setting | environment | default | meaning |",
                "|---|---|---|---|",
            ]
        meaning = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{name}` | `{PREFIX}{name.upper()}` | {_default_cell(name, field)} | {meaning} |")
    legacy = [f"| `{key}` | {_legacy_cell(name)} |" for key, (name, _) in LEGACY.items()]
    return _INTRO + "\n".join(lines) + "\n\n" + _LEGACY_INTRO + "\n".join(legacy) + "\n"


def env_example() -> str:
    """The file `.env.example`: every setting with its default, commented out."""
    lines = ["# Copy this file to .env and remove the # before what you want to change. All settings: docs/settings.md"]
    for name, field in Settings.model_fields.items():
        if name in _GROUPS:
            lines += ["", f"# ---- {_GROUPS[name]} ----"]
        lines += ["", *_comment(field.description or ""), f"#{PREFIX}{name.upper()}={_example(name, field)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, 98, break_on_hyphens=False, break_long_words=False))


def _default_cell(name: str, field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the user's data directory"
    return f"`{shown(name, field.default)}`" if field.default not in (None, (), {}, "") else "none"


def _example(name: str, field: FieldInfo) -> str:
    if field.default_factory is not None or field.default in (None, (), {}, ""):
        return ""
    return shown(name, field.default)


def _legacy_cell(name: str) -> str:
    return "`delete_chats`: true is `now`, false is `keep`" if name == "delete_chats" else f"`{name}`"
