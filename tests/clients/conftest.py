"""Other people's clients over the gateway and its simulator. They have an environment of their own, and `make clients`
runs them; elsewhere there is nothing to collect here."""

import importlib.util
import os
from collections.abc import Iterator

import pytest
from tests.e2e.process import Demo

from . import gateway

# What is said here goes to the gateway only, also where a person's environment has LangChain's tracing on.
os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"

if importlib.util.find_spec("langchain_openai") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def demo_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with gateway.demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@pytest.fixture
def demo(demo_process: Demo) -> Demo:
    """A process for the session, its site as if nobody had used it."""
    demo_process.reset()
    return demo_process
