"""Writes the pages, and the parts of pages, that are made from the code. `--check` only says whether they are fresh.

A part stands between `<!-- made by make docs: NAME -->` and `<!-- end -->`.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from prometheus_client.parser import text_string_to_metric_families

from qwen_gateway.relay.counts import CallCounts
from qwen_gateway.relay.uploads import UploadCounts
from qwen_gateway.relay.watch import TurnRecord
from qwen_gateway.server.metrics import Metrics, Now
from qwen_gateway.settings_docs import env_example, settings_page
from qwen_gateway.turn import faults
from qwen_gateway.turn.events import Usage
from qwen_gateway.turn.faults import Fault

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "qwen_gateway"
_PART = re.compile(r"(<!-- made by make docs: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ORIGINS = {"client": "the request", "gateway": "the gateway", "site": "Qwen's site"}

LOGIN = "Log in at chat.qwen.ai in your browser, then `qwen-gateway login`."
SOLVE = (
    "Open chat.qwen.ai in the browser where you are logged in, send a message, solve the check; then `qwen-gateway "
    "accounts resume NAME`."
)
KEEPER = "Ask whoever runs this gateway."
NEWER = "Look for a newer version of the gateway; if there is none, report it with the request id."
AGAIN = "Send it again. The gateway has already tried twice where nothing had been shown."

# Code → what happened, and what to do. A code that the sources have and this table has not fails `make docs`.
MEANINGS: dict[str, tuple[str, str]] = {
    "invalid_json": ("The body is not a JSON object.", "Correct the request."),
    "invalid_value": ("A parameter has a value that cannot be.", "`param` names it. Correct the request."),
    "missing_required_parameter": (
        "A parameter that there must be is missing, or a field or file of a form.",
        "`param` names it. Add it.",
    ),
    "unsupported_parameter": (
        "The parameter would change what the answer is, and cannot be honoured.",
        "Leave it out; in most programs this is a switch.",
    ),
    "unsupported_value": ("The parameter exists, this value of it cannot be honoured.", "Choose another value."),
    "unsupported_content": (
        "The model does not take such files, or not together, or none in this message; or the part is unknown.",
        "Take a model that the text names, or send the files apart ([files](files.md)).",
    ),
    "unsupported_file": (
        "The site does not take files of this type, or this one; or it is damaged, or not what was said of it.",
        "Convert it, or say the right type; the text lists what is taken.",
    ),
    "file_too_large": (
        "The file is larger than files of its kind may be.",
        "Send a smaller one, or raise `max_image_bytes` and the like, up to what the site takes.",
    ),
    "too_many_files": (
        (
            "More files than one question, one request or one form can hold; or they leave no room for a text below "
            "`max_prompt_bytes`."
        ),
        "Send fewer at once; start a new conversation if it has collected them.",
    ),
    "file_not_found": (
        "No such file is kept here for this key. In a message the status is 400, and `param` names the part.",
        "It may have been deleted, or have expired: upload it again.",
    ),
    "file_unreadable": ("The site could not read the document.", "Is it damaged, encrypted or empty? Send its text."),
    "file_changed": ("The file was changed while `qwen-gateway ask` read it.", "Ask again once nothing writes to it."),
    "url_not_allowed": (
        "The address is not one that files are fetched from: not public, of an odd form, or fetching is switched off.",
        "Send the file itself; for a network of your own `fetch_networks`.",
    ),
    "url_unreachable": ("Nothing, or no file, came from the address.", "Check it, or send the file itself."),
    "invalid_form": ("The body cannot be read as `multipart/form-data`.", "Send it as `curl -F` does."),
    "file_quota_exceeded": (
        "The key would keep more than `max_kept_bytes` at `/v1/files`.",
        "Delete files (`DELETE /v1/files/{id}`), or raise the setting.",
    ),
    "upload_not_found": ("There is no such upload in parts, for this key.", "Begin another."),
    "upload_completed": ("The upload in parts is complete already.", "Use the file that it became."),
    "upload_cancelled": ("The upload in parts was given up.", "Begin another."),
    "upload_expired": ("The upload in parts was not complete within an hour.", "Begin another."),
    "part_not_found": ("The upload has no part of this id.", "`param` names it. Send the part, then complete."),
    "too_many_parts": ("The upload has 10,000 parts already.", "Begin another, with larger parts."),
    "wrong_upload_size": ("The parts have more or fewer bytes than were announced.", "Send what was announced."),
    "wrong_checksum": ("`md5` is not that of the parts in this order.", "Send the parts again."),
    "unsupported_tool": (
        "A tool is of another type than `function`.",
        "Offer functions only; the site's own search is `enable_search`.",
    ),
    "unsupported_encoding": ("The body is compressed.", "Send it without Content-Encoding."),
    "context_length_exceeded": (
        "The conversation, or the list of tools, is larger than the site or the model takes.",
        "Shorten the history, or start a new chat; offer fewer tools if `param` names them.",
    ),
    "content_filter": ("Qwen's content filter refused the request or the answer.", "Say it differently."),
    "unsupported_content_type": (
        "A call of the management API has no JSON body.",
        "Send `content-type: application/json`.",
    ),
    "unknown_parameter": ("A call of the management API has a field that does not exist.", "Correct the request."),
    "mixed_sessions": (
        "What was pasted holds the cookies of one Qwen account and the token of another.",
        "Copy both from one login. Nothing was stored.",
    ),
    "missing_api_key": ("The gateway wants a key, and none came.", "Enter one in the program ([keys](keys.md))."),
    "invalid_api_key": ("The key is not one of this gateway's.", "Compare it; `qwen-gateway keys list` shows the ids."),
    "key_disabled": ("The key was disabled.", f"{KEEPER} `qwen-gateway keys enable NAME`"),
    "key_expired": ("The key's time is over.", f"{KEEPER} `qwen-gateway keys create`"),
    "key_in_url": ("A key stood in the address, which ends up in logs.", "Send it in a header, and rotate it."),
    "bootstrap_key_retired": ("The bootstrap key ends with the first admin's key.", "Use an admin's key."),
    "too_many_wrong_keys": (
        "More than 20 wrong keys came from this address within a minute.",
        "Wait `retry-after` seconds; look which program has an old key.",
    ),
    "role_not_sufficient": ("The management API wants a key with a higher role.", "Use a viewer's or an admin's key."),
    "model_not_allowed": ("The key may not use this model.", "Take one that the text names."),
    "endpoint_not_allowed": ("The key may not use this part of the API.", KEEPER),
    "bootstrap_not_from_here": (
        "The bootstrap key came from another machine, or through a proxy.",
        "Use it on the gateway's own machine, straight at its port.",
    ),
    "host_not_allowed": ("The gateway was called by a name that it does not know.", "Add it to `allowed_hosts`."),
    "origin_not_allowed": ("A web page called that may not.", "Add its origin to `allowed_origins` if you trust it."),
    "not_found": ("There is no such path.", "The base URL ends with `/v1`; `/docs` lists the paths."),
    "account_not_found": ("There is no such account.", "`qwen-gateway accounts list` shows them."),
    "key_not_found": ("There is no such key.", "`qwen-gateway keys list` shows them."),
    "settings_changed": (
        "The account is not removed: settings that were switched off at the site could not be put back any more.",
        "`qwen-gateway accounts settings NAME --undo` first, or remove it with `--force`.",
    ),
    "nothing_to_restore": ("The gateway has not changed any setting of this account.", "Nothing."),
    "name_taken": ("Another account or key has this name.", "Choose another name."),
    "model_not_found": ("No model has this name today.", "Take one from `GET /v1/models`."),
    "method_not_allowed": ("The path exists, the method does not fit.", "Chat completions are sent with POST."),
    "request_too_large": ("The body is larger than `max_body_bytes`.", "Send less, or raise the setting."),
    "rate_limit_exceeded": (
        "The key's requests per minute, or at the same time, are used up.",
        "Wait `retry-after` seconds, or raise the key's limit.",
    ),
    "insufficient_quota": (
        "The key's tokens of today are used up, or this request needs more than a whole day's.",
        "Wait until midnight UTC, send less text, or raise `tokens_per_day`.",
    ),
    "client_left": ("The program closed the connection first.", "Nothing. It stands in the log only."),
    "no_account": ("No Qwen account is connected.", "`qwen-gateway login`, or try `qwen-gateway demo`."),
    "account_paused": ("The account was paused.", "`qwen-gateway accounts resume NAME`"),
    "overloaded": (
        "`max_in_flight`, `queue_size`, `queue_timeout` or `spool_bytes` is reached, or the disk is full.",
        "Send it again in a moment, and fewer at once.",
    ),
    "draining": ("The gateway is stopping.", "Send it again once it has started."),
    "storage_unavailable": (
        "The database, Redis or the data directory does not answer or cannot be written to. The text says which.",
        "See to it ([store](store.md)). Nothing is wrong with the caller's key.",
    ),
    "vault_key_wrong": (
        "Stored sessions or files cannot be decrypted: the secret key is not the one that they were sealed with.",
        "Put the earlier key back ([store](store.md)).",
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
    "upstream_auth_required": ("The session at chat.qwen.ai has ended.", LOGIN),
    "upstream_blocked": (
        "The site does not serve this account, or this place. Logging in again does not change that.",
        "Look what chat.qwen.ai says in the browser, from the same network.",
    ),
    "breaker_open": (
        "The site failed five times in a row, for everybody; it is left alone for 10 to 120 seconds.",
        "Wait `retry-after` seconds.",
    ),
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
    "upload_rate_limited": (
        "The account has uploaded as many files as the site allows for a while: some 20, then none for 75 s.",
        "Wait `retry-after` seconds. Answers without new files go on meanwhile.",
    ),
    "upload_failed": (
        (
            "The site's storage did not take a file, or the site reads no documents at the moment. Nothing was asked. "
            "As 503, with leave to send it again: it was the document of a long conversation."
        ),
        "Send it again; if the text says so, set the clock of this computer.",
    ),
    "upload_timeout": (
        "The files of the question were not at the site within `upload_timeout`.",
        "Send fewer or smaller ones, or raise the setting.",
    ),
    "file_parse_timeout": (
        "The site did not get done with reading a document within `parse_timeout`.",
        "Send it again, or its text.",
    ),
    "upstream_busy": ("The site, or this account there, is busy.", "Wait `retry-after` seconds, then send it again."),
    "upstream_chat_lost": ("The chat at the site is gone.", AGAIN),
    "upstream_empty": ("The site accepted the question and sent no answer.", AGAIN),
    "upstream_incomplete": ("The answer broke off.", AGAIN),
    "invalid_tool_call": (
        "The model's tool call could not be read, or does not fit the tool, also after it was asked again.",
        "Send it again; try another model, or another `tool_format` ([tools](tools.md)).",
    ),
    "tool_choice_unsatisfied": (
        "The model did not make the call that `tool_choice` demands.",
        "Send it again, demand less, or use another model.",
    ),
    "tool_call_intercepted": (
        "The site took the model's call for one of its own tools, and it did not arrive.",
        "Send it again. Switching off the site's own tools may help ([accounts](accounts.md)).",
    ),
    "structured_output_failed": (
        "The answer is not the JSON that `response_format` wants, also after the model was asked again.",
        "Send it again, make the schema simpler, or use another model.",
    ),
    "upstream_error": (
        "The site reported an error of its own.",
        f"{AGAIN} If it goes on, the cookies may be incomplete: copy the whole header.",
    ),
    "upstream_changed": ("The site answered in a way that this version does not know.", NEWER),
    "upstream_crossed": ("The site sent the answer to another question. It was thrown away.", "Send it again."),
    "event_too_large": ("The site sent a single event of more than 8 MB.", "Ask for less at once."),
}

# Codes that reach their fault as a value, so that no call of a fault's class shows them; and codes that several classes
# have, of which this one is what a client gets.
_HANDED_ON: dict[str, type[Fault]] = {
    "invalid_tool_call": faults.Unfit,
    "unsupported_tool": faults.InvalidRequest,
    "tool_choice_unsatisfied": faults.Unfit,
    "tool_call_intercepted": faults.Unfit,
    "file_not_found": faults.NotFound,
    "part_not_found": faults.InvalidRequest,
    "upload_cancelled": faults.InvalidRequest,
    "upload_completed": faults.InvalidRequest,
    "upload_expired": faults.InvalidRequest,  # the storage's own word is between our packages
    "upload_failed": faults.UploadFailed,
}


def raised() -> dict[str, type[Fault]]:
    """Every code that the sources can raise, with its class."""
    kinds = {name: kind for name, kind in vars(faults).items() if isinstance(kind, type) and issubclass(kind, Fault)}
    kinds.pop("Fault")  # only for matters between our own packages
    found: dict[str, type[Fault]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if "simulator" in path.parts:
            continue
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        of_here = {node.name: _derived(node, kinds) for node in nodes if _is_fault(node, kinds)}
        tables = {_name_of(node): _texts(node.value) for node in nodes if isinstance(node, ast.Assign)}
        here = kinds | of_here
        for node in nodes:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in here:
                kind = here[node.func.id]
                given = [word.value for word in node.keywords if word.arg == "code"]
                codes = _codes(given[0], tables) if given else [kind.code]
                found.update(dict.fromkeys(codes, kind))
    return found | _HANDED_ON


def _is_fault(node: ast.AST, kinds: dict[str, type[Fault]]) -> TypeGuard[ast.ClassDef]:
    """A fault of a module's own, made from one of the tree."""
    return (
        isinstance(node, ast.ClassDef)
        and node.name not in kinds
        and any(isinstance(base, ast.Name) and base.id in kinds for base in node.bases)
    )


