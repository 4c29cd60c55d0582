"""Messages with files, as clients write them, and what the site must have got of each: its bytes, and what is said of
them. And a web server from which pictures are fetched."""

import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from openai import APIStatusError

from qwen_gateway.relay import upload_steps
from qwen_gateway.simulator.seen import Seen

from .file_samples import Sample
from .rig import Rig
from .wire import MODEL, Json

FETCHING: dict[str, Any] = {"fetch_networks": "127.0.0.1/32"}
"""Settings of a gateway that fetches from this computer."""
_WORDS = {
    # type, showType and file_class of the site's page
    "image": ("image", "image", "vision"),
    "video": ("video", "video", "video"),
    "audio": ("audio", "audio", "audio"),
    "document": ("file", "file", "document"),
}
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@contextlib.contextmanager
def quick_reading() -> Iterator[None]:
    """The gateway asks early whether the site has read a document: the simulator takes no time for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload_steps, "FIRST_LOOK", 0.05)
        yield


# -- parts of messages


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def image(source: Sample | str, **more: object) -> Json:
    """source: or an address."""
    return {"type": "image_url", "image_url": {"url": _address(source), **more}}


def video(source: Sample | str) -> Json:
    return {"type": "video_url", "video_url": {"url": _address(source)}}


def sound(sample: Sample) -> Json:
    return {"type": "input_audio", "input_audio": {"data": sample.base64, "format": sample.name.rpartition(".")[2]}}


def file(sample: Sample) -> Json:
    return {"type": "file", "file": {"filename": sample.name, "file_data": sample.data_url}}


def kept(file_id: str) -> Json:
    return {"type": "file", "file": {"file_id": file_id}}


def user(*parts: Json | str) -> Any:
    """A message of these parts; texts stand for themselves."""
    return {"role": "user", "content": [text(part) if isinstance(part, str) else part for part in parts]}


def _address(source: Sample | str) -> str:
    return source if isinstance(source, str) else source.data_url


async def keep(rig: Rig, sample: Sample, key: str = "") -> str:
    """Puts the file into /v1/files, and returns its id. key: the rig's own, when empty."""
    made = await rig.client(key or rig.key).files.create(
        file=(sample.name, sample.data, sample.media_type), purpose="user_data"
    )
    return made.id


# -- what the site got


def check(rig: Rig, seen: Seen, *samples: Sample, at_once: bool = False) -> None:
    """The question names exactly these files, in this order: each as the site's page would, and there with its bytes,
    for the account that asks. at_once: several turns brought them together, so any of them may have the address that
    came with the leave."""
    assert [one["sha256"] for one in seen.attached] == [sample.sha256 for sample in samples], seen.attached
    assert len(seen.files) == len(samples)
    for told, attached, sample in zip(seen.files, seen.attached, samples, strict=True):
        assert isinstance(told, dict)
        _check(rig, seen, told, attached, sample)
        if not at_once:
            _check_address(rig, seen, told)


def _check(rig: Rig, seen: Seen, told: Json, attached: Json, sample: Sample) -> None:
    site = rig.sim.site
    object_ = next(one for one in site.bucket.objects.values() if one.file_id == told["id"])
    ticket = site.tickets.by_file[told["id"]]
    assert (attached["status"], attached["why"]) == ("seen", "")
    assert (attached["width"], attached["height"]) == (sample.width, sample.height)
    # The storage has it as it was, and leave was asked for exactly that.
    kind, shown, file_class = _WORDS[sample.kind]
    assert (object_.sha256, object_.size, object_.content_type) == (sample.sha256, sample.size, sample.media_type)
    assert (ticket.name, ticket.size, ticket.type) == (sample.name, sample.size, kind)
    assert ticket.user == object_.user == seen.account
    # The question says nothing else of it.
    parsed: Json = {"parse_meta": {"parse_status": "success"}} if sample.kind == "document" else {}
    inner = dict(told["file"])
    times = {inner.pop("created_at"), inner.pop("update_at")}
    assert len(times) == 1
    assert 0 < seen.started - times.pop() / 1000 < 60
    ids = {told["itemId"], told["uploadTaskId"]}
    assert len(ids) == 2
    assert all(_UUID.fullmatch(one) for one in ids)
    address = told["url"].partition("?")[0]
    assert address.startswith(f"{rig.sim.url}/")
    assert f"/{seen.account}/{ticket.file_id}_" in address
    assert {name: told[name] for name in told.keys() - {"file", "url", "itemId", "uploadTaskId"}} == {
        "type": kind,
        "id": ticket.file_id,
        "name": sample.name,
        "collection_name": "",
        "progress": 100,
        "status": "uploaded",
        "greenNet": "success",
        "size": sample.size,
        "error": "",
        "file_type": sample.media_type,
        "showType": shown,
        "file_class": file_class,
    }
    assert inner == {
        "data": {},
        "filename": sample.name,
        "hash": None,
        "id": ticket.file_id,
        "user_id": seen.account,
        "meta": {"name": sample.name, "size": sample.size, "content_type": sample.media_type, **parsed},
    }


