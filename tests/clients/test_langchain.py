"""LangChain, by its integration of OpenAI's API: tools that are bound to a model, and answers of a type."""

from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from tests.e2e.process import Demo
from tests.e2e.wire import MODEL

from .tasks import BIRD, END, FILES, QUESTION, ROUNDS, Bird, check_rounds

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@tool
def read_file(path: str) -> str:
    """Reads one file of the project."""
    return FILES[path]


@tool
def clock() -> str:
    """Tells the time."""
    return "12:00"


@pytest.fixture
def model(demo: Demo) -> ChatOpenAI:
    return ChatOpenAI(
        model=MODEL, base_url=demo.base_url, api_key=SecretStr(demo.key), max_retries=0, stream_usage=True
    )


def _ask(runnable: Any, messages: list[BaseMessage], stream: bool) -> AIMessage:
    if not stream:
        found = runnable.invoke(messages)
    else:
        first, *others = runnable.stream(messages)
        found = sum(others, first)
        assert isinstance(found, AIMessageChunk)
        assert len(others) > 1
    assert isinstance(found, AIMessage)
    return found


@BOTH
def test_tools_that_are_bound_are_called_until_the_answer_is_there(demo: Demo, model: ChatOpenAI, stream: bool) -> None:
    demo.program(*ROUNDS)
    bound = model.bind_tools([read_file, clock])
    messages: list[BaseMessage] = [HumanMessage(QUESTION)]
    while not (len(messages) > 1 and isinstance(messages[-1], AIMessage)):
        found = _ask(bound, messages, stream)
        messages.append(found)
        assert found.invalid_tool_calls == []
        messages += [read_file.invoke(call) for call in found.tool_calls]
    assert [message.type.lower().removesuffix("messagechunk") for message in messages] == [
        "human", "ai", "tool", "ai", "tool", "tool", "ai",
    ]  # fmt: skip
    assert (messages[1].text.strip(), messages[-1].text) == ("I read first.", END)
    check_rounds(demo)


@BOTH
def test_a_message_with_calls_has_its_figures_and_its_end(demo: Demo, model: ChatOpenAI, stream: bool) -> None:
    demo.program({**ROUNDS[1], "usage": {"input": 21, "output": 8}})
    found = _ask(model.bind_tools([read_file]), [HumanMessage(QUESTION)], stream)
    assert [call["args"] for call in found.tool_calls] == [{"path": "birds.py"}, {"path": "test_birds.py"}]
    assert found.response_metadata["finish_reason"] == "tool_calls"
    assert found.usage_metadata is not None
    assert (found.usage_metadata["input_tokens"], found.usage_metadata["output_tokens"]) == (21, 8)


@BOTH
@pytest.mark.parametrize("choice", ["any", "clock"])
def test_a_demanded_call_comes(demo: Demo, model: ChatOpenAI, stream: bool, choice: str) -> None:
    demo.program({"text": "I would rather talk."}, {"tool_calls": [{"name": "clock"}]})
    found = _ask(model.bind_tools([read_file, clock], tool_choice=choice), [HumanMessage(QUESTION)], stream)
    assert [(call["name"], call["args"]) for call in found.tool_calls] == [("clock", {})]
    assert found.text == ""


# LangChain writes down the SDK's parsed answer, and pydantic wonders at its type: langchain-openai 1.7, 2026-11.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@BOTH
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_an_answer_of_a_type_is_filled(
    demo: Demo, model: ChatOpenAI, stream: bool, method: Literal["json_schema", "function_calling", "json_mode"]
) -> None:
    if method == "function_calling":
        demo.program({"text": "A bird, then."}, {"tool_calls": [{"name": "Bird", "arguments": BIRD.model_dump()}]})
    else:
        demo.program({"text": f"```json\n{BIRD.model_dump_json(indent=1)}\n```"})
    chain = model.with_structured_output(Bird, method=method)
    found = list(chain.stream(QUESTION))[-1] if stream else chain.invoke(QUESTION)
    assert found == BIRD


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_json_of_another_shape_is_asked_for_again_unseen(demo: Demo, model: ChatOpenAI) -> None:
    demo.program({"text": '{"name": "tit", "legs": "two"}'}, {"text": BIRD.model_dump_json()})
    assert model.with_structured_output(Bird, method="json_schema", strict=True).invoke(QUESTION) == BIRD
    assert len(demo.seen()) == 2
