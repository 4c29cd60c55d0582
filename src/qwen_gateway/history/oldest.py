"""The oldest entries of a conversation as a document, for one that is too long for a single message.

The document is uploaded and read by the site, which takes seconds and one of some twenty leaves that an account gets in
a while. So the next turns must find it unchanged: it ends where the entries, counted from the first, reach a multiple
of a step, and the next multiple is taken only when the rest does not fit any more. It says nothing that depends on what
comes after it, and nothing in it is shortened.

Measured with conversations that grow to 0.7 MB (the last two: 2 and 3 MB), each turn told anew, in 115,800 bytes
(2026-11-21):

    | what grows                                | turns with a document | documents | the same as the turn before |
    | answers of 0.3 to 4 KB                    | 254                   | 10        | 96 %                        |
    | results of tools, 0.5 to 6 KB             | 207                   | 11        | 95 %                        |
    | the same, behind a list of tools of 80 KB | 229                   | 48        | 79 %                        |
    | results of 2 to 20 KB                     | 231                   | 72        | 69 %                        |
    | results of 5 to 60 KB                     | 116                   | 64        | 45 %                        |

If old results that are not in the document were shortened, it would be 43 % instead of 69: the rest becomes smaller as
they grow old, and the end of the document goes back and forth.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec

from qwen_gateway.history.attached import Attached
from qwen_gateway.history.entries import Entry, entries
from qwen_gateway.history.marks import MARK, marked
from qwen_gateway.history.sections import (
    GO_ON,
    NO_WORDS,
    QUOTED,
    TITLE,
    Document,
    Packed,
    ToolWords,
    instructions_section,
    joined,
    section,
    sections,
    split,
)
from qwen_gateway.turn.request import Message

_DOCUMENT = f"""\
The oldest part of a conversation: entries 1 to %d. It goes on in the message to which this document is attached. \
The {QUOTED}

"""
_LEAD = f"""\
{TITLE} Its oldest part, entries 1 to %d, is in the attached document "%s": it comes first, and counts as much as what \
stands here. From entry %d on it follows here. The {QUOTED} {GO_ON}"""


def offloaded(messages: Sequence[Message], *, room: int, key: bytes, words: ToolWords | None = None) -> Packed | None:
    """As `pack.whole`, with the oldest entries in `Packed.document`: about as many as it takes. Instructions, tools and
    the last entry are never among them, and files that stand in them are attached like all others. `None` when that is
    not enough.

    room: bytes that the text may have as JSON. Nothing is shortened: what could be shortened can be in the document.
    """
    words, attached = words or NO_WORDS, Attached()
    instructions, rest = split(messages, attached)
    full = list(entries(rest, attached, shown=words.call))
    around = _Around(instructions, words, key)
    space = room - _size(around.text(0, ()))
    ends = _ends(full)
    for cut in _cuts(ends, space):
        if ends[-1] - ends[cut] <= space:
            text, nonce, document = around.marked(cut, full)
            if _size(text) <= room:
                return Packed(text, nonce=nonce, files=attached.files, document=document)
    return None


class _Around:
    """What stands around the entries."""

    def __init__(self, instructions: str, words: ToolWords, key: bytes) -> None:
        self._instructions, self._words, self._key = instructions, words, key

    def marked(self, cut: int, full: Sequence[Entry]) -> tuple[str, str, Document]:
        """The message, its nonce, and the document of `full[:cut]`."""
        oldest = _DOCUMENT % cut + sections(full[:cut], pending=False)
        text, nonce = marked(self.text(cut, full[cut:]), self._key, beside=oldest)
        return text, nonce, Document(_name(cut), marked(oldest, self._key)[0])

    def text(self, cut: int, kept: Sequence[Entry]) -> str:
        words = self._words
        lead = _LEAD % (cut, _name(cut), cut + 1)
        told = [instructions_section(self._instructions), words.lesson, lead, sections(kept, cut + 1)]
        return joined([*told, words.reminder, words.tail])


def _name(cut: int) -> str:
    return f"history-{cut}.txt"


def _cuts(ends: Sequence[int], space: int) -> Iterator[int]:
    """After how many entries the document may end, the best first: at multiples of a step, with steps that are ever
    smaller where entries are large. The last entry may be so large that nothing else has room beside it.

    ends: where each entry ends, behind a zero.
    """
    # A power of two stays the same where there is a little more or less space in the next turn.
    step = 1 << (max(space, 2) * 2 // 3).bit_length() - 1
    while step:
        yield from (cut for cut in range(1, len(ends) - 1) if ends[cut] // step > ends[cut - 1] // step)
        step //= 2


def _ends(told: Sequence[Entry]) -> list[int]:
    sizes = (_size(section(number, entry) + "\n") - len('""') for number, entry in enumerate(told, 1))
    return list(accumulate(sizes, initial=0))


def _size(text: str) -> int:
    """As JSON, with a nonce of the usual length."""
    return len(msgspec.json.encode(text.replace(MARK, "nonc")))
