"""The site's list of models (`models_v2_2026-09-13.json`) → catalog. And a list for when there is none."""

from typing import Literal

import msgspec
from msgspec import Struct

from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.faults import Drift

LONGEST_ID = 100
"""Characters; the longest that the site had until 2026-09 has 17."""


class _Abilities(Struct, frozen=True):
    thinking: int | None = None


class _Skip(Struct, frozen=True):
    enable: bool = False


class _Meta(Struct, frozen=True):
    description: str | None = None
    short_description: str | None = None
    capabilities: dict[str, bool] = {}
    abilities: _Abilities = _Abilities()
    max_context_length: int | None = None
    max_generation_length: int | None = None
    max_summary_generation_length: int | None = None
    max_thinking_generation_length: int | None = None
    think_skip: _Skip = _Skip()
    chat_type: list[str] = []
    modality: list[str] = []


class _Info(Struct, frozen=True):
    meta: _Meta = _Meta()
    is_active: bool = True
    created_at: int = 0


class _Model(Struct):
    id: str
    name: str = ""
    info: _Info = _Info()


class _V1(Struct):
    data: list[_Model]


class _V2(Struct):
    data: _V1


def read(body: bytes) -> Catalog:
    """`/api/v2/models/` (list inside an envelope) or `/api/models` (bare list). Models that nobody could ask for, since
    their ids are no names, are left out. Raises Drift."""
    try:
        listed = msgspec.json.decode(body, type=_V2).data.data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            listed = msgspec.json.decode(body, type=_V1).data
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise Drift("Qwen's list of models cannot be read. The site may have changed.") from problem
    models = tuple(_model(one) for one in listed if one.info.is_active and _is_name(one.id))
    if not models:
        raise Drift("Qwen's list of models is empty.")
    return Catalog(models)


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= LONGEST_ID and text.isprintable() and text.strip() == text


def _model(one: _Model) -> Model:
    meta = one.info.meta
    return Model(
        id=one.id,
        name=one.name or one.id,
        description=meta.short_description or meta.description or "",
        created=one.info.created_at,
        context_window=meta.max_context_length,
        max_output=meta.max_summary_generation_length or meta.max_generation_length,
        max_thinking=meta.max_thinking_generation_length,
        thinking=_thinking(meta),
        search="search" in meta.chat_type,
        capabilities=tuple(sorted(name for name, there in meta.capabilities.items() if there)),
        modalities=tuple(meta.modality) or ("text",),
    )


def _thinking(meta: _Meta) -> Literal["always", "never", "switch"]:
    """`abilities.thinking`: 3 stands on models with a switch, 1 on qwen3.7-max, 2 on omni (seen 2026-09-13)."""
    if not meta.capabilities.get("thinking", False):
        return "never"
    if meta.think_skip.enable or meta.abilities.thinking == 3:
        return "switch"
    return "always"


def _known(model_id: str, name: str, **more: object) -> Model:
    return msgspec.structs.replace(
        Model(
            id=model_id,
            name=name,
            context_window=1_000_000,
            max_output=65_536,
            search=True,
            capabilities=("audio", "document", "search", "thinking", "video", "vision"),
            modalities=("text", "image", "video"),
        ),
        **more,
    )


FALLBACK = Catalog(
    (
        _known("qwen3.7-plus", "Qwen3.7-Plus"),
        _known("qwen3.8-max", "Qwen3.8-Max", max_output=131_072),
        _known(
            "qwen3.7-max",
            "Qwen3.7-Max",
            thinking="always",
            max_thinking=81_920,
            capabilities=("document", "thinking"),
            modalities=("text",),
        ),
        _known("qwen3.6-plus", "Qwen3.6-Plus"),
        _known("qwen3.5-plus", "Qwen3.5-Plus"),
        _known(
            "qwen3.5-omni-plus",
            "Qwen3.5-Omni-Plus",
            thinking="never",
            context_window=262_144,
            capabilities=("audio", "citations", "document", "video", "vision"),
            modalities=("text", "image", "video", "audio"),
        ),
    ),
    stale=True,
)
"""The list of 13 September 2026, for as long as the site does not give today's. Ids change every few weeks."""

ALIASES: dict[str, tuple[str, ...]] = {
    "qwen": ("*-plus", "*"),
    "qwen3": ("qwen3*-plus", "*"),
    "qwen3-coder": ("qwen3*-coder*", "*coder*", "*-plus", "*"),
    "qwen3-vl": ("qwen3*-vl*", "*-vl*", "*-plus", "*"),
    "qwen3-vl-*": ("qwen3*-vl*", "*-vl*", "*-plus", "*"),
    "qwq": ("qwq*", "*-max", "*"),
    "qwen-max": ("*-max", "*-max-*", "*"),
    "qwen-plus": ("*-plus", "*"),
    "qwen-turbo": ("*-turbo*", "*-flash", "*-plus", "*"),
    "gpt-3.5-turbo": ("*-flash", "*-plus", "*"),
    "gpt-4": ("*-max", "*"),
    "gpt-4-turbo": ("*-plus", "*"),
    "gpt-4o*": ("*-plus", "*"),
    "claude-*": ("*-max", "*"),
    "gemini-*": ("*-plus", "*"),
}
"""Names that earlier bridges taught their users → patterns of ids, best first. The site's order decides among ids
that fit, and `*` is the site's default model."""
