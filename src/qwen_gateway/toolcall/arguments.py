"""The JSON of one call, as a model writes it → the arguments, as valid JSON that is only ever appended to.

Reads `{"name": …, "arguments": {…}}` in any cuts, or, if the name is known already, the arguments alone. The bytes of
the model are passed on, never parsed and written anew: so what was given out stays the beginning of what will be. What
models get wrong is put right where there is only one way to read it; all else is broken. A guess would be run.

Which quotes end a string is in `quotes`. Sizes are in characters.
"""

import json
import re
from typing import Any

from qwen_gateway.toolcall.ahead import AHEAD, NEAR, Boundary, Broken, More, near, peek
from qwen_gateway.toolcall.pieces import ReaderState, SchemaOf
from qwen_gateway.toolcall.quotes import Container, Place, ends_key, ends_value

DEPTH = 64
"""Containers within one another."""
TOKEN = 1024
"""Length of a number, a word or a key without quotes."""

ARGUMENTS = frozenset({"arguments", "parameters", "args", "input"})
_BLANKS = re.compile(r"[ \t\n\r]*")
_CONTENT = re.compile(r'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*+')
_ESCAPE_GROWING = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_WORD = re.compile(r"[A-Za-z0-9_$.+-]+")
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS = {"true": "true", "false": "false", "null": "null", "True": "true", "False": "false", "None": "null"}
_CONTROLS = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_CLOSER = {"{": "}", "[": "]"}


