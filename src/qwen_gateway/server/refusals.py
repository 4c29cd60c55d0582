"""What a refusal says beside its body: whose fault it was, and whether and when to try again."""

import math

from qwen_gateway.turn.faults import Fault


def fault_headers(fault: Fault) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"x-gateway-fault", fault.origin.encode()),
        # OpenAI's SDKs obey this before their own rules, which would repeat every 5xx twice.
        (b"x-should-retry", b"true" if fault.retryable else b"false"),
    ]
    if fault.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(fault.retry_after))))
    return headers
