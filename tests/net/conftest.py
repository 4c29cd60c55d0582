"""Async tests run on asyncio. The raw server is in `raw.py`."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
