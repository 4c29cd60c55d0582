"""Uploads and tickets as the earlier bridge answered them."""

import json
from pathlib import Path

import pytest
from msgspec import Struct

from qwen_gateway.dialects.qwen_compat_files import read_ticket, ticket, uploaded
from qwen_gateway.turn.faults import InvalidRequest
from qwen_gateway.turn.files import Facts, Kind, Ticket

CORPUS = Path(__file__).parents[1] / "corpus"


class Kept(Struct, frozen=True):
    id: str = "file-0"
    name: str = "a.pdf"
    kind: Kind = "document"
    media_type: str = "application/pdf"
    size: int = 7
    created: float = 1_000_000.7


def test_an_upload_is_answered_with_an_address() -> None:
    assert json.loads(uploaded(Kept(), "http://here/v1/files/file-0/content")) == {
        "id": "file-0",
        "object": "file",
        "bytes": 7,
        "created_at": 1_000_000,
        "filename": "a.pdf",
        "purpose": "multimodal",
        "url": "http://here/v1/files/file-0/content",
        "status": "uploaded",
        "filetype": "file",
        "content_type": "application/pdf",
    }


@pytest.mark.parametrize(("kind", "word"), [("image", "image"), ("video", "video"), ("audio", "audio")])
def test_kinds_have_the_sites_words(kind: Kind, word: str) -> None:
    assert json.loads(uploaded(Kept(kind=kind), ""))["filetype"] == word


@pytest.mark.parametrize(
    ("wish", "facts"),
    [
        ({"filename": "a.jpg", "filesize": 4451}, Facts("a.jpg", "image", "", 4451)),
        ({"filename": "a.jpg", "filesize": "4451", "filetype": "image"}, Facts("a.jpg", "image", "", 4451)),
        ({"filename": "a.md", "filesize": 1, "filetype": "file"}, Facts("a.md", "document", "", 1)),
        ({"filename": "a.md", "filesize": 1, "filetype": "document"}, Facts("a.md", "document", "", 1)),
        ({"filename": "a", "filesize": 1, "filetype": "video/mp4"}, Facts("a", "video", "", 1)),
        ({"filename": "a", "filesize": 1, "filetype": "application/pdf"}, Facts("a", "document", "", 1)),
        ({"filename": "a", "filesize": 1, "filetype": "AUDIO"}, Facts("a", "audio", "", 1)),
    ],
)
def test_what_is_to_be_uploaded(wish: dict[str, object], facts: Facts) -> None:
    assert read_ticket(json.dumps(wish).encode()) == facts


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"filename": "a", "filesize": 0}', ("filesize", "invalid_value")),
        (b'{"filename": "a", "filesize": "4 KB"}', ("filesize", "invalid_value")),
        (b'{"filename": "a", "filesize": "-1"}', ("filesize", "invalid_value")),
        (b'{"filename": "a", "filesize": "%s"}' % (b"9" * 5000), ("filesize", "invalid_value")),
        (b'{"filename": "a", "filesize": 1, "filetype": "thing"}', ("filetype", "invalid_value")),
        (b'{"filesize": 1}', (None, "invalid_value")),
        (b'{"filename": "", "filesize": 1}', (None, "invalid_value")),
        (b"\xff", (None, "invalid_json")),
        (b"{" * 100_000, (None, "invalid_json")),
    ],
)
def test_what_says_no_file_is_refused(body: bytes, why: tuple[str | None, str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_ticket(body)
    assert (caught.value.param, caught.value.code) == why


def test_a_ticket_is_answered_as_recorded() -> None:
    recorded = json.loads((CORPUS / "sts_document_2026-09-14.json").read_text(encoding="utf-8"))["response"]
    data = recorded["data"]
    given = Ticket(
        data["file_id"],
        data["file_url"],
        data["bucketname"],
        data["file_path"],
        data["region"],
        "https://" + data["endpoint"],  # as the upstream reads it
        data["access_key_id"],
        data["access_key_secret"],
        data["security_token"],
    )
    assert json.loads(ticket(given, recorded["request_id"])) == recorded


def test_of_a_simulator_the_scheme_is_told() -> None:
    given = Ticket("f", "u", "b", "k", "r", "http://127.0.0.1:8765", "i", "s", "t")
    assert json.loads(ticket(given, "r"))["data"]["endpoint"] == "http://127.0.0.1:8765"


def test_a_ticket_is_answered_as_the_site_answers() -> None:
    given = Ticket(
        "f", "https://u", "b", "u/f_a.md", "oss-ap", "oss.example", "STS.1", "made-up secret", "made-up token"
    )
    assert json.loads(ticket(given, "req_1")) == {
        "success": True,
        "request_id": "req_1",
        "data": {
            "access_key_id": "STS.1",
            "access_key_secret": "made-up secret",
            "security_token": "made-up token",
            "file_url": "https://u",
            "file_path": "u/f_a.md",
            "file_id": "f",
            "bucketname": "b",
            "region": "oss-ap",
            "endpoint": "oss.example",
        },
    }
