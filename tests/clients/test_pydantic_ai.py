"""Pydantic AI: an agent with tools, and with an output of a type."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic_ai import Agent, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from tests.e2e.process import Demo
from tests.e2e.wire import MODEL, Json

from .tasks import BIRD, END, FILES, QUESTION, ROUNDS, Bird, check_rounds

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
OUTPUTS: dict[str, Any] = {
    "tool": ToolOutput(Bird, name="final_result"),
    "native": NativeOutput(Bird),
    "prompted": PromptedOutput(Bird),
}


@pytest.fixture
async def model(demo: Demo) -> AsyncIterator[OpenAIChatModel]:
    async with AsyncOpenAI(base_url=demo.base_url, api_key=demo.key, max_retries=0) as client:
        yield OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))


def read_file(path: str) -> str:
    """Reads one file of the project."""
    return FILES[path]


@BOTH
async def test_an_agent_calls_its_tools_until_the_answer_is_there(
    demo: Demo, model: OpenAIChatModel, stream: bool
) -> None:
    demo.program(*ROUNDS)
    agent = Agent(model, tools=[read_file])
    if stream:
        # `run_stream` would take the text beside the first call for the end.
        async with agent.iter(QUESTION) as run:
            async for node in run:
                if Agent.is_model_request_node(node):
                    async with node.stream(run.ctx) as events:
                        assert [event async for event in events]
        assert run.result is not None
        output = run.result.output
    else:
        output = (await agent.run(QUESTION)).output
    assert output == END
    check_rounds(demo)


@BOTH
@pytest.mark.parametrize("kind", OUTPUTS)
async def test_an_output_of_a_type_is_filled_after_the_tools(
    demo: Demo, model: OpenAIChatModel, stream: bool, kind: str
) -> None:
    last: Json = {"text": BIRD.model_dump_json()}
    if kind == "tool":
        last = {"tool_calls": [{"name": "final_result", "arguments": BIRD.model_dump()}]}
    demo.program({"tool_calls": [{"name": "read_file", "arguments": {"path": "birds.py"}}]}, last)
    agent = Agent(model, tools=[read_file], output_type=OUTPUTS[kind])
    if stream:
        async with agent.run_stream(QUESTION) as run:
            output = await run.get_output()
    else:
        output = (await agent.run(QUESTION)).output
    assert output == BIRD
    _, second = demo.seen()
    assert FILES["birds.py"].strip() in second["prompt"]
    assert QUESTION not in second["prompt"]


async def test_a_tool_that_fails_is_called_again(demo: Demo, model: OpenAIChatModel) -> None:
    """The agent checks arguments itself, and tells the model what is wrong with them."""

    def count(birds: int) -> str:
        """Counts birds."""
        return f"{birds} birds"

    demo.program(
        {"tool_calls": [{"name": "count", "arguments": {"birds": "many"}}]},
        {"tool_calls": [{"name": "count", "arguments": {"birds": "3"}}]},
        {"text": "Three."},
    )
    found = await Agent(model, tools=[count]).run(QUESTION)
    assert found.output == "Three."
    assert "3 birds" in demo.last()["prompt"]
    assert found.usage.requests in (2, 3), "a call that misses its schema may already be asked for again unseen"