def _derived(node: ast.ClassDef, kinds: dict[str, type[Fault]]) -> type[Fault]:
    base = next(kinds[one.id] for one in node.bases if isinstance(one, ast.Name) and one.id in kinds)
    given: dict[str, object] = {}
    for line in node.body:
        if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(line.value, ast.Constant):
            given[_name_of(line)] = line.value.value
    return type(node.name, (base,), given)


def _name_of(node: ast.Assign | ast.AnnAssign) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return target.id if isinstance(target, ast.Name) else ""


def _texts(node: ast.expr) -> list[str]:
    """The values of a table that are texts."""
    values = node.values if isinstance(node, ast.Dict) else []
    return [one.value for one in values if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def _codes(given: ast.expr, tables: dict[str, list[str]]) -> list[str]:
    """A code written out, or all those of a table of the same module that it is looked up in. None for one that is
    handed on from another fault."""
    if isinstance(given, ast.Constant):
        return [str(given.value)]
    named = [node.id for node in ast.walk(given) if isinstance(node, ast.Name)]
    return [code for name in named for code in tables.get(name, [])]


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
    now = Now(
        in_flight=lambda: 0,
        chats_pending=lambda: 0,
        waiting=lambda: 0,
        accounts={"usable": lambda: 0},
        usage_waiting=lambda: 0,
        usage_dropped=lambda: 0,
        site_closed=lambda: False,
        store_up=lambda: True,
        uploads=lambda: UploadCounts(0, 0, 0, 0, 0, 0),
        spooled=lambda: 0,
    )
    metrics = Metrics(now)
    record = TurnRecord("", "openai_chat", tries=1, first_event=1.0, queued=1.0, usage=Usage(1, 1))
    record.calls = CallCounts(ok=1)
    metrics.observe(record)

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
