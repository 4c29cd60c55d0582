"""Which models take which kinds of files."""

from qwen_gateway.turn.catalog import Catalog, Model
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import Kind

# The site says both; neither list is whole (2026-09-13: sounds are a capability of models without that modality).
_CAPABILITIES: dict[Kind, str] = {"image": "vision", "video": "video", "audio": "audio", "document": "document"}
_WORDS: dict[Kind, str] = {
    "image": "see pictures",
    "video": "watch videos",
    "audio": "listen to sounds",
    "document": "read documents",
}
_MOST_NAMED = 6


def takes(model: Model, kind: Kind) -> bool:
    return _CAPABILITIES[kind] in model.capabilities or kind in model.modalities


def refusal(model: Model, kind: Kind, catalog: Catalog, param: str | None = None) -> InvalidRequest:
    """catalog: where to look for models that can."""
    able = [one.id for one in catalog.models if takes(one, kind)]
    others = f"These can: {', '.join(able[:_MOST_NAMED])}." if able else "No model of today's list can."
    return InvalidRequest(
        f"The model {model.id!r} cannot {_WORDS[kind]}. {others}", code="unsupported_content", param=param
    )
