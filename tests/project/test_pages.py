"""Pages about the code say what the code says."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from qwen_gateway.server.app import EXPOSED
from qwen_gateway.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "qwen_gateway"


def _page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _section(text: str, title: str) -> str:
    """The text below the heading `## title`."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_generated_pages_are_fresh() -> None:
    command = [sys.executable, str(ROOT / "tools" / "docs.py"), "--check"]
    found = subprocess.run(command, text=True, capture_output=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_modules_that_the_architecture_names_exist() -> None:
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    for name in set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*)/?`", _page("architecture.md"))):
        if "/" in name or name in packages:
            there = [SOURCE / name, SOURCE / f"{name}.py", ROOT / name]
            assert any(path.exists() for path in there), name


def test_the_architecture_names_every_package() -> None:
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*)/?`", _page("architecture.md")))
    packages = {path.parent.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("__init__.py")} - {"."}
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    inner = {"upstreams"}  # in the table of imports, and as the folder of the site
    assert (packages | modules) - named - inner == set()


def test_each_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    lists = {
        "At run time": project["project"]["dependencies"],
        "For tests": groups["test"],
        "For checks": groups["check"],
        "For building": groups["build"],
        "For clients": groups["clients"],
    }
    assert groups.keys() == {"test", "check", "build", "clients"}
    extras = re.findall(r"^\| (\w+) \| `([\w-]+)` \|", _section(_page("dependencies.md"), "Extras"), re.MULTILINE)
    wanted_extras = project["project"]["optional-dependencies"]
    assert dict(extras) == {extra: re.split(r"[<>=;\[ ]", one)[0] for extra, (one,) in wanted_extras.items()}
    for title, wanted in lists.items():
        reasons = re.findall(r"^\| `([\w.-]+)` \|", _section(_page("dependencies.md"), title), re.MULTILINE)
        assert reasons == sorted(reasons) or title == "For building"
        assert set(reasons) == {re.split(r"[<>=;\[ ]", one)[0] for one in wanted}


def test_response_headers_are_all_described() -> None:
    described = re.findall(r"^\| `([\w-]+)` \|", _section(_page("operating.md"), "Headers of a response"), re.MULTILINE)
    assert sorted(described) == sorted(EXPOSED)


def test_fields_of_the_request_line_are_all_described() -> None:
    tree = ast.parse((SOURCE / "server" / "logs.py").read_text(encoding="utf-8"))
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "log_turn"]
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and node.keywords]
    written = {word.arg for call in calls for word in call.keywords}
    rows = re.findall(r"^\| (`.*?) \| ", _section(_page("operating.md"), "Log"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == written


def test_events_of_the_log_are_all_described_and_no_others() -> None:
    said = re.findall(r"^- .*?(?=^- |\Z)", _section(_page("operating.md"), "Log"), re.MULTILINE | re.DOTALL)
    settings = {"request", "route", "key", "status"}  # named beside the events
    described = {name for one in said for name in re.findall(r"`([a-z_]+)`", one)} - settings
    sources = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    logged = set(re.findall(r"(?:_log|get_logger\(\))\.[a-z]+\(\s*\"([a-z_]+)\"", sources))
    logged |= set(re.findall(r"_log\.info\(\"([a-z_]+)\" if .* else \"[a-z_]+\"", sources))
    logged |= set(re.findall(r"_log\.info\(\"[a-z_]+\" if .* else \"([a-z_]+)\"", sources))
    assert described == logged - settings


def test_fields_of_health_are_all_described() -> None:
    tree = ast.parse((SOURCE / "server" / "pages.py").read_text(encoding="utf-8"))
    (function,) = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef) and node.name == "health"]
    told = max((node for node in ast.walk(function) if isinstance(node, ast.Dict)), key=lambda node: len(node.keys))
    fields = {key.value for key in told.keys if isinstance(key, ast.Constant)}
    table = _section(_page("operating.md"), "Pages").split("| field of `/health` |", 1)[1]
    rows = re.findall(r"^\| (`.*?) \| ", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == fields


def test_settings_that_the_pages_name_exist() -> None:
    rows = re.findall(r"^\| (`.*?) \| ", _section(_page("operating.md"), "Time"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} <= set(Settings.model_fields)


def test_the_container_is_set_up_with_settings_that_exist() -> None:
    for name in ("Dockerfile", "compose.yaml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        named = {one.removeprefix("QWEN_GATEWAY_").lower() for one in re.findall(r"QWEN_GATEWAY_[A-Z_]*[A-Z]", text)}
        assert named <= set(Settings.model_fields)


def test_the_image_gets_no_secret() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    assert not [line for line in lines if line.startswith("!") and "env" in line]
