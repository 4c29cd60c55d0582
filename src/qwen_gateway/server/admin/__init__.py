"""The management API, `/api/admin`: accounts, keys, usage, kept chats, status. One module for each resource."""

from fastapi import FastAPI

from qwen_gateway.relay.management import Management
from qwen_gateway.server.admin.accounts import AccountPages
from qwen_gateway.server.admin.conversations import ConversationPages
from qwen_gateway.server.admin.keys import KeyPages
from qwen_gateway.server.admin.routes import PREFIX, Gate, Routes
from qwen_gateway.server.admin.status import StatusPages
from qwen_gateway.server.admin.usage import UsagePages
from qwen_gateway.server.service import Service

__all__ = ["PREFIX", "add_to"]

LARGEST_SESSION = 16 * 1024 * 1024
"""Bytes. A HAR file of one request to the site is far smaller."""


def add_to(app: FastAPI, service: Service, management: Management) -> None:
    """Adds all routes. Raises UndeclaredRole when something else is already at `/api/admin`; what is added there later
    is never reached."""
    routes = Routes(app, Gate(service))
    AccountPages(management, largest=min(service.pace.max_body, LARGEST_SESSION)).add_to(routes)
    KeyPages(management).add_to(routes)
    UsagePages(management, service.turns.ambient.now).add_to(routes)
    ConversationPages(management).add_to(routes)
    StatusPages(service, management).add_to(routes)
    routes.close()
