"""How a question is to be answered: the request's own words, the model name's suffixes, and the settings."""

from qwen_gateway.turn.catalog import Choice, Model
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.prompt import Prompt
from qwen_gateway.turn.request import Thinking, ThinkingMode, TurnRequest


def terms(request: TurnRequest, choice: Choice, default: ThinkingMode) -> Prompt:
    """A prompt that has no text yet. Raises InvalidRequest."""
    search = request.search if request.search is not None else bool(choice.search)
    if search and not choice.model.search:
        raise InvalidRequest(f"The model {choice.model.id} cannot search.", param="model")
    return Prompt("", choice.model.id, _thinking(request.thinking, choice, default), search)


def _thinking(asked: Thinking, choice: Choice, default: ThinkingMode) -> Thinking:
    """The request's own words, else the model name's suffix, else the setting; within what the model can."""
    mode, model = asked.mode, choice.model
    if mode is None and choice.thinking is not None:
        mode = "on" if choice.thinking else "off"
        if not _can(mode, model):
            raise InvalidRequest(
                f"The model {model.id} {'always' if mode == 'off' else 'never'} thinks, so its name takes no such "
                "suffix.",
                param="model",
                code="unsupported_value",
            )
    mode = mode or default
    if not _can(mode, model):
        mode = "off" if model.thinking == "never" else "on"
    return Thinking(mode, asked.budget, asked.param)


def _can(mode: ThinkingMode, model: Model) -> bool:
    return model.thinking == "switch" or mode == ("on" if model.thinking == "always" else "off")
