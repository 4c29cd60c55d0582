"""Markers around calls: ours with the nonce of the conversation, ours without, and those that models were trained on.

Markers are met with blanks, other cases and other brackets than taught (full-width ones, `_` for a blank), so they are
read with some tolerance; names and arguments never come from a marker's decoration.
"""

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from qwen_gateway.toolcall.ahead import More

Kind = Literal["open", "close", "result"]
Family = Literal["bracket", "native", "function", "invoke", "flower"]

CANDIDATES = "[［【<✿-"
"""What a marker can begin with."""
LONGEST = 64
"""Characters of the beginning of a marker, at most, and some more."""


class Marker(Struct, frozen=True):
    """level: 3 with our nonce, 2 without. end: the place behind it, or for a family whose first word is the call's own
    (`function`, `invoke`, `flower`) its beginning."""

    kind: Kind
    family: Family
    level: Literal[2, 3]
    end: int


class _Form:
    """One way to write a marker: pieces of a pattern one after the other, so that a beginning of it is known as one."""

    def __init__(self, kind: Kind, family: Family, pieces: Sequence[str], *, ours: bool = False) -> None:
        self.kind = kind
        self.family = family
        self.ours = ours
        self._whole = re.compile("".join(pieces), re.IGNORECASE)
        self._growing = re.compile("(?:".join(pieces) + ")?" * (len(pieces) - 1) + r"\r?\Z", re.IGNORECASE)
        self.has_nonce = "nonce" in self._whole.groupindex

    def match(self, text: str, at: int) -> re.Match[str] | None:
        return self._whole.match(text, at)

    def may_grow(self, text: str, at: int) -> bool:
        return bool(self._growing.match(text, at))


_OPEN, _CLOSE = r"[\[［【]", r"[\]］】]"
_BLANKS = " \t\u00a0\u3000"
_GAP, _PAD = f"[{_BLANKS}_-]{{0,2}}", f"[{_BLANKS}]{{0,2}}"
_NONCE = [f"[{_BLANKS}:#_-]{{0,3}}", "(?P<nonce>[A-Za-z0-9]{0,12})", _PAD]
# Brackets may be escaped as in Markdown, and a marker of ours may lack its last one.
_END = [r"\\?", rf"(?P<end>{_CLOSE}|(?=\r?\n))"]
_HALF_OPENING = re.compile(
    rf"{_OPEN}{_PAD}TOOL{_GAP}CALLS?[{_BLANKS}:#_-]{{1,3}}([A-Za-z0-9]{{1,12}}){_PAD}\\?", re.IGNORECASE
)


_SURE = 4
"""Characters from which the beginning of a marker is taken for one: `[TO`, `---` and `<a` are too common."""


def _words(*words: str) -> list[str]:
    """Words letter by letter, with blanks, `_` or `-` between them, or nothing."""
    pieces: list[str] = []
    for word in words:
        pieces += [_GAP, *word] if pieces else [*word]
    return pieces


_TOOL_CALL = [*_words("TOOL", "CALL"), "S?"]
_FORMS = (
    _Form("open", "bracket", [_OPEN, _PAD, *_TOOL_CALL, *_NONCE, *_END]),
    _Form("close", "bracket", [_OPEN, _PAD, *_words("END"), _GAP, *_TOOL_CALL, *_NONCE, *_END]),
    _Form("close", "bracket", [_OPEN, _PAD, "/", _PAD, *_TOOL_CALL, *_NONCE, *_END]),
    _Form("result", "bracket", [_OPEN, _PAD, *_words("TOOL", "RESULT"), "S?", *_NONCE, *_END]),
    _Form("open", "native", ["<", r"\|?", *_TOOL_CALL, r"\|?", ">"]),
    _Form("open", "native", ["<", *_words("FUNCTION", "CALLS"), ">"]),
    _Form("open", "function", ["<", *"function", "="]),
    _Form("open", "invoke", ["<", *"invoke", " {1,3}", *"name", "="]),
    _Form("open", "flower", ["✿", *"function", "✿"]),
    _Form("close", "native", ["<", r"\|?", "/", r"\|?", *_TOOL_CALL, r"\|?", ">"]),
    _Form("close", "native", ["<", "/", *"function", ">"]),
    _Form("close", "native", ["<", "/", *_words("FUNCTION", "CALLS"), ">"]),
    _Form("close", "native", ["<", "/", *"invoke", ">"]),
    _Form("result", "native", ["<", *_words("TOOL", "RESPONSE"), ">"]),
    _Form("result", "flower", ["✿", *"result", "✿"]),
    _Form("result", "flower", ["✿", *"return", "✿"]),
)
OWN_WORD = ("function", "invoke", "flower")
"""Families whose first word is the call's own."""
_BY_FIRST = {first: [form for form in _FORMS if form.may_grow(first, 0)] for first in CANDIDATES}


