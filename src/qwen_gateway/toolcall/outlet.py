"""What has come out of an answer so far: text first, then calls, each once and only so many."""

from qwen_gateway.toolcall.digest import call_key
from qwen_gateway.toolcall.pieces import Bad, CallArguments, CallBegan, CallEnded, Out, Stop, TextOut
from qwen_gateway.toolcall.visible import Visible

PIECE = 4096
"""Characters of a whole call's arguments in one piece, at most."""


class Outlet:
    """most: calls, good and bad. What ends the answer sets `done`.

    visible: the text in front of the calls; to be added to there.
    """

    def __init__(self, *, most: int) -> None:
        self.done = False
        self.visible = Visible()
        self.tries = 0
        """Calls that were read, good and bad."""
        self._most = most
        self._out: list[Out] = []
        self._index = 0  # of the next call
        self._known: set[tuple[str, bytes]] = set()

    def take(self) -> list[Out]:
        self._show()
        out, self._out = self._out, []
        return out

    def has_ended(self, name: str) -> bool:
        """Whether a call of this tool has come out: a further one may be the same again."""
        return any(name == known for known, _ in self._known)

    def begin(self, name: str) -> None:
        self.visible.cut()
        self._show()
        self._out.append(CallBegan(self._index, name))

    def send(self, piece: str) -> None:
        if piece:
            self._out.append(CallArguments(self._index, piece))

    def end(self, name: str, arguments: str) -> None:
        """Of a call whose arguments have all been sent."""
        self._known.add(call_key(name, arguments))
        self._out.append(CallEnded(self._index, arguments))
        self._index += 1
        self._tried()

    def call(self, name: str, arguments: str) -> None:
        """A whole call. One that was delivered already ends the answer: from here on the model repeats itself."""
        if call_key(name, arguments) in self._known:
            self.stop("duplicate")
            return
        self.begin(name)
        for start in range(0, len(arguments), PIECE):
            self.send(arguments[start : start + PIECE])
        self.end(name, arguments)

    def refuse(self, bad: Bad) -> None:
        """A call that can be read and must not be run."""
        self.note(bad)
        self._tried()

    def note(self, bad: Bad) -> None:
        self.visible.cut()
        self._show()
        self._out.append(bad)

    def stop(self, reason: str) -> None:
        self._show()
        self._out.append(Stop(reason))
        self.done = True

    def finish(self) -> None:
        """Nothing follows: text that was held back is text."""
        if not self.tries:
            self.visible.finish()

    def _show(self) -> None:
        if text := self.visible.take():
            self._out.append(TextOut(text))

    def _tried(self) -> None:
        self.tries += 1
        if self.tries >= self._most:
            self.stop("cap")
