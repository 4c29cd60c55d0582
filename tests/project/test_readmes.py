"""Both READMEs say the same, and nothing that is not so."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from qwen_gateway import __version__
from qwen_gateway.cli import app
from qwen_gateway.settings import Settings
from qwen_gateway.settings_sources import LEGACY, PREFIX

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _blocks(text: str) -> list[str]:
    return re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)


def _prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _shape(text: str) -> list[str]:
    """The kind of each line that has one: heading with its depth, row of a table, step of a list."""
    kinds = (re.match(r"#+ |\||- |\d+\. ", line) for line in _prose(text).splitlines())
    return [kind[0] for kind in kinds if kind]


def test_both_readmes_have_the_same_sections_tables_and_lists() -> None:
    english, chinese = (_shape(_text(path)) for path in READMES)
    assert english == chinese


def test_both_readmes_have_the_same_code_blocks() -> None:
    english, chinese = (_blocks(_text(path)) for path in READMES)
    assert english == chinese


def test_both_readmes_name_the_same_things() -> None:
    english, chinese = (
        {name.replace("`", "") for name in re.findall(r"`[^`\n]+`", _prose(_text(path)))} for path in READMES
    )
    assert english == chinese


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):.*## ", _text(ROOT / "Makefile"), re.MULTILINE))
    text = _text(page)
    assert set(re.findall(r"`make ([a-z]+)", text) + re.findall(r"^make ([a-z]+)", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    # Not the name of a container: `docker compose exec qwen-gateway …`.
    for words in re.findall(r"(?<!exec )qwen-gateway ([a-z][^`|\n()]*)", _text(page)):
        command: Any = typer.main.get_command(app)
        rest = re.split(r"[ .,:;]+", words)
        depth = 0
        while commands := getattr(command, "commands", None):
            if depth and not re.fullmatch("[a-z]+", "".join(rest[:1])):
                break  # a group by itself
            assert rest[0] in commands, words
            command, depth = commands[rest.pop(0)], depth + 1
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"(?<!\S)--[\w-]+", " ".join(rest))) <= known, words


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_settings_exist(page: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"QWEN_GATEWAY_CONFIG"}
    named = set(re.findall(r"QWEN_GATEWAY_[A-Z_]*[A-Z]", _text(page)))
    assert named <= known


@pytest.mark.parametrize("page", READMES, ids=lambda path: path.name)
def test_names_of_earlier_bridges_are_all_there(page: Path) -> None:
    table = [line for line in _text(page).splitlines() if line.startswith("|")]
    for old, (new, _) in LEGACY.items():
        assert any(f"`{old}`" in line and f"`{PREFIX}{new.upper()}`" in line for line in table), old


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", _prose(_text(page))):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_the_changelog_has_this_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)} — ", _text(ROOT / "CHANGELOG.md"), re.MULTILINE)
