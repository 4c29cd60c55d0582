"""Where settings come from: flags, the environment, `.env`, a TOML file, and the names of earlier bridges.

`load` reads nothing but its arguments and the files they name, and tells the source of every value. Every problem is
collected, so that a person can mend all of them at once. Not here: what a value may be (`settings_values`).
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv.parser import parse_stream
from pydantic import SecretStr, ValidationError

from qwen_gateway.settings import Settings, SettingsError

PREFIX = "QWEN_GATEWAY_"
CONFIG = "QWEN_GATEWAY_CONFIG"
CONFIG_FILE = "qwen-gateway.toml"
MASK = "•••• (set)"

# Kubernetes gives every container such variables for a service of the name `qwen-gateway`. They are not meant for us.
_SERVICE_LINK = re.compile(r"QWEN_GATEWAY_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP))(_\w+)?")
_NAME = re.compile(r"[a-z_]{1,40}")
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
# The command line is no place for them: other users of the machine can read it, and shells keep it.
_NOT_AS_FLAGS = frozenset({"cookies", "token", "api_keys", "database_url", "redis_url", "secret_key"})
# Values that may hold a secret, in whole or in part: no message repeats them.
_UNQUOTED = frozenset(
    {
        "cookies",
        "token",
        "api_keys",
        "database_url",
        "redis_url",
        "secret_key",
        "site_headers",
        "site_url",
        "auth_url",
        "aliases",
    }
)


@dataclass(frozen=True)
class Loaded:
    """Settings, and for each by name where its value came from."""

    settings: Settings
    origins: Mapping[str, str]


class Shown(NamedTuple):
    """One setting as it may be shown to a person: without secrets."""

    name: str
    value: str
    origin: str
    description: str


class _Given(NamedTuple):
    value: object
    origin: str


_Layer = dict[str, _Given]


def load(flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path) -> Loaded:
    """The settings from all sources. Raises SettingsError with every problem.

    flags: by the setting's name; `None` is not given. `config` is the TOML file's path, and `set` holds texts
        `name=value`.
    """
    problems: list[str] = []
    dotenv = _read_dotenv(cwd / ".env", problems)
    config = flags.get("config") or environ.get(CONFIG) or dotenv.get(CONFIG)
    given = {
        **_toml(cwd, str(config) if config else None, problems),
        **_variables(dotenv, ".env", problems),
        **_variables(environ, "environment", problems),
        **_flags(flags, problems),
    }
    # Older names come last, so that what another program's QWEN_API_KEY says never replaces what was meant for us.
    _add_legacy(given, environ, "environment", problems)
    _add_legacy(given, dotenv, ".env", problems)
    settings = _checked(given, cwd, problems)
    if settings is None or problems:
        raise SettingsError(problems)
    settings.check_room()
    origins = {name: given[name].origin if name in given else "default" for name in Settings.model_fields}
    return Loaded(settings, origins)


def describe(loaded: Loaded) -> Iterator[Shown]:
    """Every setting in its order."""
    for name, field in Settings.model_fields.items():
        value = shown(name, getattr(loaded.settings, name))
        yield Shown(name, value, loaded.origins[name], field.description or "")


def shown(name: str, value: object) -> str:
    """A value as text. Secrets are masked; of headers only the names are shown."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple):
        masked = [MASK if isinstance(item, SecretStr) else str(item) for item in value]
        return ", ".join(masked) or "none"
    if isinstance(value, dict):
        entries = [f"{key}: {MASK if name == 'site_headers' else ', '.join(item)}" for key, item in value.items()]
        return "; ".join(entries) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value in (None, "") else str(value)


def _flags(flags: Mapping[str, object], problems: list[str]) -> _Layer:
    layer: _Layer = {}
    texts = flags.get("set") or ()
    for text in texts if isinstance(texts, list | tuple) else ():
        key, sign, written = str(text).partition("=")
        name = key.strip().replace("-", "_")
        if name in _NOT_AS_FLAGS:
            problems.append(
                f"--set {name}: other users of this machine can read the command line, and the shell keeps it. Write "
                f"it in the variable {PREFIX}{name.upper()}, or in {CONFIG_FILE}."
            )
        elif sign and name in Settings.model_fields:
            layer[name] = _Given(written, f"flag --set {name}")
        elif sign and _NAME.fullmatch(name):
            problems.append(f"--set {name}: there is no such setting.{_hint(name, Settings.model_fields)}")
        else:  # whatever it is, it may be a secret
            problems.append("--set: write it as --set name=value.")
    for name, value in flags.items():
        if value is not None and name not in ("config", "set"):
            layer[name] = _Given(value, f"flag --{name.replace('_', '-')}")
    return layer


