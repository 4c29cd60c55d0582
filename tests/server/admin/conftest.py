"""An application with one account, and a key of each role."""

import pytest

from .bench import Bench


@pytest.fixture
async def bench() -> Bench:
    bench = Bench()
    await bench.open()
    return bench
