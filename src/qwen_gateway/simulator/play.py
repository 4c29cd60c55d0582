"""One answer being played: its frames, its pace, and what of it has been stored.

Here: sending frames in order, remembering what was said, and the plain course of an answer. Not here: the
frames themselves (`scenes`) and the ways in which an answer goes wrong (`faults`).
"""

import time
from collections import deque
from collections.abc import Callable

from .ask import Ask
from .frames import Created, Delta, Frame, Ids, spell
from .rounds import Picture
from .scenes import scene
from .tree import Chat, Node
from .turns import Turn
from .wire import Wire


class Play:
    """An answer in progress."""

    def __init__(self, wire: Wire, turn: Turn, ask: Ask, chat: Chat, ids: Ids, stored_after: float = 0) -> None:
        """`stored_after`: seconds after the end of the stream until the chat shows the question and its answer."""
        self.wire = wire
        self.turn = turn
        self.ask = ask
        self.ids = ids
        self.frames: deque[Frame] = deque()
        self.finished = False
        self._chat = chat
        self._stored_after = stored_after
        self._answer: Node | None = None

    def load(self, turn: Turn, pictures: list[Picture]) -> None:
        """Lays out the frames of a turn; faults of content lay out another one than was programmed."""
        self.frames = deque(scene(self.ask, turn, self.ids, pictures))

    def deltas(self, change: Callable[[Delta], Delta]) -> None:
        """Changes every piece of the answer before it is sent."""
        self.frames = deque(change(frame) if isinstance(frame, Delta) else frame for frame in self.frames)

    async def send(self, frame: Frame) -> None:
        """Sends a frame that is not among the laid out ones, stores what it says, keeps the programmed pace."""
        await self.wire.write(spell(frame))
        self.store(frame)
        await self.wire.pause(self.turn.delay_ms / 1000)

    async def send_next(self) -> None:
        """Sends the next frame; one that a lost connection swallows stays, for `close` to find it."""
        await self.wire.write(spell(self.frames[0]))
        self.store(self.frames.popleft())
        await self.wire.pause(self.turn.delay_ms / 1000)

    def store(self, frame: Frame) -> None:
        """The chat's new nodes come with the first frame, their text with the others."""
        if isinstance(frame, Created):
            self._answer = self._chat.begin(self.ask.node(), self.ids, hidden=self._stored_after > 0)
        elif isinstance(frame, Delta) and self._answer is not None:
            self._answer.content += frame.text

    async def lead(self, default: int) -> None:
        """Sends the answer up to where the turn wants its fault: so many content frames."""
        wanted = default if self.turn.after_chunks is None else self.turn.after_chunks
        while self.frames:
            frame = self.frames[0]
            if isinstance(frame, Delta):
                if frame.tail or wanted == 0:
                    return
                wanted -= 1
            await self.send_next()

    async def rest(self) -> None:
        """Sends what is left and ends as the site does: by closing, without a `[DONE]`."""
        while self.frames:
            await self.send_next()
        await self.done()

    def spelled(self) -> bytes:
        """All that is left, as bytes; counts as said."""
        for frame in self.frames:
            self.store(frame)
        data = b"".join(spell(frame) for frame in self.frames)
        self.frames.clear()
        return data

    async def done(self) -> None:
        """The end of an answer that a fault has sent by itself."""
        await self.wire.end()
        self.finished = True

    def seconds(self, default: float) -> float:
        """How long a waiting fault waits; tests shorten it."""
        return default if self.turn.seconds is None else self.turn.seconds

    def close(self, failed: bool) -> None:
        """Settles the stored answer: it is as long as what was said."""
        if self._answer is None:
            return
        self._answer.error = "interrupted" if failed else None
        self._answer.done = True
        self._chat.show(self._answer, time.time() + self._stored_after)

    def leave(self, seconds: float) -> None:
        """The site never learns that a client just left: it says all, which takes so long."""
        unsaid = "".join(frame.text for frame in self.frames if isinstance(frame, Delta))
        self._chat.leave(self._answer, unsaid, seconds)
