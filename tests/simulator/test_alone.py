"""The simulator stands outside: it imports nothing of the gateway, and its guide leaves nothing out."""

import ast
import sys
from pathlib import Path
from typing import get_args

import pytest

import qwen_gateway.simulator
from qwen_gateway.simulator.accounts import Behaviour, State, Tally
from qwen_gateway.simulator.faults import FAULTS
from qwen_gateway.simulator.seen import Seen
from qwen_gateway.simulator.site import Switches
from qwen_gateway.simulator.turns import Turn
from qwen_gateway.simulator.ways import WAYS

PACKAGE = Path(str(qwen_gateway.simulator.__file__)).parent
GUIDE = Path(__file__).parents[2] / "docs" / "simulator.md"
ALLOWED = {"aiohttp", "msgspec"}


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


def test_only_two_libraries_are_needed() -> None:
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
    ],
    ids=["turn", "switches", "behaviour", "tally", "seen", "faults"],
)
def test_the_guide_names_everything(names: tuple[str, ...]) -> None:
    guide = GUIDE.read_text(encoding="utf-8").lower()
    assert [name for name in names if f"`{name}`" not in guide] == []


def test_the_guide_tells_of_every_fault_what_the_table_tells() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    assert [name for name, fault in FAULTS.items() if f"| `{name}` | {fault.says} |" not in guide] == []


def test_the_guide_tells_of_every_state_what_the_table_tells() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    assert [state for state, way in WAYS.items() if f"| `{state}` | {way.says} |" not in guide] == []
    assert set(WAYS) == set(get_args(State))