def _variables(variables: Mapping[str, str], where: str, problems: list[str]) -> _Layer:
    """Our own variables. A blank one counts as not set, as compose files make them."""
    layer: _Layer = {}
    names = {PREFIX + name.upper(): name for name in Settings.model_fields}
    for key, value in variables.items():
        if not key.upper().startswith(PREFIX) or key == CONFIG or _is_service_link(key, value):
            continue
        if key not in names:
            problems.append(f"{key} ({where}): there is no such setting.{_hint(key.upper(), names)}")
        elif value.strip():
            layer[names[key]] = _Given(value.strip(), f"{where} {key}")
    return layer


def _is_service_link(key: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(key)) or (key == "QWEN_GATEWAY_PORT" and value.startswith(("tcp://", "udp://")))


def _add_legacy(given: _Layer, variables: Mapping[str, str], where: str, problems: list[str]) -> None:
    for key, (name, read) in LEGACY.items():
        text = variables.get(key, "").strip()
        if not text or name in given:
            continue
        try:
            given[name] = _Given(read(text), f"{where} {key}")
        except ValueError as error:
            problems.append(f"{name} ({where} {key}): {error}.")


def _keep_or_now(text: str) -> str:
    if text.lower() in _YES:
        return "now"
    if text.lower() in _NO:
        return "keep"
    raise ValueError("should be true or false")


LEGACY: Mapping[str, tuple[str, Callable[[str], str]]] = {
    "QWEN_COOKIES": ("cookies", str),
    "QWEN_AUTH_TOKEN": ("token", str),
    "QWEN_API_KEY": ("token", str),
    "VALID_TOKENS": ("api_keys", str),
    "API_PREFIX": ("api_prefix", str),
    "IS_DELETE": ("delete_chats", _keep_or_now),
}
"""Variables of earlier bridges: the setting each means, and how its text is read. The first that is set wins."""


def _read_dotenv(path: Path, problems: list[str]) -> dict[str, str]:
    """Its variables. `${…}` is not replaced: a cookie may hold any sign. Other programs' lines may be as they like."""
    text = _read(path, ".env", problems) if path.is_file() else None
    found: dict[str, str] = {}
    for binding in parse_stream(StringIO(text or "")):
        if binding.error and any(name in binding.original.string.upper() for name in (PREFIX, *LEGACY)):
            problems.append(f".env line {binding.original.line}: cannot be read. Write NAME=value, one on a line.")
        elif binding.key is not None:
            found[binding.key] = binding.value or ""
    return found


def _toml(cwd: Path, config: str | None, problems: list[str]) -> _Layer:
    if config is None and not (cwd / CONFIG_FILE).is_file():
        return {}
    label = config or CONFIG_FILE
    text = _read(cwd / Path(label).expanduser(), label, problems)
    try:
        values = tomllib.loads(text or "")
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{label}: not valid TOML: {error}.")
        return {}
    layer: _Layer = {}
    for name, value in values.items():
        if name in Settings.model_fields:
            layer[name] = _Given(value, f"{label} {name}")
        else:
            problems.append(f"{name} ({label}): there is no such setting.{_hint(name, Settings.model_fields)}")
    return layer


def _read(path: Path, label: str, problems: list[str]) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        problems.append(f"{label}: cannot be read. Save the file as UTF-8.")
    except OSError as error:
        problems.append(f"{label}: cannot be read: {error.strerror}.")
    return None


def _hint(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else " `qwen-gateway settings` lists all."


def _checked(given: Mapping[str, _Given], cwd: Path, problems: list[str]) -> Settings | None:
    try:
        return Settings.model_validate({name: entry.value for name, entry in given.items()}, context={"cwd": cwd})
    except ValidationError as error:
        said: set[str] = set()
        for detail in error.errors(include_url=False, include_context=False, include_input=False):
            name = str(detail["loc"][0])
            if name not in said:  # an union has an error for each of its members; the first will do
                problems.append(_problem(name, given[name], detail["msg"]))
            said.add(name)
    return None


# Pydantic's words → those of somebody who does not program.
_PLAINER = {
    "Value error, ": "",
    "Input should": "should",
    "String should": "should",
    "a valid boolean": "true or false",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "a text",
    "a valid tuple": "a list",
    "a valid dictionary": "a table",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    ", unable to parse string as an integer": "",
    ", unable to parse string as a number": "",
    ", unable to interpret input": "",
}


def _problem(name: str, entry: _Given, message: str) -> str:
    meaning = message
    for theirs, ours in _PLAINER.items():
        meaning = meaning.replace(theirs, ours)
    quotable = name not in _UNQUOTED and isinstance(entry.value, str | int | float) and len(str(entry.value)) <= 40
    value = f"; it is {entry.value!r}" if quotable else ""
    return f"{name} ({entry.origin}): {meaning}{value}."