class Markers:
    """The markers of one conversation. Without a nonce none is surely ours."""

    def __init__(self, nonce: str) -> None:
        self._nonce = nonce.lower()
        self._forms = _BY_FIRST
        if nonce:
            pieces = ["-", "-", "-", " {1,2}", *map(re.escape, nonce), " "]
            self._forms = _BY_FIRST | {"-": [_Form("result", "bracket", pieces, ours=True)]}

    def at(self, text: str, at: int, *, final: bool, line_start: bool) -> Marker | None:
        """The marker that stands here. Only ours count within a line, and only at its start those of results.

        Raises More.
        """
        growing = False
        for form in self._forms.get(text[at], ()):
            if not line_start and (form.family != "bracket" or form.ours):
                continue
            match = form.match(text, at)
            if match is None or (match.end() == len(text) and not final and form.has_nonce):
                # The last bracket counts only if no `(` follows: `[tool calls](address)` is a link.
                growing = growing or form.may_grow(text, at) or match is not None
            elif marker := self._marker(form, match, text, line_start):
                return marker
        if growing and not final:
            raise More
        return None

    def _marker(self, form: _Form, match: re.Match[str], text: str, line_start: bool) -> Marker | None:
        level: Literal[2, 3] = 2
        if form.has_nonce:
            if text.startswith("(", match.end()):
                return None
            is_ours = bool(self._nonce) and match["nonce"].lower() == self._nonce
            level = 3 if is_ours else 2
            if not is_ours and (not match["end"] or not line_start):
                return None
        elif form.ours:
            level = 3
        if form.kind == "result" and not line_start:
            return None
        is_own_word = form.kind == "open" and form.family in OWN_WORD
        return Marker(form.kind, form.family, level, match.start() if is_own_word else match.end())

    def boundary(self, text: str, at: int, final: bool) -> int:
        """The level of a closing marker, or of an opening one of ours: a call ends here. An `ahead.Boundary`."""
        if text[at] not in CANDIDATES:
            return 0
        marker = self.at(text, at, final=final, line_start=True)
        if marker is None or (marker.kind == "open" and marker.level == 2 and marker.family != "flower"):
            return 0
        return marker.level

    def is_half_closing(self, text: str) -> bool:
        """Whether this, all that is left of the answer, is the beginning of a closing marker and of nothing else."""
        if len(text) < 2 or text[0] not in self._forms:
            return False
        kinds = {form.kind for form in self._forms[text[0]] if form.may_grow(text, 0)}
        return kinds == {"close"}

    def is_half_opening(self, text: str, *, line_start: bool, inline: bool = False) -> bool:
        """Whether this, all that is left of the answer, is an opening marker of ours without its end: with a beginning
        of the nonce, or at the start of a line what can become no other. inline: the native form is the one taught."""
        half = _HALF_OPENING.fullmatch(text)
        if half and self._nonce.startswith(half[1].lower()):
            return True
        growing = self._growing(text) if line_start else []
        families = {"bracket", "native"} if inline else {"bracket"}
        return bool(growing) and all(form.kind == "open" and form.family in families for form in growing)

    def may_begin(self, text: str, *, line_start: bool) -> bool:
        """Whether this, all that is left of an answer that was cut, may have become a marker of calls or results."""
        growing = [form for form in self._growing(text) if form.kind != "close"]
        return any(line_start or (form.family == "bracket" and form.kind == "open") for form in growing)

    def _growing(self, text: str) -> list[_Form]:
        """The forms of which this is a beginning and no more."""
        if len(text) < _SURE:
            return []
        return [form for form in self._forms[text[0]] if form.may_grow(text, 0) and not form.match(text, 0)]
