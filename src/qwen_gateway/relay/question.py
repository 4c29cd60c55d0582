"""What a turn puts to the site: the conversation, or what is new of it, in one message that is not too long."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import structs

from qwen_gateway.history.pack import Packed
from qwen_gateway.relay.ladder import Ladder
from qwen_gateway.relay.path import Path
from qwen_gateway.relay.turn_files import document_part
from qwen_gateway.relay.wanted import Wanted
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.turn.contracts import Question, Upstream
from qwen_gateway.turn.faults import ContextTooLong, InvalidRequest
from qwen_gateway.turn.files import FilePart

LONGEST_TOKEN = 16
"""Bytes. Texts that a model is to read have 6 in each token at most: the longest words of scripts with three."""
SLICE = 50_000
"""Characters that are counted at once."""
EMPTY = 2
"""Bytes of a text without words, as JSON."""


class Questions:
    """Makes the question of one turn. count: tokens of a text. check: raises InvalidRequest for files that one question
    cannot hold.

    hint: a note to the model, for another try. nonce: with which it is told of tools in the question made last.
    attached: the files of that one, in the order in which its text counts them.
    """

    def __init__(
        self,
        site: Upstream,
        path: Path,
        wanted: Wanted,
        record: TurnRecord,
        count: Callable[[str], int],
        check: Callable[[Sequence[FilePart]], None],
    ) -> None:
        self._site, self._path, self._wanted, self._record, self._count = site, path, wanted, record, count
        self._check = check
        self.hint = ""
        self.nonce = ""
        self.attached: tuple[FilePart, ...] = ()

    def make(self, *, whole: bool) -> Question:
        """The question in the path's present way, or with the whole conversation. Raises InvalidRequest, among them
        ContextTooLong."""
        path = self._path
        packed = path.whole() if whole else path.packed()
        if not packed.text.strip():
            raise InvalidRequest("`messages` hold no text.", param="messages")
        self._check_files(packed.files)  # each takes room as well, so that too many would be told as too long
        try:
            question = self._encoded(packed)
        except ContextTooLong as fault:
            packed, question = self._smaller(packed, fault, whole=whole)
        self.nonce, self.attached = packed.nonce, _attached(packed)
        record = self._record
        record.shortened, record.files = packed.compacted, len(self.attached)
        record.offloaded = packed.document is not None
        record.listed_short = whole and self._wanted.tools.left_out
        return question

    def _check_files(self, files: Sequence[FilePart]) -> None:
        """Raises InvalidRequest for files that one question cannot hold, also where they leave no room for a text."""
        self._check(files)
        for number, part in enumerate(files):
            if self._site.room(number + 1) <= EMPTY:
                raise InvalidRequest(
                    f"`{part.param}`: one question can hold {number} files at most, since each takes room of it "
                    "(`max_prompt_bytes`). Send fewer, or begin a new conversation.",
                    code="too_many_files",
                    param=part.param,
                )

    def _smaller(self, packed: Packed, fault: ContextTooLong, *, whole: bool) -> tuple[Packed, Question]:
        ladder = Ladder(self._site, self._path, self._check, len(msgspec.json.encode(self._hinted(""))))
        for found in ladder.whole(packed) if whole else ladder.onward(packed):
            try:
                return found, self._encoded(found)
            except ContextTooLong as still:
                fault = still
        raise fault

    def _encoded(self, packed: Packed) -> Question:
        wanted, said = self._wanted, self._hinted(packed.said) + self._attached_words(packed)
        window = wanted.model.context_window
        if window is not None and (tokens := self._tokens_beyond(window, said)):
            raise ContextTooLong(
                f"The conversation has {tokens} tokens, and {wanted.model.id} takes {window:,}. Shorten "
                "the history, or start a new chat.",
                param="messages",
            )
        prompt = structs.replace(wanted.prompt, text=self._hinted(packed.text))
        return self._site.question(prompt, len(packed.files) + (packed.document is not None))

    def _tokens_beyond(self, window: int, said: str) -> str:
        """How many it has, in words, when they are more than the window; empty when they are not. Counting takes time
        in which nothing else happens, so no more is counted than it takes to know."""
        size = len(said.encode())
        if size <= window:  # a token has a byte at least
            return ""
        if size > window * LONGEST_TOKEN:
            return f"at least {size // LONGEST_TOKEN:,}"
        tokens = 0
        for end in range(SLICE, len(said) + SLICE, SLICE):
            tokens += self._count(said[end - SLICE : end])
            if tokens > window:
                return f"about {tokens * len(said) // min(end, len(said)):,}"
        return ""

    def _attached_words(self, packed: Packed) -> str:
        """Of texts that are attached only since there was no room for them: the model reads them all the same."""
        there = {part.identity for part in packed.files}
        return "".join(one.file.text or "" for one in self._path.inlined() if one.file.identity in there)

    def _hinted(self, text: str) -> str:
        return f"{text}\n\n{self.hint}" if self.hint else text


def _attached(packed: Packed) -> tuple[FilePart, ...]:
    """The document of the oldest entries comes last: the text counts the others from 1."""
    return packed.files if packed.document is None else (*packed.files, document_part(packed.document))
