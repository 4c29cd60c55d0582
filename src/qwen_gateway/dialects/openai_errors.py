"""A fault as the OpenAI API writes it: `{"error": {"message", "type", "param", "code"}}`."""

import msgspec

from qwen_gateway.turn.faults import Fault, Kind

_TYPES: dict[Kind, str] = {
    "invalid_request": "invalid_request_error",
    "authentication": "authentication_error",
    "permission": "permission_error",
    "not_found": "invalid_request_error",
    "too_large": "invalid_request_error",
    "rate_limit": "rate_limit_error",
    "server": "server_error",
}


def error(fault: Fault) -> bytes:
    return msgspec.json.encode(
        {
            "error": {
                "message": fault.text,
                "type": _TYPES[fault.kind],
                "param": fault.param,
                "code": fault.code,
            }
        }
    )