class Arguments:
    """A `Reader` of one call. `schema_of` gives a tool's JSON Schema by the name as the model wrote it."""

    def __init__(self, schema_of: SchemaOf, boundary: Boundary, *, name: str | None = None) -> None:
        self.state: ReaderState = "open"
        self.why = ""
        self.name = name
        self.begun = True
        self.doubtful = False
        self.repairs: set[str] = set()
        self.rest = ""
        self._schema_of = schema_of
        self._boundary = boundary
        self._base = 0 if name is None else 1  # depth at which nothing more is expected
        self._stack: list[Container] = []
        self._expects = "value"
        self._key = ""
        self._repeated = False  # a key came twice within one object
        self._key_pieces: list[str] | None = None  # while in a key
        self._in_string = False
        self._inner = 0  # quotes within this string that ended nothing
        self._pieces: list[str] = []  # of the arguments
        self._length = 0
        self._streams = name is not None
        self._frozen: tuple[int, int] | None = None  # pieces and length before the first doubt
        self._taken = 0
        self._encoded: list[str] = []  # arguments that came as a string
        self._name: list[str] = []
        self._sink: list[str] | None = None
        self._text, self._at, self._final, self._tail = "", 0, False, ""
        if name is not None:
            self._stack.append(Container("{", None))
            self._key = "arguments"

    @property
    def ready(self) -> int:
        """Length of the arguments that are certain, if the name came before them."""
        if not self._streams:
            return 0
        return self._length if self._frozen is None else self._frozen[1]

    def take(self, *, doubtful: bool = False) -> str:
        certain = doubtful or self._frozen is None
        end = len(self._pieces) if certain or self._frozen is None else self._frozen[0]
        piece = "".join(self._pieces[self._taken : end])
        self._taken = max(self._taken, end)
        return piece

    @property
    def arguments(self) -> str:
        return "".join(self._pieces)

    def feed(self, text: str) -> None:
        self._run(text)

    def finish(self) -> None:
        """The stream has ended: what waited for more is decided."""
        self._final = True
        self._run("")
        if self.state == "open":
            self.state, self.why = "cut", near("the answer ended within the call", self._tail)

    def _run(self, text: str) -> None:
        if self.state != "open":
            self.rest += text if self.state == "whole" else ""
            return
        self._text += text
        try:
            while self.state == "open":
                self._step()
        except More:
            self._tail = self._before(self._at)
            self._text, self._at = self._text[self._at :], 0
        except Broken as broken:
            self.state, self.why = "broken", near(str(broken), self._before(self._at + 1))

    def _before(self, at: int) -> str:
        """The last characters before this place."""
        return (self._tail + self._text[max(0, at - NEAR) : at])[-NEAR:]

    def _emit(self, piece: str) -> None:
        if self._key_pieces is not None:
            self._key_pieces.append(piece)
        if self._sink is None:
            return
        self._sink.append(piece)
        if self._sink is self._pieces:
            self._length += len(piece)

    def _step(self) -> None:
        if self._in_string:
            self._string()
            return
        blanks = _BLANKS.match(self._text, self._at)
        if blanks and blanks[0]:
            self._emit(blanks[0])
            self._at = blanks.end()
        if self._at == len(self._text):
            raise More
        char = self._text[self._at]
        match self._expects:
            case "first_key" | "first_item" if char == _CLOSER[self._stack[-1].opener]:
                self._close()
            case "first_key" | "key":
                self._begin_key(char)
            case "colon":
                self._colon()
            case "after":
                self._after(char)
            case _:
                self._value(char)

    # Strings.

    def _string(self) -> None:
        content = _CONTENT.match(self._text, self._at)
        if content and content[0]:
            self._emit(content[0])
            self._at = content.end()
        if self._at == len(self._text):
            raise More
        char = self._text[self._at]
        if char == '"':
            self._quote()
        elif char == "\\":
            if _ESCAPE_GROWING.match(self._text, self._at):
                raise More
            self._emit("\\\\")
            self.repairs.add("escape")
            self._at += 1
        else:
            self._emit(_CONTROLS.get(char) or f"\\u{ord(char):04x}")
            self.repairs.add("control")
            self._at += 1

    def _quote(self) -> None:
        if self._key_pieces is not None:
            if not ends_key(self._text, self._at):
                raise Broken("a key without a colon")
            self._at += 1
            self._end_key()
        elif self._ends_value():
            self._at += 1
            self._end_string()
        else:
            self._doubt()
            self._emit('\\"')
            self._inner += 1
            self._at += 1

    def _ends_value(self) -> bool:
        place = Place(
            self._text,
            self._at,
            list(self._stack),
            self._boundary,
            self._base,
            self.doubtful,
            self._inner,
            self._final,
        )
        return ends_value(place)

    def _doubt(self) -> None:
        """A quote that ends nothing: from here on the whole schema is asked, and nothing more is given out."""
        if self._sink is not self._pieces and self._sink is not self._encoded:
            raise Broken("a quote within the name")
        self.repairs.add("inner_quote")
        if not self.doubtful:
            self.doubtful = True
            self._frozen = (len(self._pieces), self._length)
            self._trust_keys()

    def _end_string(self) -> None:
        self._in_string = False
        if self._sink is self._name:
            self.name = json.loads(f'"{"".join(self._name)}"')
        elif self._sink is self._encoded:
            self._decode()
        else:
            self._emit('"')
        self._end_value()

    def _decode(self) -> None:
        """Arguments that came as a string of JSON, as OpenAI's API has them."""
        self.repairs.add("string_arguments")
        text = json.loads(f'"{"".join(self._encoded)}"')
        if not text.strip():
            self._pieces.append("{}")
            return
        inner = Arguments(lambda _: self._schema(), lambda *_: 0, name=self.name or "")
        inner.feed(text)
        inner.finish()
        if inner.state != "whole" or inner.rest.strip() or "string_arguments" in inner.repairs:
            raise Broken("arguments in a string that is no JSON object")
        self.repairs |= inner.repairs
        self.doubtful |= inner.doubtful
        self._pieces.append(inner.arguments)

    # Structure.

    def _value(self, char: str) -> None:
        in_envelope = len(self._stack) == 1
        if not self._stack and char != "{":
            raise Broken("no JSON object")
        if in_envelope:
            self._begin_field(char)
        if char in "{[":
            if len(self._stack) >= DEPTH:
                raise Broken("too many brackets within one another")
            self._stack.append(Container(char, self._inner_schema()))
            self._expects = "first_key" if char == "{" else "first_item"
        elif char == '"':
            self._in_string, self._inner = True, 0
            if self._sink is not self._name and self._sink is not self._encoded:
                self._emit(char)
            self._at += 1
            return
        else:
            self._word()
            return
        self._emit(char)
        self._at += 1

    def _begin_field(self, char: str) -> None:
        """A value of the envelope: the name, the arguments, or something that does not matter."""
        if self._key == "name":
            if char != '"':
                raise Broken("a name that is no string")
            self._sink = self._name
        elif self._key in ARGUMENTS:
            self._streams = self.name is not None
            if char not in '{"nN':
                raise Broken("arguments that are no JSON object")
            self._sink = self._pieces if char == "{" else self._encoded if char == '"' else None

    def _inner_schema(self) -> Any:
        depth = len(self._stack)
        if depth <= 1:
            return self._schema() if depth and self._key in ARGUMENTS else None
        return self._stack[-1].inner(self._key)

    def _schema(self) -> Any:
        return None if self.name is None else self._schema_of(self.name)

    def _word(self) -> None:
        word = _WORD.match(self._text, self._at)
        if not word:
            raise Broken("a character that no value begins with")
        if word.end() - self._at > TOKEN:
            raise Broken("too long a number")
        if word.end() == len(self._text):
            raise More
        literal = _LITERALS.get(word[0])
        if literal is None and not _NUMBER.fullmatch(word[0]):
            raise Broken("a word that is no value")
        if len(self._stack) == 1 and self._key in ARGUMENTS:
            self._pieces.append("{}")  # null: `_begin_field` has let nothing else pass
        if literal and literal != word[0]:
            self.repairs.add("literal")
        self._emit(literal or word[0])
        self._at = word.end()
        self._end_value()

    def _end_value(self) -> None:
        if len(self._stack) == 1:
            self._sink = None
        if len(self._stack) == self._base:
            self._whole()
        self._expects = "after"

    def _whole(self) -> None:
        if self.name is None:
            self.state, self.why = "broken", near("a call without a name", self._before(self._at))
            return
        if not self._pieces:
            self._pieces.append("{}")
        self.state, self.rest = "whole", self._text[self._at :]

    def _after(self, char: str) -> None:
        top = self._stack[-1]
        if char == _CLOSER[top.opener]:
            self._close()
        elif char == ",":
            following, _ = peek(self._text, self._at + 1)
            if following == _CLOSER[top.opener]:
                self.repairs.add("trailing_comma")
            else:
                self._emit(char)
                self._expects = "key" if top.opener == "{" else "value"
            self._at += 1
        elif self._boundary(self._text, self._at, self._final):
            self.repairs.add("missing_close")
            while len(self._stack) > self._base:
                self._emit(_CLOSER[self._stack.pop().opener])
                if len(self._stack) == 1:
                    self._sink = None
            self._whole()
        else:
            raise Broken("a value that neither a comma nor a bracket follows")

    def _close(self) -> None:
        self._emit(_CLOSER[self._stack.pop().opener])
        self._at += 1
        self._end_value()

    def _colon(self) -> None:
        """One stands here: a key ends only where one follows."""
        self._emit(":")
        self._expects = "value"
        self._at += 1

    # Keys.

    def _begin_key(self, char: str) -> None:
        if char == '"':
            self._emit(char)
            self._key_pieces = []
            self._in_string = True
            self._at += 1
            return
        word = _IDENTIFIER.match(self._text, self._at)
        if not word or word.end() - self._at > AHEAD:
            raise Broken("a character that no key begins with")
        following, _ = peek(self._text, word.end())
        if following != ":":
            raise Broken("a key without a colon")
        self.repairs.add("bare_key")
        self._emit(f'"{word[0]}"')
        self._at = word.end()
        self._know_key(word[0])

    def _end_key(self) -> None:
        key, self._key_pieces = "".join(self._key_pieces or ()), None
        self._emit('"')
        self._in_string = False
        self._know_key(json.loads(f'"{key}"') if "\\" in key else key)

    def _know_key(self, key: str) -> None:
        self._key = key
        self._expects = "colon"
        top = self._stack[-1]
        if len(self._stack) == 1 and key in ARGUMENTS:
            key = "arguments"
        self._repeated = self._repeated or key in top.seen
        if key in top.seen and len(self._stack) == 1 and key in ("name", "arguments"):
            raise Broken("a second name or second arguments")
        self._trust_keys()
        top.seen.add(key)

    def _trust_keys(self) -> None:
        """A key twice, and quotes that end nothing: one of the two may be text of a string that ended too early."""
        if self._repeated and self.doubtful:
            raise Broken("quotes within a string that are not escaped")
