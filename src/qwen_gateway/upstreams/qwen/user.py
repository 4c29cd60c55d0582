"""The site's user object: whose session it is, and whether the site serves him.

Two wrappings are known: in the envelope from the sign-in host (2026-10), and bare from the older address (recorded
2026-06-28). The object must be there with an id: a status says nothing about a session.
"""

from typing import Any

import msgspec

from qwen_gateway.turn.contracts import User
from qwen_gateway.turn.faults import Blocked, Drift, LoginExpired
from qwen_gateway.upstreams.qwen import faults

_ACTIVE = (None, "", "user", "admin")
"""Roles of accounts that are served. One that is not told is none: the sign-in host's object was never recorded."""


def read(body: bytes) -> User:
    """The user in a reply that is no refusal. Raises LoginExpired when it names nobody, Blocked when the site does
    not serve him, Drift when it is something else."""
    user = _user(body)
    role = user.get("role")
    if not user or role == "guest":
        raise LoginExpired("Qwen's site takes this session for a guest's. Log in there and give the fresh cookies.")
    name = user.get("id")
    if not isinstance(name, str) or not name.strip():
        raise Drift("Qwen's site named a user without an id. The site may have changed.")
    if role == "pending":
        raise Blocked(faults.PENDING)
    if role not in _ACTIVE:
        raise Blocked(f"Qwen's site does not serve this account: it gives it the role {faults.quoted(str(role))}.")
    return User(name, _text(user.get("name")), _text(user.get("email")))


def _user(body: bytes) -> dict[str, Any]:
    """The object. Empty where the site says that there is nobody."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise Drift("Qwen's site sent something that is not JSON. The site may have changed.") from problem
    if isinstance(value, dict) and "data" in value:
        user = {} if value["data"] is None else value["data"]
    else:
        user = value
        if not isinstance(user, dict) or "id" not in user:
            raise Drift("Qwen's site did not say whose session it is. The site may have changed.")
    if not isinstance(user, dict):
        raise Drift("Qwen's site named a user in a form that the gateway does not know. The site may have changed.")
    return user


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
