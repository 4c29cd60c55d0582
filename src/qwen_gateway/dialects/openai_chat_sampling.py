"""Parameters that the site has no place for.

Those that only steer how words are chosen are checked and ignored: the answer is still one. Those that a program
reads something of in the answer, which then would not be there, are refused.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from qwen_gateway.dialects.openai_chat_values import Fields, unsupported, value

_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_IGNORED: dict[str, Any] = {
    "temperature": Annotated[float, Meta(ge=0, le=2)],
    "top_p": _Share,
    "min_p": _Share,
    "top_k": Annotated[int, Meta(ge=-1)],  # -1 and 0: any, to the servers that know it
    "frequency_penalty": _Penalty,
    "presence_penalty": _Penalty,
    "repetition_penalty": Annotated[float, Meta(gt=0)],
    "seed": int,
}
_DECODERS = {key: msgspec.json.Decoder(kind) for key, kind in _IGNORED.items()}

_PROBABILITIES = "the site gives no probabilities"
_SPOKEN = "answers are text"
_REFUSED = {
    "logprobs": _PROBABILITIES,
    "top_logprobs": _PROBABILITIES,
    "logit_bias": "the site takes no weights of tokens",
    "echo": "only the answer comes back, without the question",
    "best_of": "there is no choosing among hidden answers",
    "suffix": "the site writes nothing before a given end",
    "audio": _SPOKEN,
    "modalities": _SPOKEN,
}
REFUSED = frozenset(_REFUSED)
# Besides null, false, 0 and what is empty.
_MEANS_NOTHING: dict[str, object] = {"best_of": 1, "modalities": ["text"]}
_any = msgspec.json.Decoder()


def check(fields: Fields) -> None:
    """Raises InvalidRequest for a value out of its range, and for what would be missed in the answer."""
    for key, decoder in _DECODERS.items():
        value(fields, key, decoder)
    for key, why in _REFUSED.items():
        asked = value(fields, key, _any)
        if asked and asked != _MEANS_NOTHING.get(key):
            raise unsupported(key, why)
