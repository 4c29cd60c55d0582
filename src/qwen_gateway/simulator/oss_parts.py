"""Uploads in parts: begin, send, list, complete, abort.

Here: the five operations on an upload. Not here: dispatch, mishaps and signatures (`oss`).
"""

import asyncio
import xml.etree.ElementTree as ET
from urllib.parse import quote
from xml.sax.saxutils import escape

from aiohttp import web

from .digests import Digest
from .objects import Part, Stored, Upload
from .oss_refusals import OssError, xml
from .oss_visits import Visit, headers
from .tickets import BUCKET
from .times import iso

MIN_PART = 100 * 1024  # all but the last one
MAX_PARTS = 10_000
_PAGE = 1000


async def init(visit: Visit) -> web.Response:
    await visit.drain()
    ticket = visit.ticketed()
    upload = Upload(ticket.key, ticket.user, ticket.file_id, visit.content_type(), ticket.size)
    visit.site.bucket.uploads[upload.id] = upload
    return xml(f"<InitiateMultipartUploadResult>{_about(visit, upload)}</InitiateMultipartUploadResult>")


async def part(visit: Visit) -> web.Response:
    upload = _open(visit)
    number = visit.call.number
    if number is None or not 1 <= number <= MAX_PARTS:
        raise OssError("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive.")
    digest = Digest(keep=0)
    places: list[tuple[int, int]] = []

    def take(data: bytes) -> None:
        if upload.shelf.closed:
            raise OssError("NoSuchUpload")
        upload.received += len(data)
        digest.take(data)
        places.append(upload.shelf.put(data))

    await visit.read(take)
    if upload.state != "open":
        raise OssError("NoSuchUpload")
    done = upload.parts[number] = Part(number, digest.size, digest.md5, digest.crc64, places)
    return web.Response(headers=headers(done.etag, done.crc64))


async def listing(visit: Visit) -> web.Response:
    upload = _open(visit)
    marker = _whole(visit.asked.parameter("part-number-marker"), 0)
    most = min(_whole(visit.asked.parameter("max-parts"), _PAGE), _PAGE)
    rest = [upload.parts[number] for number in sorted(upload.parts) if number > marker]
    told = "".join(
        f"<Part><PartNumber>{one.number}</PartNumber><LastModified>{iso(upload.begun)}</LastModified>"
        f"<ETag>{escape(one.etag)}</ETag><HashCrc64ecma>{one.crc64}</HashCrc64ecma><Size>{one.size}</Size></Part>"
        for one in rest[:most]
    )
    last = rest[:most][-1].number if rest[:most] else marker
    return xml(
        f"<ListPartsResult>{_about(visit, upload)}<PartNumberMarker>{marker}</PartNumberMarker>"
        f"<NextPartNumberMarker>{last}</NextPartNumberMarker><MaxParts>{most}</MaxParts>"
        f"<IsTruncated>{str(len(rest) > most).lower()}</IsTruncated>{told}</ListPartsResult>"
    )


async def complete(visit: Visit) -> web.Response:
    upload = _open(visit)
    body = bytearray()
    await visit.read(body.extend)
    parts = _chosen(visit, upload, bytes(body))
    if upload.state != "open":
        raise OssError("NoSuchUpload")
    upload.state = "completed"
    bucket = visit.site.bucket
    # A client that goes away now has completed it none the less.
    joining = asyncio.create_task(asyncio.to_thread(upload.joined, parts))
    bucket.joining.add(joining)
    joining.add_done_callback(bucket.joining.discard)
    joining.add_done_callback(lambda task: _keep(bucket.objects, upload, task))
    one = await asyncio.shield(joining)
    place = f"<Location>{escape(upload.key)}</Location>{_about(visit, upload)}<ETag>{escape(one.etag)}</ETag>"
    answer = xml(f"<CompleteMultipartUploadResult>{place}</CompleteMultipartUploadResult>")
    answer.headers.update(headers(one.etag, one.crc64))
    return answer


def _keep(objects: dict[str, Stored], upload: Upload, joined: asyncio.Task[Stored]) -> None:
    upload.end("completed")
    if not joined.cancelled() and joined.exception() is None:
        objects[upload.key] = joined.result()


async def abort(visit: Visit) -> web.Response:
    _open(visit).end("aborted")
    return web.Response(status=204, headers=headers())


def _open(visit: Visit) -> Upload:
    upload = visit.site.bucket.uploads.get(visit.call.upload or "")
    if upload is None or upload.key != visit.asked.key or upload.state != "open":
        raise OssError("NoSuchUpload", UploadId=visit.call.upload or "")
    return upload


def _chosen(visit: Visit, upload: Upload, body: bytes) -> list[Part]:
    """The parts that the client wants joined, each as it was answered."""
    if visit.asked.header("x-oss-complete-all") == "yes":
        chosen = [upload.parts[number] for number in sorted(upload.parts)]
    else:
        chosen = [_named(upload, number, tag) for number, tag in _listed(body)]
    if not chosen:
        raise OssError("MalformedXML")
    numbers = [one.number for one in chosen]
    if numbers != sorted(set(numbers)):
        raise OssError("InvalidPartOrder")
    small = [one for one in chosen[:-1] if one.size < MIN_PART]
    if small:
        raise OssError("EntityTooSmall", PartNumber=str(small[0].number), MinSizeAllowed=str(MIN_PART))
    return chosen


def _listed(body: bytes) -> list[tuple[int, str]]:
    try:
        root = ET.fromstring(body)  # noqa: S314 - from a client of this very test
        return [(int(one.findtext("PartNumber", "")), one.findtext("ETag", "")) for one in root.iter("Part")]
    except (ET.ParseError, ValueError) as error:
        raise OssError("MalformedXML") from error


def _named(upload: Upload, number: int, tag: str) -> Part:
    found = upload.parts.get(number)
    if found is None or found.etag.strip('"') != tag.strip().strip('"').upper():
        raise OssError("InvalidPart", PartNumber=str(number))
    return found


def _about(visit: Visit, upload: Upload) -> str:
    encoded = visit.asked.parameter("encoding-type") == "url"
    key = quote(upload.key, safe="") if encoded else upload.key
    kind = "<EncodingType>url</EncodingType>" if encoded else ""
    return f"{kind}<Bucket>{BUCKET}</Bucket><Key>{escape(key)}</Key><UploadId>{upload.id}</UploadId>"


def _whole(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default
