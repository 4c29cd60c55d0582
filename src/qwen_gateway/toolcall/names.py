"""Which tool a model means by the name that it wrote, and whether a client's names can be used at all.

Exact, or alike but for case, or alike but for `-`, `_` and `.`: each only when one tool is meant. Nothing else is
guessed, since a guess would run another tool than the model asked for.
"""

import re
from collections.abc import Callable, Iterable, Sequence

_SQUEEZED = str.maketrans("", "", "-_.")
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class Names:
    """The names of one request's tools."""

    def __init__(self, names: Iterable[str]) -> None:
        self.all = tuple(names)
        self._exact = frozenset(self.all)
        self._folded = _unique(self.all, str.lower)
        self._squeezed = _unique(self.all, _squeeze)

    def resolve(self, name: str) -> str | None:
        """The tool's own name. `None`: no tool, or more than one, could be meant."""
        if name in self._exact:
            return name
        if (folded := name.lower()) in self._folded:
            return self._folded[folded]
        return self._squeezed.get(_squeeze(name))


def refuse(names: Sequence[str]) -> None:
    """Raises ValueError that begins with the place, such as `tools[2].name: …`, when these cannot be tools' names."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"tools[{index}].name: must have 1 to 128 letters, digits and _ . : - only, not {name[:40]!r}"
            )
        if name in seen:
            raise ValueError(f"tools[{index}].name: duplicate tool name {name!r}, also that of tools[{seen[name]}]")
        seen[name] = index


def _squeeze(name: str) -> str:
    return name.lower().translate(_SQUEEZED)


def _unique(names: Iterable[str], like: Callable[[str], str]) -> dict[str, str | None]:
    """What names look like → the one name that looks so. `None` where several do."""
    found: dict[str, str | None] = {}
    for name in dict.fromkeys(names):
        key = like(name)
        found[key] = None if key in found else name
    return found
