"""What all tests share: `needs`, for tests that want a program which no Python package brings, and such programs."""

import os
import runpy
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.services import Postgres

_packages = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "packages.py"))
_find: Callable[[str], str | None] = _packages["find"]

# Taken out of the environment: a gateway that a test starts would refuse it as an unknown setting.
_REQUIRED = os.environ.pop("QWEN_GATEWAY_REQUIRE_PACKAGES", "") == "1"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*names): programs that the test wants; tools/packages.py lists them")
    # A shell that starts us in the background has us ignore Ctrl-C, and so would all that the tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if _find(name) is None:
                reason = f"needs {name}, which is not installed (Debian: {_packages['NEEDS'][name].package})"
                if _REQUIRED:
                    pytest.fail(reason, pytrace=False)
                pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator["Postgres"]:
    """A server for the session. Who wants it is marked `needs("postgresql")`, and leaves it running."""
    from tests import services  # noqa: PLC0415 - most tests do without a database, and without what it imports

    program = _find("postgresql")
    assert program is not None
    with services.postgres(program) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: "Postgres") -> str:
    """Its database `postgres`, which stays empty."""
    return postgres.url()


@pytest.fixture
def fresh_database(postgres: "Postgres") -> Iterator[Callable[..., str]]:
    """Gives the URL of a new database with each call: of the newest schema, or with `migrated=False` without any."""
    with ExitStack() as databases:
        yield lambda *, migrated=True: databases.enter_context(postgres.fresh_database(migrated=migrated))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a server for the session. Who wants it is marked `needs("redis")`, and uses keys of its own."""
    from tests import services  # noqa: PLC0415 - as above

    program = _find("redis")
    assert program is not None
    with services.redis(program) as server:
        yield server.url()
