"""Faults as the OpenAI API writes them."""

import json

import pytest
from openai.types import ErrorObject

from qwen_gateway.dialects.openai_errors import error
from qwen_gateway.turn import faults
from qwen_gateway.turn.faults import Fault

TYPES: list[tuple[type[Fault], str, str]] = [
    (faults.InvalidRequest, "invalid_request_error", "invalid_value"),
    (faults.ContextTooLong, "invalid_request_error", "context_length_exceeded"),
    (faults.ContentFiltered, "invalid_request_error", "content_filter"),
    (faults.BadKey, "authentication_error", "invalid_api_key"),
    (faults.Forbidden, "permission_error", "forbidden"),
    (faults.ModelNotFound, "invalid_request_error", "model_not_found"),
    (faults.BodyTooLarge, "invalid_request_error", "request_too_large"),
    (faults.RateLimited, "rate_limit_error", "upstream_rate_limited"),
    (faults.Overloaded, "server_error", "overloaded"),
    (faults.Challenged, "server_error", "upstream_challenge"),
    (faults.Bug, "server_error", "internal_error"),
]


@pytest.mark.parametrize(("kind", "type_", "code"), TYPES)
def test_types_and_codes(kind: type[Fault], type_: str, code: str) -> None:
    written = json.loads(error(kind('It "broke".\n', param="messages[0]")))
    expected = {"message": 'It "broke".\n', "type": type_, "param": "messages[0]", "code": code}
    assert written == {"error": expected}
    ErrorObject.model_validate(written["error"])


def test_no_parameter_is_null() -> None:
    assert json.loads(error(faults.Bug("x")))["error"]["param"] is None
