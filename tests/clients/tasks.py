"""What the clients are made to do: a task in three rounds, and a shape to fill."""

from typing import Literal

from pydantic import BaseModel
from tests.e2e.process import Demo
from tests.e2e.wire import Json

QUESTION = "What does the project do?"
FILES = {"README.md": "See birds.py. 雨", "birds.py": 'print("tit")\n', "test_birds.py": "import birds\n"}
ROUNDS: list[Json] = [
    {"text": "I read first.", "tool_calls": [{"name": "read_file", "arguments": {"path": "README.md"}}]},
    {
        "tool_calls": [
            {"name": "read_file", "arguments": {"path": "birds.py"}},
            {"name": "read_file", "arguments": {"path": "test_birds.py"}},
        ]
    },
    {"text": "It prints a bird."},
]
END = "It prints a bird."


class Bird(BaseModel):
    """A bird that was seen."""

    name: str
    colors: list[str]
    legs: int
    diet: Literal["seeds", "insects"]


BIRD = Bird(name='the "tit"', colors=["黄", "blue"], legs=2, diet="seeds")


def check_rounds(demo: Demo) -> None:
    """The three rounds stand in one chat, each below the answer before, and each result was told once."""
    first, *others = demo.seen()
    assert len(others) == 2
    assert {seen["chat_id"] for seen in others} == {first["chat_id"]}
    assert first["parent"] is None
    assert None not in {seen["parent"] for seen in others}
    prompts = [seen["prompt"] for seen in others]
    for name, index in (("README.md", 0), ("birds.py", 1), ("test_birds.py", 1)):
        assert [FILES[name].strip() in prompt for prompt in prompts] == [index == 0, index == 1], name
    assert all(QUESTION not in prompt for prompt in prompts)
