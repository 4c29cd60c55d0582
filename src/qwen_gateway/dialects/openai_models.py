"""`GET /v1/models` and `/v1/models/{id}` as the OpenAI API writes them, with what we know beyond it.

Beyond OpenAI's four keys: `name`, `description`, `context_window`, `max_output_tokens`, `max_thinking_tokens`,
`thinking` (`always`, `never`, `switch`), `capabilities`, `modalities`, `variants`, `stale`.
"""

from typing import Any

import msgspec

from qwen_gateway.turn.catalog import Catalog, Model


def listing(catalog: Catalog, *, variants: bool) -> bytes:
    """All models. With `variants`, names with suffixes are entries too: many programs only offer what is listed."""
    rows = []
    for model in catalog.models:
        rows.append(_row(model, model.id, catalog.stale))
        if variants:
            rows += [_row(model, name, catalog.stale) for name in model.variants]
    return msgspec.json.encode({"object": "list", "data": rows})


def one(model: Model, asked: str, *, stale: bool) -> bytes:
    """The model that the name `asked` means."""
    return msgspec.json.encode(_row(model, asked, stale))


def _row(model: Model, name: str, stale: bool) -> dict[str, Any]:
    row = {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": "qwen",
        "name": model.name + name.removeprefix(model.id) if name.startswith(model.id) else model.name,
        "description": model.description,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output,
        "max_thinking_tokens": model.max_thinking,
        "thinking": model.thinking,
        "capabilities": model.capabilities,
        "modalities": model.modalities,
        "variants": model.variants,
        "stale": stale,
    }
    return row if name == model.id else {**row, "root": model.id}
