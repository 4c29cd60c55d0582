"""A pasted command → its words, as the shell that it was written for would cut them. Nothing is ever executed or
expanded: `$(…)`, `%NAME%` and backticks are plain characters here.

Both readers stop where the first command ends. They raise ValueError for a quotation mark that is never closed.
"""

from collections.abc import Iterator

_ENDS = frozenset(";&|<>\n\r")
_SIMPLE = {
    "n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip
_HEX = {"x": 2, "u": 4, "U": 8}
_OCTAL = "01234567"


def is_for_windows(text: str) -> bool:
    """Whether a command was written for cmd.exe: browsers quote for it by `^"` and end lines by `^`, and for other
    shells by `'` (Chrome and Firefox, as of 2025)."""
    first = min((at for at in (text.find("'"), text.find('"')) if at >= 0), default=0)
    if text[first : first + 1] == "'":
        return False
    return text[first - 1 : first] == "^" or " ^\n" in text or " ^\r\n" in text


# -- bash and its kin


def posix_words(text: str) -> list[str]:
    words: list[str] = []
    word: list[str] | None = None
    at = 0
    while at < len(text) and text[at] not in _ENDS:
        if text[at] in " \t":
            if word is not None:
                words.append("".join(word))
            word, at = None, at + 1
            continue
        piece, at = _piece(text, at)
        if piece is not None:
            word = _joined(word, piece)
    return words if word is None else [*words, "".join(word)]


def _joined(word: list[str] | None, piece: str) -> list[str]:
    if word is None:
        return [piece]
    word.append(piece)
    return word


def _piece(text: str, at: int) -> tuple[str | None, int]:
    """What begins at `at`, without its quotes, and where it ends. `None`: a line that goes on."""
    sign = text[at]
    if sign == "\\":
        for line_end in ("\r\n", "\n"):
            if text.startswith(line_end, at + 1):
                return None, at + 1 + len(line_end)
        return text[at + 1 : at + 2], at + 2
    if sign == "'":
        end = text.index("'", at + 1)
        return text[at + 1 : end], end + 1
    if sign == '"':
        return _double_quoted(text, at + 1)
    if text.startswith("$'", at):
        return _ansi_quoted(text, at + 2)
    return sign, at + 1


def _double_quoted(text: str, at: int) -> tuple[str, int]:
    out: list[str] = []
    while text[at : at + 1] != '"':
        if at >= len(text):
            raise ValueError("open quote")
        if text[at] == "\\" and text[at + 1 : at + 2] in ("\\", '"', "$", "`", "\n"):
            out.append(text[at + 1].strip("\n"))
            at += 2
        else:
            out.append(text[at])
            at += 1
    return "".join(out), at + 1


def _ansi_quoted(text: str, at: int) -> tuple[str, int]:
    """`$'…'`, in which Chrome writes an exclamation mark as `\\u0021` and Firefox as `\\041`."""
    out: list[str] = []
    while text[at : at + 1] != "'":
        if at >= len(text):
            raise ValueError("open quote")
        if text[at] == "\\":
            sign, at = _escaped(text, at + 1)
            out.append(sign)
        else:
            out.append(text[at])
            at += 1
    return "".join(out), at + 1


def _escaped(text: str, at: int) -> tuple[str, int]:
    sign = text[at : at + 1]
    if sign in _SIMPLE:
        return _SIMPLE[sign], at + 1
    if sign and sign in _OCTAL:
        digits = _digits(text[at : at + 3], _OCTAL)
        return chr(int(digits, 8)), at + len(digits)
    digits = _digits(text[at + 1 : at + 1 + _HEX.get(sign, 0)], "0123456789abcdefABCDEF")
    if not digits:
        return "\\" + sign, at + 1
    code = int(digits, 16)
    return chr(code) if code < 0x110000 else "\ufffd", at + 1 + len(digits)


def _digits(text: str, allowed: str) -> str:
    return text[: len(text) - len(text.lstrip(allowed))]


# -- cmd.exe


def windows_words(text: str) -> list[str]:
    """Two shells have their turn: cmd.exe takes the carets away, and the program cuts its own line into words."""
    words: list[str] = []
    word: list[str] | None = None
    quoted = False
    for sign, literal in _marks("".join(_without_carets(text))):
        if sign == '"' and not literal:
            quoted, word = not quoted, [] if word is None else word
        elif not quoted and sign in _ENDS:
            break
        elif not quoted and sign in " \t":
            if word is not None:
                words.append("".join(word))
            word = None
        else:
            word = _joined(word, sign)
    if quoted:
        raise ValueError("open quote")
    return words if word is None else [*words, "".join(word)]


def _without_carets(text: str) -> Iterator[str]:
    """A caret makes the next character an ordinary one; before a line end it joins the lines, and the character after
    is ordinary. So two line ends after a caret are one. Carets count within plain quotes as well: Chrome wrote them
    there before 2024, against the rules of cmd.exe."""
    at = 0
    while (caret := text.find("^", at)) >= 0:
        yield text[at:caret]
        at = _after_line_end(text, caret + 1)
        end = max(_after_line_end(text, at), at + 1)
        yield text[at:end].replace("\r\n", "\n")
        at = end
    yield text[at:]


def _after_line_end(text: str, at: int) -> int:
    return at + 2 if text.startswith("\r\n", at) else at + 1 if text.startswith("\n", at) else at


def _marks(line: str) -> Iterator[tuple[str, bool]]:
    """Each character, and whether a backslash made it an ordinary one. Browsers write each backslash twice."""
    at = 0
    while at < len(line):
        literal = line[at] == "\\" and line[at + 1 : at + 2] in ("\\", '"')
        at += literal
        yield line[at], literal
        at += 1
