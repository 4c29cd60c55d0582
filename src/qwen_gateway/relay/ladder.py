"""What is too long for one message, ever smaller.

goes on:   texts of files are attached, rather than said in the message
told anew: old results are shortened ─► texts are attached ─► both ─► the oldest entries are a document ─► and texts
                                                                                               of the last message
"""

from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from qwen_gateway.history.inlined import Inlined
from qwen_gateway.history.pack import Packed
from qwen_gateway.relay.path import Path
from qwen_gateway.turn.contracts import Upstream
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import FilePart


class Ladder:
    """The steps of one question. check: raises InvalidRequest for files that one question cannot hold. beside: bytes as
    JSON of what stands behind the text."""

    def __init__(self, site: Upstream, path: Path, check: Callable[[Sequence[FilePart]], None], beside: int) -> None:
        self._site, self._path, self._check, self._beside = site, path, check, beside

    def onward(self, packed: Packed) -> Iterator[Packed]:
        """packed: what is new, as it is too long."""
        for attached in self._enough(packed, self._path.inlined(whole=False)):
            yield self._path.attached(attached)

    def whole(self, packed: Packed) -> Iterator[Packed]:
        """packed: the whole conversation, as it is too long."""
        path = self._path
        if (shorter := path.shortened()) is not None:
            yield shorter
        texts = path.inlined()
        for attached in self._enough(packed, texts):
            yield path.whole_attached(attached)
        for attached in self._enough(shorter, texts) if shorter is not None else ():
            if (both := path.shortened(attached)) is not None:
                yield both
        if (outside := self._offloaded(packed)) is not None:
            yield outside

    def _enough(self, base: Packed, texts: Sequence[Inlined]) -> Iterator[Collection[str]]:
        """Which texts to attach: the largest ones, from as many as may be enough on. base: where none is attached, or
        those of an earlier question."""
        size, files = len(msgspec.json.encode(base.text)) + self._beside, list(base.files)
        there = {file.identity for file in files}
        attached = {one.file.identity for one in texts} & there
        for one in texts:
            if one.file.identity in there:
                continue
            files.append(one.file)
            if not self._is_possible(files):
                return
            attached.add(one.file.identity)
            size -= one.size
            if size <= self._site.room(len(files)):
                yield frozenset(attached)

    def _offloaded(self, packed: Packed) -> Packed | None:
        """All but the last message can be in the document, so it is the texts of that one that may be too many."""
        texts = self._path.inlined(last=True)
        said = {one.file.identity for one in texts}
        files = [file for file in packed.files if file.identity not in said]
        left, attached = sum(one.size for one in texts), set[str]()
        for one in (None, *texts):
            if one is not None:
                files.append(one.file)
                if not self._is_possible(files):
                    return None
                attached.add(one.file.identity)
                left -= one.size
            room = self._site.room(len(files) + 1) - self._beside
            if left <= room and (found := self._path.offloaded(room, attached)) is not None:
                return found
        return None

    def _is_possible(self, files: Sequence[FilePart]) -> bool:
        """So many files."""
        try:
            self._check(files)
        except InvalidRequest:
            return False
        return True
