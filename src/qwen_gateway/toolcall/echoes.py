"""Whether a call stands in the client's texts, when only its name and its arguments are known.

A call in the text is looked for as the model wrote it. Of a native one the site shows name and arguments, and around
them can have been any of the known forms.
"""

import re
from collections.abc import Iterator
from typing import Any

from qwen_gateway.toolcall.coercion import dumped, parsed
from qwen_gateway.toolcall.draft import Quoted, squeezed

ALONE = 64
"""Characters of squeezed arguments from which no name is needed. Shorter ones stand in texts by chance, or because the
user asks for the call: `{"path": "src"}`, `call get_weather with {"city": "Paris"}`."""

_HALF_ESCAPE = re.compile(r"(?:\\+(?:u[0-9a-fA-F]{0,3})?|&#?\w{0,10})\Z")
_BEFORE = (",arguments:", ",parameters:", ",input:", "✿ARGS✿:")


def is_quoted(name: str, arguments: str, quoted: Quoted) -> bool:
    """arguments: JSON text, or the beginning of one; nothing is `{}`."""
    said = squeezed(_HALF_ESCAPE.sub("", arguments)) or "{}"
    return (len(said) >= ALONE and quoted(said)) or any(map(quoted, _written(squeezed(name), said, arguments)))


def _written(name: str, said: str, arguments: str) -> Iterator[str]:
    """The forms in which a call may have been written, squeezed."""
    yield from (f":{name}{before}{said}" for before in _BEFORE)
    yield f"{said},name:{name}"
    values = _values(arguments)
    parameters = "".join(f"<parameter={key}>{_plain(value)}</parameter>" for key, value in (values or {}).items())
    # Of a beginning it cannot be told in which order more follows.
    yield squeezed(f"<function={name}>{parameters}" + ("" if values is None else "</function>"))


def _values(arguments: str) -> dict[str, Any] | None:
    try:
        values = parsed(arguments)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else dumped(value)
