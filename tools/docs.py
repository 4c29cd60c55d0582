"""Writes the pages, and the parts of pages, that are made from the code. `--check` only says whether they are fresh.

A part stands between `<!-- made by make docs: NAME -->` and `<!-- end -->`.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server.metrics import Metrics
from qwen_gateway.settings_docs import env_example, settings_page
from qwen_gateway.turn import faults
from qwen_gateway.turn.events import Usage
from qwen_gateway.turn.faults import Fault

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "qwen_gateway"
_PART = re.compile(r"(<!-- made by make docs: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ORIGINS = {"client": "the request", "gateway": "the gateway", "site": "Qwen's site"}

FRESH_COOKIES = "Log in at chat.qwen.ai in your browser, copy the Cookie header again, set it, restart."
SOLVE = (
    "Open chat.qwen.ai in the browser where you are logged in, send a message, solve the check; then copy the Cookie "
    "header again, set it, restart."
)
NEWER = "Look for a newer version of the gateway; if there is none, report it with the request id."
AGAIN = "Send it again. The gateway has already tried twice where nothing had been shown."

# Code → what happened, and what to do. A code that the sources have and this table has not fails `make docs`.
MEANINGS: dict[str, tuple[str, str]] = {
    "invalid_json": ("The body is not a JSON object.", "Correct the request."),
    "invalid_value": ("A parameter has a value that cannot be.", "`param` names it. Correct the request."),
    "missing_required_parameter": ("`model` or `messages` is missing.", "Add it."),
    "unsupported_parameter": (
        "The parameter would change what the answer is, and cannot be honoured.",
        "Leave it out; in most programs this is a switch.",
    ),
    "unsupported_value": ("The parameter exists, this value of it cannot be honoured.", "Choose another value."),
    "unsupported_content": ("A message holds something else than text.", "Send text only, for now."),
    "unsupported_encoding": ("The body is compressed.", "Send it without Content-Encoding."),
    "context_length_exceeded": (
        "The conversation is larger than the site takes in one message.",
        "Shorten the history, or start a new chat.",
    ),
    "content_filter": ("Qwen's content filter refused the request or the answer.", "Say it differently."),
    "missing_api_key": ("The gateway wants a key, and none came.", "Enter one of `api_keys` in the program."),
    "invalid_api_key": ("The key is not one of this gateway's.", "Compare it with `api_keys`."),
    "host_not_allowed": ("The gateway was called by a name that it does not know.", "Add it to `allowed_hosts`."),
    "origin_not_allowed": ("A web page called that may not.", "Add its origin to `allowed_origins` if you trust it."),
    "not_found": ("There is no such path.", "The base URL ends with `/v1`; `/docs` lists the paths."),
    "model_not_found": ("No model has this name today.", "Take one from `GET /v1/models`."),
    "method_not_allowed": ("The path exists, the method does not fit.", "Chat completions are sent with POST."),
    "request_too_large": ("The body is larger than `max_body_bytes`.", "Send less, or raise the setting."),
    "client_left": ("The program closed the connection first.", "Nothing. It stands in the log only."),
    "no_account": ("No Qwen account is connected.", "Set `cookies`, or try `qwen-gateway demo`."),
    "overloaded": ("`max_in_flight` requests run already.", "Send it again in a moment."),
    "draining": ("The gateway is stopping.", "Send it again once it has started."),
    "storage_unavailable": (
        "The data directory cannot be written to, so a new chat could not be deleted again.",
        "Free space or repair the permissions of `data_dir`.",
    ),
    "internal_error": ("A mistake in the gateway.", "Report it, with the log lines of this request id."),
    "upstream_unreachable": ("No connection to the site.", "Check the network; see whether the site is up."),
    "upstream_tls": ("The site's certificate cannot be trusted.", "Look for a proxy or log-in page in between."),
    "upstream_connect_timeout": ("The site could not be reached in time.", "Check the network; then send it again."),
    "upstream_timeout": (
        "The answer did not begin, or did not end, in its time.",
        "Send it again; for long thinking raise `first_event_timeout_thinking` or `total_timeout`.",
    ),
    "upstream_idle_timeout": ("The site fell silent in the middle of the answer.", "Send it again."),
    "upstream_auth_required": ("The session at chat.qwen.ai has ended.", FRESH_COOKIES),
    "upstream_challenge": (
        "Qwen wants to see a person. The account rests, so that nothing makes it worse.",
        SOLVE,
    ),
    "upstream_crowded": (
        "The same protection, in its form “too busy”. The account rests for 30 seconds.",
        "Wait. If it goes on, do as for `upstream_challenge`.",
    ),
    "upstream_rate_limited": (
        "The account's limit at Qwen is reached for this model or feature.",
        "Wait until `retry-after`, or choose another model.",
    ),
    "upstream_busy": ("The site, or this account there, is busy.", "Wait `retry-after` seconds, then send it again."),
    "upstream_chat_lost": ("The chat at the site is gone.", AGAIN),
    "upstream_empty": ("The site accepted the question and sent no answer.", AGAIN),
    "upstream_incomplete": ("The answer broke off.", AGAIN),
    "upstream_error": (
        "The site reported an error of its own.",
        f"{AGAIN} If it goes on, the cookies may be incomplete: copy the whole header.",
    ),
    "upstream_changed": ("The site answered in a way that this version does not know.", NEWER),
    "upstream_crossed": ("The site sent the answer to another question. It was thrown away.", "Send it again."),
    "event_too_large": ("The site sent a single event of more than 8 MB.", "Ask for less at once."),
}


def raised() -> dict[str, type[Fault]]:
    """Every code that the sources can raise, with its class."""
    kinds = {name: kind for name, kind in vars(faults).items() if isinstance(kind, type) and issubclass(kind, Fault)}
    kinds.pop("Fault")  # only for matters between our own packages
    found: dict[str, type[Fault]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if "simulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                kind = kinds[node.func.id]
                given = [word.value for word in node.keywords if word.arg == "code"]
                codes = [one.value for one in given if isinstance(one, ast.Constant)] if given else [kind.code]
                found.update({str(code): kind for code in codes})
    return found


def _table(head: str, rows: Iterator[str]) -> str:
    return f"{head}\n|{'---|' * (head.count('|') - 1)}\n" + "\n".join(rows) + "\n"


def fault_table() -> str:
    """All codes, grouped by whose fault they are."""
    found = raised()
    if found.keys() != MEANINGS.keys():
        raise SystemExit(f"tools/docs.py: MEANINGS does not fit the sources: {sorted(found.keys() ^ MEANINGS.keys())}")

    def rows() -> Iterator[str]:
        for code, (happened, to_do) in MEANINGS.items():
            kind = found[code]
            again = "yes" if kind.retryable else "no"
            yield f"| `{code}` | {kind.status} | {_ORIGINS[kind.origin]} | {again} | {happened} | {to_do} |"

    return _table("| code | status | where | send again | what happened | what to do |", rows())


def metric_table() -> str:
    """All figures of `/metrics`."""
    metrics = Metrics(lambda: 0, lambda: 0)
    usage = Usage(1, 1)
    metrics.observe(TurnRecord("", "openai_chat", tries=1, first_event=1.0, usage=usage))

    def rows() -> Iterator[str]:
        for family in text_string_to_metric_families(metrics.page().decode()):
            if family.name.endswith("_created"):
                continue
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = dict.fromkeys(label for one in family.samples for label in one.labels if label != "le")
            yield f"| `{name}` | {family.type} | {', '.join(f'`{one}`' for one in labels)} | {family.documentation} |"

    return _table("| name | kind | labels | meaning |", rows())


PARTS = {"faults": fault_table, "metrics": metric_table}


def pages() -> dict[Path, str]:
    """Every page with something made from the code, as it should be."""
    made = {ROOT / "docs" / "settings.md": settings_page(), ROOT / ".env.example": env_example()}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if path not in made and _PART.search(text):
            made[path] = _PART.sub(lambda part: part[1] + PARTS[part[2]]() + part[3], text)
    return made


def main(arguments: list[str]) -> int:
    """0 when all pages are as they should be, or have been made so."""
    stale = [
        (path, text) for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in arguments:
        for path, _ in stale:
            sys.stdout.write(f"{path.relative_to(ROOT)} is out of date: run `make docs`\n")
        return 1 if stale else 0
    for path, text in stale:
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"written: {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
