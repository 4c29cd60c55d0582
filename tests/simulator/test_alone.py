"""The simulator stands outside: it imports nothing of the gateway, and its guide leaves nothing out."""

import ast
import sys
from pathlib import Path
from typing import get_args

import pytest

import qwen_gateway.simulator
from qwen_gateway.simulator.accounts import Behaviour, State, Tally
from qwen_gateway.simulator.attached import Attached
from qwen_gateway.simulator.attached import State as FileState
from qwen_gateway.simulator.faults import FAULTS
from qwen_gateway.simulator.file_faults import EVERYWHERE, MISHAPS
from qwen_gateway.simulator.mishaps import Mishap, Place
from qwen_gateway.simulator.objects import Bucket, Call
from qwen_gateway.simulator.oss_refusals import CODES
from qwen_gateway.simulator.seen import Seen
from qwen_gateway.simulator.site import Switches
from qwen_gateway.simulator.turns import Turn
from qwen_gateway.simulator.ways import WAYS

PACKAGE = Path(str(qwen_gateway.simulator.__file__)).parent
GUIDE = Path(__file__).parents[2] / "docs" / "simulator.md"
ALLOWED = {"aiohttp", "crcmod", "msgspec"}


def _imported(path: Path) -> set[str]:
    """The top-level packages a module imports from outside of its own package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(".." if node.level > 1 else str(node.module).split(".")[0] if node.level == 0 else ".")
    return found - {"."}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_a_module_imports_nothing_of_the_gateway(path: Path) -> None:
    assert _imported(path) & {"qwen_gateway", ".."} == set()


def test_only_three_libraries_are_needed() -> None:
    needed = set().union(*map(_imported, PACKAGE.glob("*.py")))
    assert needed - set(sys.stdlib_module_names) == ALLOWED


@pytest.mark.parametrize(
    "names",
    [
        Turn.__struct_fields__,
        Switches.__struct_fields__,
        Behaviour.__struct_fields__,
        tuple(Tally.__dataclass_fields__),
        tuple(Seen.__dataclass_fields__),
        tuple(FAULTS),
        Mishap.__struct_fields__,
        get_args(Place),
        tuple(CODES),
        get_args(FileState),
        tuple(name for name in Attached.__dataclass_fields__ if name != "head"),
        tuple(Call.__dataclass_fields__),
        tuple(Bucket().as_json()),
    ],
    ids=[
        *("turn", "switches", "behaviour", "tally", "seen", "faults", "mishap", "places", "refusals of the storage"),
        *("states of a file", "attached", "call", "bucket"),
    ],
)
def test_the_guide_names_everything(names: tuple[str, ...]) -> None:
    guide = GUIDE.read_text(encoding="utf-8").lower()
    assert [name for name in names if f"`{name.lower()}`" not in guide] == []


def test_the_guide_tells_of_every_fault_what_the_table_tells() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    assert [name for name, fault in FAULTS.items() if f"| `{name}` | {fault.says} |" not in guide] == []


def test_the_guide_tells_of_every_state_what_the_table_tells() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    assert [state for state, way in WAYS.items() if f"| `{state}` | {way.says} |" not in guide] == []
    assert set(WAYS) == set(get_args(State))


def test_the_guide_tells_of_every_mishap_what_the_table_tells() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    rows = [(at, name, says) for at, table in MISHAPS.items() for name, says in table.items()]
    rows += [("all of the site", name, says) for name, says in EVERYWHERE.items()]
    assert [row for row in rows if f"| `{row[1]}` | {row[2]} |" not in guide] == []
