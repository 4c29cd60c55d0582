"""What is wrong with a request, in our form of errors: which field, and why, but never what was in it."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from qwen_gateway.turn.faults import InvalidRequest

MOST_NAMED = 5
_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "json_invalid": "invalid_json",
}


class Body(BaseModel):
    """What a request's body may be: these fields, of these types, and no others. Its errors repeat no input, which may
    be a secret."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False)


class Shown(BaseModel):
    """What an answer is made of: built from the relay's views, field by field."""

    model_config = ConfigDict(from_attributes=True, hide_input_in_errors=True)


class Wrong(Shown):
    message: str
    type: str
    param: str | None
    code: str


class Refused(Shown):
    error: Wrong


def fault_of(errors: Sequence[Any]) -> InvalidRequest:
    """errors: as pydantic lists them."""
    first = errors[0]
    kind = first["type"]
    if kind == "json_invalid":
        return InvalidRequest(f"The body is not JSON: {first['ctx']['error']}.", code="invalid_json")
    same = [_param(error["loc"]) for error in errors if error["type"] == kind]
    names = ", ".join(f"`{name}`" for name in same[:MOST_NAMED])
    if kind == "extra_forbidden":
        text = f"Unknown: {names}."
    elif kind == "missing":
        text = f"Missing: {names}." if same[0] else "The request wants a body, a JSON object."
    else:
        text = f"`{same[0]}`: {first['msg']}." if same[0] else "The body must be a JSON object."
    return InvalidRequest(text, param=same[0] or None, code=_CODES.get(kind, ""))


def _param(place: Sequence[str | int]) -> str:
    """`("body", "models", 0)` → `models[0]`. Names that the client made up may be anything, so they are cut."""
    name = ""
    for part in place[1:]:
        name += f"[{part}]" if isinstance(part, int) else f"{'.' if name else ''}{part[:60]}"
    return name
