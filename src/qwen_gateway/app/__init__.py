"""Joins everything: the only package that knows all others, and the order in which they start and stop.

Here: what commands need. The server itself is in `app.serving`, which takes longer to import.
"""

from qwen_gateway.app.core import credential_of
from qwen_gateway.app.manage import (
    forget_unreadable,
    list_models,
    management,
    rotate_secret_key,
    unreadable_accounts,
)

__all__ = [
    "credential_of",
    "forget_unreadable",
    "list_models",
    "management",
    "rotate_secret_key",
    "unreadable_accounts",
]
