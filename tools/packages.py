"""Programs that tests need and that are no Python packages: which are there, and how to get the others.

`python tools/packages.py` installs what is missing for `make test` where it may (on Debian, as root), and with the
argument `clients` what is for `make clients`; it says what stays missing, and never fails for that. A test names its
needs with `@pytest.mark.needs("chromium")`: without them it is skipped, or fails where QWEN_GATEWAY_REQUIRE_PACKAGES is
1 (tests/conftest.py). A further need is a further row of NEEDS.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Need(NamedTuple):
    """package: the name in Debian. programs: any of these will do; names on the PATH, or patterns of full paths.
    target: of the Makefile, which runs the tests that want it."""

    package: str
    programs: tuple[str, ...]
    target: str = "test"


NEEDS = {
    # The documentation page, as a browser shows it.
    "chromium": Need("chromium", ("chromium",)),
    # The database that processes on several machines can share. Debian keeps its servers off the PATH.
    "postgresql": Need("postgresql", ("/usr/lib/postgresql/*/bin/initdb", "initdb")),
    # Limits that several processes share.
    "redis": Need("redis-server", ("redis-server",)),
    # Forms with files, as people send them.
    "curl": Need("curl", ("curl",)),
    # Clients that are written for it, and how they are installed.
    "node": Need("nodejs", ("node",), "clients"),
    "npm": Need("npm", ("npm",), "clients"),
}


def find(name: str) -> str | None:
    """Where the program is. Raises KeyError for a name that is not in NEEDS."""
    for program in NEEDS[name].programs:
        if program.startswith("/"):
            found = next((str(path) for path in sorted(Path("/").glob(program[1:]))), None)
        else:
            found = shutil.which(program)
        if found is not None:
            return found
    return None


def install(packages: list[str]) -> str:
    """Why the packages could not be installed; empty when they were."""
    if os.name != "posix" or os.geteuid() != 0:
        return "installing needs root"
    if shutil.which("apt-get") is None:
        return "there is no apt-get here"
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(  # noqa: S603 - the names are those of NEEDS
            ["apt-get", "--quiet", *command],  # noqa: S607 - the system's own
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            return f"apt-get {command[0]} failed"
    return ""


def main() -> None:
    """Installs what is missing, if that is possible here."""
    target = sys.argv[1] if len(sys.argv) > 1 else "test"
    missing = [name for name, need in NEEDS.items() if need.target == target and find(name) is None]
    if not missing:
        return
    packages = [NEEDS[name].package for name in missing]
    sys.stdout.write(f"packages: missing for some tests: {' '.join(packages)}\n")
    sys.stdout.flush()
    if problem := install(packages):
        sys.stdout.write(f"packages: not installed ({problem}); the tests that need them are skipped\n")


if __name__ == "__main__":
    main()
