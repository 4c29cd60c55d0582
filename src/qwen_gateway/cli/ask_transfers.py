"""How files are seen on their way: bars on a terminal, else one line for each. On standard error."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qwen_gateway.cli.visible import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from qwen_gateway.turn.files import FilePart


class Transfers(Protocol):
    """Bytes that are done, of all bytes: of an upload all are once the site has taken the file. A try that failed makes
    them fewer again."""

    def reading(self, path: Path, done: int, total: int) -> None:
        """May be called in another thread."""
        ...

    def uploading(self, part: "FilePart", done: int, total: int) -> None: ...
    def end(self) -> None: ...


def transfers() -> Transfers:
    if not sys.stderr.isatty():
        return Lines()
    from rich.console import Console

    return Bars(Console(stderr=True))


class Lines:
    """Says which files have been uploaded."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def reading(self, path: Path, done: int, total: int) -> None:
        """Takes moments."""

    def uploading(self, part: "FilePart", done: int, total: int) -> None:
        if done < total or part.param in self._said:
            return
        from rich.filesize import decimal

        self._said.add(part.param)
        print(f"Uploaded {visible(part.name)} ({decimal(total)}).", file=sys.stderr, flush=True)

    def end(self) -> None:
        pass


class Bars:
    """One for each file, gone at the end."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._progress: Progress | None = None
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def reading(self, path: Path, done: int, total: int) -> None:
        from qwen_gateway.app.asking import param_of

        self._show(("reading", param_of(path)), f"{'reading' if done < total else 'read'} {path.name}", done, total)

    def uploading(self, part: "FilePart", done: int, total: int) -> None:
        read = self._tasks.pop(("reading", part.param), None)
        if read is not None and self._progress is not None:
            self._progress.remove_task(read)  # its speed says nothing of this one's
        label = f"{'uploading' if done < total else 'uploaded'} {part.name}"
        self._show(("uploading", part.param), label, done, total)

    def end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks.clear()

    def _show(self, key: tuple[str, str], label: str, done: int, total: int) -> None:
        from rich.markup import escape

        progress, label = self._started(), escape(visible(label))
        if key not in self._tasks:
            self._tasks[key] = progress.add_task(label, total=total)
        progress.update(self._tasks[key], description=label, completed=done, total=total)

    def _started(self) -> "Progress":
        if self._progress is None:
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
            self._progress = Progress(
                *columns, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._progress.start()
        return self._progress
