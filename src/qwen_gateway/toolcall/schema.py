"""Arguments against the schema of their tool: what is put right, what is refused, and how much each level must satisfy.

The only module that knows the library which validates. It is handed schemas within bounds (`references.measure`) and
values of limited depth: a value nested 100 000 deep ends the process (jsonschema-rs 0.60.3, 2026-11-21).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import jsonschema_rs
from msgspec import Struct

from qwen_gateway.toolcall import references
from qwen_gateway.toolcall.coercion import coerced, dumped, parsed, pruned
from qwen_gateway.toolcall.names import Names
from qwen_gateway.toolcall.pieces import Level, Tool, Verdict

# A pattern that needs more steps than this on one value counts as not matching.
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000, size_limit=2_000_000)
_MOST_PROBLEMS = 50
_DRAFT_2020_12 = "https://json-schema.org/draft/2020-12/schema"


class Problem(Struct, frozen=True):
    """pointer: which value, as a JSON pointer; empty for the whole. keyword: of the schema, such as `required`."""

    pointer: str
    message: str
    keyword: str

    def __str__(self) -> str:
        return f"{self.pointer or '(whole value)'}: {self.message}"


class Schema:
    """A JSON Schema, ready to be used. Draft 2020-12 unless `$schema` names another one.

    Raises ValueError whose text begins with a JSON pointer to what is wrong in it, behind `where`.
    """

    def __init__(self, schema: dict[str, Any], where: str = "") -> None:
        self.raw = schema
        try:
            references.measure(schema)
            self._validator = _compiled(schema)
        except jsonschema_rs.ValidationError as refused:
            place = references.pointer(tuple(refused.instance_path))
            raise ValueError(f"{where}{place}: {_short(refused.message)}") from None
        except ValueError as refused:
            raise ValueError(f"{where}{refused}") from None

    def problems(self, value: Any, most: int = 5) -> list[Problem]:
        """What the schema has against `value`, at most `most`. `value` must come from `parsed`."""
        try:
            errors = self._validator.iter_errors(value)
        except UnicodeEncodeError:
            errors = self._validator.iter_errors(_encodable(value))
        found = []
        for error in errors:
            found.append(_problem(error))
            if len(found) == most:
                break
        return found

    def coerced(self, value: Any) -> Any:
        """`value` with types put right where only one thing can be meant, if that leaves fewer problems."""
        before = len(self.problems(value, _MOST_PROBLEMS))
        if not before:
            return value
        better = coerced(value, self.raw, self.raw)
        return better if len(self.problems(better, _MOST_PROBLEMS)) < before else value

    def pruned(self, value: Any) -> Any:
        """`value` without keys that `additionalProperties: false` forbids."""
        return pruned(value, self.raw, self.raw)


class Checks:
    """The check of one request's tools: `Checks(tools)(name, arguments, level)`, a `pieces.Check`.

    Raises ValueError, beginning with `tools[2].parameters/…`, when a schema cannot be used.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._names = Names(tool.name for tool in tools)
        self._tools = {tool.name: _Checked(tool, f"tools[{index}].parameters") for index, tool in enumerate(tools)}

    def __call__(self, name: str, arguments: str, level: Level) -> Verdict:
        known = self._names.resolve(name)
        if known is None:
            return Verdict(False, arguments, name, "unknown")
        return self._tools[known].verdict(arguments, level)


class _Checked:
    def __init__(self, tool: Tool, where: str) -> None:
        self._schema = Schema(tool.parameters, where)
        self._strict = tool.strict
        self._declared, self._patterns = _declared(tool.parameters)
        self._free = not self._declared and not self._patterns and _takes_any(tool.parameters)

    def verdict(self, arguments: str, level: Level) -> Verdict:
        try:
            given = parsed(arguments) if arguments.strip() else None
        except ValueError as why:
            return Verdict(False, arguments, str(why), "malformed")
        value = _as_object(given)
        if not isinstance(value, dict):
            return Verdict(False, arguments, "arguments must be one JSON object", "malformed")
        better = self._schema.coerced(value)
        if better is not given:
            arguments = dumped(better)
        against = self._against(better, level)
        return Verdict(False, arguments, against, "schema") if against else Verdict(True, arguments)

    def _against(self, value: dict[str, Any], level: Level) -> str:
        """Why a call at this level is not delivered. At level 3 what else is wrong is left to the client's program:
        it tells the model, which is a loop that works (the tools that are strict excepted)."""
        problems = self._schema.problems(value, _MOST_PROBLEMS)
        missing = [one for one in problems if one.keyword == "required" and not one.pointer]
        if missing or (self._strict and problems):
            return _told(missing or problems)
        if level == 3:
            return ""
        required = self._schema.raw.get("required")
        nulls = {f"/{key}" for key in required if value.get(key, 0) is None} if isinstance(required, list) else set()
        if null := [one for one in problems if one.pointer in nulls]:
            return _told(null)
        if level == 1 and (unknown := [key for key in value if not self._is_declared(key)]):
            return f"undeclared arguments: {', '.join(unknown)[:200]}"
        return ""

    def _is_declared(self, key: str) -> bool:
        return self._free or key in self._declared or self._patterns


def _compiled(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=_PATTERNS)
    except jsonschema_rs.ValidationError as refused:
        if "Unknown meta-schema" not in refused.message:
            raise
    # Some programs name a draft by an address of their own.
    return jsonschema_rs.validator_for(schema | {"$schema": _DRAFT_2020_12}, offline=True, pattern_options=_PATTERNS)


def _problem(error: jsonschema_rs.ValidationError) -> Problem:
    return Problem(references.pointer(tuple(error.instance_path)), _short(error.message), error.kind.name)


def _short(message: str) -> str:
    """Messages quote the value, which may be a whole file."""
    return message if len(message) <= 200 else f"{message[:110]} … {message[-80:]}"


def _told(problems: Iterable[Problem]) -> str:
    return "; ".join(map(str, list(problems)[:5]))


def _as_object(given: Any) -> Any:
    """Arguments that were left out are none; an object written as text is decoded once."""
    if given is None:
        return {}
    if not isinstance(given, str):
        return given
    try:
        return parsed(given) if given.strip() else {}
    except ValueError:
        return given


def _declared(root: dict[str, Any]) -> tuple[set[str], bool]:
    """All names that the schema knows on its first level, and whether it knows patterns of names."""
    names: set[str] = set()
    patterns = False
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        schema = waiting.pop()
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        if isinstance(properties := schema.get("properties"), dict):
            names.update(properties)
        patterns = patterns or bool(schema.get("patternProperties"))
        for key in ("allOf", "anyOf", "oneOf"):
            waiting += schema[key] if isinstance(schema.get(key), list) else []
        waiting += [schema.get(key) for key in ("if", "then", "else")]
        if isinstance(reference := schema.get("$ref"), str):
            waiting.append(references.target(root, reference))
    return names, patterns


def _takes_any(schema: dict[str, Any]) -> bool:
    """Whether a schema without any declared name means that names are the model's to choose."""
    rest = schema.get("additionalProperties")
    return isinstance(rest, dict) or rest is True or (rest is None and "properties" not in schema)


def _encodable(value: Any) -> Any:
    """Lone surrogates replaced: the library takes only text that can be encoded."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(one) for key, one in value.items()}
    return [_encodable(one) for one in value] if isinstance(value, list) else value
