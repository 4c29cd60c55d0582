"""Models by name: what there is today, and which one a client's name means.

A client may write the upstream's id, an alias, or either with suffixes (`-thinking`, `-nothinking`, `-search`)
in any order. An unknown name is a fault that lists near ones; there is no silent default.
"""

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from qwen_gateway.turn.faults import InvalidRequest, ModelNotFound

SUFFIXES = ("thinking", "nothinking", "search")
LONGEST_NAME = 200


class Model(Struct, frozen=True, kw_only=True):
    """One model of the upstream. Lengths are in tokens; `None` where the upstream does not say."""

    id: str
    name: str
    description: str = ""
    created: int = 0
    """Seconds since 1970."""
    context_window: int | None = None
    max_output: int | None = None
    max_thinking: int | None = None
    thinking: Literal["always", "never", "switch"] = "switch"
    search: bool = False
    capabilities: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ("text",)

    @property
    def variants(self) -> tuple[str, ...]:
        """Names with suffixes that make sense for this model."""
        thinking = ("-thinking", "-nothinking") if self.thinking == "switch" else ()
        search = ("-search",) if self.search else ()
        both = ("-thinking-search",) if thinking and search else ()
        return tuple(self.id + suffix for suffix in thinking + search + both)


class Catalog(Struct, frozen=True):
    """The upstream's list, in its order: the first model is its default. `stale`: not from today's answer."""

    models: tuple[Model, ...]
    stale: bool = False

    def get(self, model_id: str) -> Model | None:
        return next((model for model in self.models if model.id == model_id), None)


class Choice(Struct, frozen=True):
    """A model, and what the name's suffixes ask of it (`None`: nothing)."""

    model: Model
    thinking: bool | None = None
    search: bool | None = None


Aliases = Mapping[str, Sequence[str]]
"""Name or pattern (`gpt-4o*`) → patterns of ids, best first. The first that a model of today's list fits wins."""


def resolve(name: str, catalog: Catalog, aliases: Aliases) -> Choice:
    """The model that `name` means. Raises ModelNotFound, or InvalidRequest for contradictory suffixes."""
    base, thinking, search = name.strip(), None, None
    if len(base) > LONGEST_NAME:
        raise _unknown(name, catalog, aliases)
    while True:
        # The whole name comes first: an id may itself end in what looks like a suffix (`qwq-thinking`).
        model = catalog.get(base) or _first(aliases.get(base, ()), catalog)
        stem, _, suffix = base.rpartition("-")
        if model is None and (not stem or suffix not in SUFFIXES):
            # Patterns come last: `claude-*` would take the suffixes for a part of the name.
            model = _first(_of_pattern(base, aliases), catalog)
            if model is None:
                raise _unknown(name, catalog, aliases)
        if model is not None:
            return Choice(model, thinking, search)
        base = stem
        if suffix == "search":
            search = True
            continue
        if thinking is not None and thinking != (suffix == "thinking"):
            raise InvalidRequest(f"The model name {name!r} asks for thinking and for none.", param="model")
        thinking = suffix == "thinking"


def _of_pattern(name: str, aliases: Aliases) -> Sequence[str]:
    return next((targets for key, targets in aliases.items() if "*" in key and fnmatchcase(name, key)), ())


def _first(targets: Sequence[str], catalog: Catalog) -> Model | None:
    for target in targets:
        for model in catalog.models:
            if fnmatchcase(model.id, target):
                return model
    return None


def _unknown(name: str, catalog: Catalog, aliases: Aliases) -> ModelNotFound:
    ids = [model.id for model in catalog.models]
    names = ids + [variant for model in catalog.models for variant in model.variants]
    names += [alias for alias, targets in aliases.items() if "*" not in alias and _first(targets, catalog)]
    near = difflib.get_close_matches(name[:100], names, n=3, cutoff=0.5) or ids[:3]
    # A client's name can be anything of any length; what we say back stays short.
    shown = name if len(name) <= 100 else name[:100] + "…"
    return ModelNotFound(
        f"There is no model {shown!r}. Near names: {', '.join(near)}. GET /v1/models lists all.",
        param="model",
    )
