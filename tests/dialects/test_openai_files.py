"""Files and uploads as the OpenAI API has them: what is asked, what is answered, and what is refused by name."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from openai.types import FileDeleted, FileObject, Upload
from openai.types.uploads import UploadPart

from qwen_gateway.dialects import openai_files
from qwen_gateway.dialects.openai_files import (
    Keeping,
    deleted,
    file,
    listing,
    part,
    read_completion,
    read_keeping,
    read_page,
    read_upload,
    upload,
)
from qwen_gateway.turn.faults import InvalidRequest


class Kept(Struct, frozen=True):
    id: str = "file-0"
    name: str = "a “b”.pdf"
    purpose: str = "assistants"
    size: int = 7
    created: float = 1_000_000.7
    expires: float | None = 2_000_000.2


class Begun(Struct, frozen=True):
    id: str = "upload_0"
    name: str = "a.pdf"
    purpose: str = "user_data"
    size: int = 100
    created: float = 1_000_000.7
    expires: float = 1_003_600.7
    state: str = "pending"


class Piece(Struct, frozen=True):
    id: str = "part_0"
    upload: str = "upload_0"
    created: float = 1_000_000.7


def refused(read: Any, given: Any) -> tuple[str | None, str]:
    with pytest.raises(InvalidRequest) as caught:
        read(given)
    assert caught.value.text.endswith(".")
    return caught.value.param, caught.value.code


# --- answers, read by OpenAI's own library ---


def test_a_file_says_all_that_openais_library_knows_of_one() -> None:
    read = FileObject.model_validate_json(file(Kept()), strict=True)
    assert (read.id, read.bytes, read.filename, read.purpose) == ("file-0", 7, "a “b”.pdf", "assistants")
    assert (read.created_at, read.expires_at, read.status) == (1_000_000, 2_000_000, "processed")


def test_a_file_that_stays_for_good_expires_never() -> None:
    assert json.loads(file(Kept(expires=None)))["expires_at"] is None


def test_a_list_names_its_first_and_its_last_file() -> None:
    read = json.loads(listing([Kept("file-1"), Kept("file-2")], more=True))
    assert [one["id"] for one in read["data"]] == ["file-1", "file-2"]
    assert (read["object"], read["first_id"], read["last_id"], read["has_more"]) == ("list", "file-1", "file-2", True)


def test_an_empty_list_names_none() -> None:
    read = json.loads(listing([], more=False))
    assert (read["data"], read["first_id"], read["last_id"], read["has_more"]) == ([], None, None, False)


def test_what_was_deleted_says_so() -> None:
    read = FileDeleted.model_validate_json(deleted("file-0"), strict=True)
    assert (read.id, read.deleted) == ("file-0", True)


def test_an_upload_has_no_file_until_it_is_complete() -> None:
    read = Upload.model_validate_json(upload(Begun()), strict=True)
    assert (read.id, read.bytes, read.status, read.file) == ("upload_0", 100, "pending", None)
    assert (read.created_at, read.expires_at) == (1_000_000, 1_003_600)


def test_an_upload_that_is_complete_holds_its_file() -> None:
    read = Upload.model_validate_json(upload(Begun(state="completed"), Kept()), strict=True)
    assert read.status == "completed"
    assert read.file is not None
    assert read.file.id == "file-0"


def test_a_part_names_its_upload() -> None:
    read = UploadPart.model_validate_json(part(Piece()), strict=True)
    assert (read.id, read.upload_id, read.created_at) == ("part_0", "upload_0", 1_000_000)


# --- how a file is to be kept ---


@pytest.mark.parametrize(
    ("fields", "keeping"),
    [
        ([], Keeping("user_data", None)),
        ([("purpose", "")], Keeping("user_data", None)),
        ([("purpose", "vision"), ("other", "x")], Keeping("vision", None)),
        (
            [("purpose", "batch"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "3600")],
            Keeping("batch", 3600),
        ),
        (
            [("expires_after[seconds]", "2592000"), ("expires_after[anchor]", "created_at")],
            Keeping("user_data", 2592000),
        ),
    ],
)
def test_the_fields_beside_a_file(fields: list[tuple[str, str]], keeping: Keeping) -> None:
    assert read_keeping(fields) == keeping


ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([("purpose", "two words")], ("purpose", "invalid_value")),
        ([("purpose", "x" * 65)], ("purpose", "invalid_value")),
        ([(SECONDS, "3600")], (ANCHOR, "missing_required_parameter")),
        ([(ANCHOR, "created_at")], (SECONDS, "missing_required_parameter")),
        ([(ANCHOR, "now"), (SECONDS, "3600")], (ANCHOR, "invalid_value")),
        ([(ANCHOR, "created_at"), (SECONDS, "3599")], (SECONDS, "invalid_value")),
        ([(ANCHOR, "created_at"), (SECONDS, "2592001")], (SECONDS, "invalid_value")),
        ([(ANCHOR, "created_at"), (SECONDS, "-3600")], (SECONDS, "invalid_value")),
        ([(ANCHOR, "created_at"), (SECONDS, "٣٦٠٠")], (SECONDS, "invalid_value")),
        ([(ANCHOR, "created_at"), (SECONDS, "9" * 5000)], (SECONDS, "invalid_value")),
    ],
)
def test_fields_that_mean_nothing_are_refused_by_name(fields: list[tuple[str, str]], why: tuple[str, str]) -> None:
    assert refused(read_keeping, fields) == why


# --- uploads ---


def test_an_upload_is_announced_with_its_size_and_what_it_is() -> None:
    body = {"filename": "a.pdf", "bytes": 9, "mime_type": "application/pdf", "purpose": "assistants", "more": 1}
    new = read_upload(json.dumps(body).encode())
    assert (new.filename, new.size, new.mime_type) == ("a.pdf", 9, "application/pdf")
    assert new.keeping == Keeping("assistants", None)


def test_an_upload_can_say_when_its_file_expires() -> None:
    new = read_upload(b'{"filename": "a", "bytes": 9, "expires_after": {"anchor": "created_at", "seconds": 7200}}')
    assert new.keeping == Keeping("user_data", 7200)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"bytes": 1}', ("filename", "missing_required_parameter")),
        (b'{"filename": "a"}', ("bytes", "missing_required_parameter")),
        (b'{"filename": "", "bytes": 1}', ("filename", "invalid_value")),
        (b'{"filename": "a", "bytes": 0}', ("bytes", "invalid_value")),
        (b'{"filename": "a", "bytes": "1"}', ("bytes", "invalid_value")),
        (b'{"filename": "a", "bytes": 1, "purpose": "!"}', ("purpose", "invalid_value")),
        (
            b'{"filename": "a", "bytes": 1, "expires_after": {"anchor": "created_at"}}',
            ("expires_after.seconds", "missing_required_parameter"),
        ),
        (
            b'{"filename": "a", "bytes": 1, "expires_after": {"anchor": "x", "seconds": 3600}}',
            ("expires_after.anchor", "invalid_value"),
        ),
        (b"[]", (None, "invalid_value")),
        (b"\xff", (None, "invalid_json")),
        (b"{" * 100_000, (None, "invalid_json")),
    ],
)
def test_an_upload_that_cannot_be_is_refused_by_name(body: bytes, why: tuple[str, str]) -> None:
    assert refused(read_upload, body) == why


def test_the_parts_are_joined_in_the_order_given() -> None:
    found = read_completion(b'{"part_ids": ["part_b", "part_a"], "md5": "D41D8CD98F00B204E9800998ECF8427E"}')
    assert found.part_ids == ("part_b", "part_a")
    assert found.md5 == "D41D8CD98F00B204E9800998ECF8427E"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{}", ("part_ids", "missing_required_parameter")),
        (b'{"part_ids": []}', ("part_ids", "invalid_value")),
        (b'{"part_ids": ["a", "a"]}', ("part_ids", "invalid_value")),
        (b'{"part_ids": [1]}', ("part_ids[0]", "invalid_value")),
        (b'{"part_ids": ["a"], "md5": "abc"}', ("md5", "invalid_value")),
        (b'{"part_ids": ["a"], "md5": ""}', ("md5", "invalid_value")),
    ],
)
def test_a_completion_that_means_nothing_is_refused_by_name(body: bytes, why: tuple[str, str]) -> None:
    assert refused(read_completion, body) == why


def test_as_many_parts_as_there_can_be_fit_into_a_completion() -> None:
    ids = [f"part_{n:032x}" for n in range(openai_files.MOST_PARTS)]
    assert len(read_completion(msgspec.json.encode({"part_ids": ids})).part_ids) == 10_000
    assert refused(read_completion, msgspec.json.encode({"part_ids": [*ids, "one more"]})) == (
        "part_ids",
        "invalid_value",
    )


# --- lists ---


def test_a_list_is_of_all_files_and_the_newest_first_unless_it_is_said() -> None:
    page = read_page({})
    assert (page.limit, page.after, page.order, page.purpose) == (1000, "", "desc", "")


def test_a_page_can_be_chosen() -> None:
    page = read_page({"limit": "7", "after": "file-1", "order": "asc", "purpose": "vision", "other": "x"})
    assert (page.limit, page.after, page.order, page.purpose) == (7, "file-1", "asc", "vision")
    assert read_page({"limit": "10000"}).limit == 1000


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"order": "up"}, "order"),
        ({"purpose": "a b"}, "purpose"),
    ],
)
def test_a_page_that_cannot_be_is_refused_by_name(query: dict[str, str], param: str) -> None:
    assert refused(read_page, query) == (param, "invalid_value")
