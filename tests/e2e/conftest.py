"""The whole gateway: as a process with its simulator, and within the test's own loop."""

import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from openai import OpenAI

from qwen_gateway.app import serving

from . import process
from .process import Demo
from .rig import QUICK, Rig, running

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors under /proc, which Linux has")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _garbage_as_always() -> Iterator[None]:
    """A gateway tells its process how to collect garbage. This process is not one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "_calm_collector", lambda: None)
        yield


@pytest.fixture(scope="session")
def demo_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    settings = {"heartbeat": 0.5, "first_event_timeout": 3, "idle_timeout": 2, "challenge_rest": 1}
    with process.demo(tmp_path_factory.mktemp("demo"), **settings) as running_demo:
        yield running_demo


@pytest.fixture
def demo(demo_process: Demo) -> Demo:
    """The process of this session, its site as if nobody had used it. Tests must leave its account unharmed."""
    demo_process.reset()
    return demo_process


@pytest.fixture
def openai(demo: Demo) -> Iterator[OpenAI]:
    with OpenAI(base_url=demo.base_url, api_key=demo.key, max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A fresh gateway and site in this loop, with little patience."""
    async with running(tmp_path_factory.mktemp("rig"), **QUICK) as found:
        yield found
