"""Client APIs: their bytes → a turn, and events → their bytes. One module each; pure, and none knows another, but for
one whose answers are another's.

`DIALECTS` is the list: the server makes routes of it and the contract tests run over it.
"""

from qwen_gateway.dialects import openai_chat, qwen_compat
from qwen_gateway.turn.contracts import Dialect

DIALECTS: tuple[Dialect, ...] = (openai_chat, qwen_compat)
