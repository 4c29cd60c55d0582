"""What became of the calls that models tried to make: figures that decide in which format calls are taught."""

from collections.abc import Sequence

from msgspec import Struct


class CallCounts(Struct):
    """Of one turn, all its tries together."""

    ok: int = 0
    repaired: int = 0
    malformed: int = 0
    intercepted: int = 0
    unknown: int = 0
    runaway: int = 0
    retried: int = 0
    failed: int = 0

    def bad(self, kind: str) -> None:
        if kind in ("intercepted", "unknown"):
            setattr(self, kind, getattr(self, kind) + 1)
        else:
            self.malformed += 1

    def plus(self, others: Sequence["CallCounts"]) -> "CallCounts":
        return CallCounts(*(sum(getattr(one, name) for one in (self, *others)) for name in self.__struct_fields__))

    def told(self) -> str:
        """Those that are not zero, such as `ok=2 retried=1`."""
        return " ".join(f"{name}={count}" for name in self.__struct_fields__ if (count := getattr(self, name)))