def _check_address(rig: Rig, seen: Seen, told: Json) -> None:
    """The signed one, which came with the leave, at first; after that the plain one, which does not run out."""
    pairs = ((one, each) for one in rig.sim.site.seen for each in one.files)
    first = next(one for one, each in pairs if isinstance(each, dict) and each.get("id") == told["id"])
    assert ("?" in told["url"]) == (seen is first)


def uploads(rig: Rig) -> int:
    """How often leave was asked for; as often something was put there."""
    count = len(rig.sim.site.tickets.by_file)
    assert sum(call.operation in ("put", "complete") for call in rig.sim.site.bucket.calls) == count
    return count


def untouched(rig: Rig) -> bool:
    """The site has heard nothing of the request: no question, no chat, no leave asked for."""
    site = rig.sim.site
    return not (site.seen or site.chats or site.tickets.by_file or site.bucket.calls)


# -- a web server


class Web:
    """Serves files, and counts how often each was asked for. url: without an end."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: Counter[str] = Counter()
        self._found: dict[str, tuple[bytes, dict[str, str]]] = {}

    def put(self, sample: Sample, path: str = "", **headers: str) -> str:
        """Where it is from now on: below its name, if nothing else is said. Underscores in the names of headers stand
        for dashes."""
        return self.answer(path or f"/{sample.name}", sample.data, Content_Type=sample.media_type, **headers)

    def answer(self, path: str, body: bytes, **headers: str) -> str:
        self._found[path] = body, {name.replace("_", "-"): value for name, value in headers.items()}
        return self.url + path

    async def serve(self, request: web.BaseRequest) -> web.Response:
        self.asked[request.path] += 1
        if request.path not in self._found:
            return web.Response(status=404)
        body, headers = self._found[request.path]
        status = 302 if "Location" in headers else 200
        return web.Response(status=status, body=body, headers=headers)


@contextlib.asynccontextmanager
async def web_server() -> AsyncIterator[Web]:
    found = Web()
    runner = web.ServerRunner(web.Server(found.serve))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        found.url = f"http://{host}:{port}"
        yield found
    finally:
        await runner.cleanup()


# -- through OpenAI's client


async def answers(rig: Rig, stream: bool, *messages: Any, **body: Any) -> list[str]:
    """The text of each choice, whole or put together from a stream."""
    completions = rig.client(rig.key).chat.completions
    body = {"model": MODEL, "messages": messages, **body}
    if not stream:
        whole = await completions.create(**body)
        return [choice.message.content or "" for choice in whole.choices]
    found: dict[int, str] = {}
    async for chunk in await completions.create(**body, stream=True):
        for choice in chunk.choices:
            found[choice.index] = found.get(choice.index, "") + (choice.delta.content or "")
    return [found[index] for index in sorted(found)]


async def asked(rig: Rig, stream: bool, *messages: Any, **body: Any) -> Seen:
    """What the site got, as the only question of this request."""
    before = len(rig.sim.site.seen)
    assert await answers(rig, stream, *messages, **body) == ["ok"]
    (seen,) = rig.sim.site.seen[before:]
    return seen


async def refused(rig: Rig, stream: bool, *messages: Any, status: int = 400, **body: Any) -> tuple[str, str, str]:
    """Code, parameter and text of the error."""
    with pytest.raises(APIStatusError) as caught:
        await answers(rig, stream, *messages, **body)
    error = caught.value
    assert error.status_code == status, error
    return str(error.code), str(error.param), error.message
