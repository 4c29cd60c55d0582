"""Routes of files that callers keep here, whole or in parts: OpenAI's, and two of the earlier bridge's.

They ask nothing of the site, but for `getstsToken`. Like turns, they count against what the caller's key may use.
"""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import Route

from qwen_gateway.dialects import openai_files, qwen_compat_files
from qwen_gateway.relay import file_pieces
from qwen_gateway.relay.file_ports import StoredFile
from qwen_gateway.relay.files import Offered
from qwen_gateway.server.body import read_body
from qwen_gateway.server.file_endpoint import Asked, Download, FileEndpoint
from qwen_gateway.server.form_parts import FormLimits
from qwen_gateway.server.forms import close_form, read_form
from qwen_gateway.server.service import Service
from qwen_gateway.turn.contracts import Form, FormFile
from qwen_gateway.turn.faults import InvalidRequest

SMALL = 1024 * 1024
"""Bytes of a body of JSON: the ids of ten thousand parts are half as many."""


class FileRoutes:
    def __init__(self, service: Service) -> None:
        self._service, self._desk = service, service.desk

    def add_to(self, app: FastAPI) -> None:
        for method, path, serve in (
            ("POST", "/v1/files", self.keep),
            ("GET", "/v1/files", self.list),
            ("POST", "/v1/files/upload", self.keep_as_before),
            ("GET", "/v1/files/{id}", self.file),
            ("DELETE", "/v1/files/{id}", self.remove),
            ("GET", "/v1/files/{id}/content", self.content),
            ("POST", "/v1/uploads", self.begin),
            ("POST", "/v1/uploads/{id}/parts", self.add_part),
            ("POST", "/v1/uploads/{id}/complete", self.complete),
            ("POST", "/v1/uploads/{id}/cancel", self.cancel),
            ("POST", "/v2/files/getstsToken", self.ticket),
        ):
            route = Route(path, FileEndpoint(self._service, serve), methods=[method], include_in_schema=False)
            app.router.routes.append(route)

    # -- files

    async def keep(self, asked: Asked) -> bytes:
        form = await self._form(asked, self._desk.form_limits("file"))
        try:
            keeping, sent = openai_files.read_keeping(form.fields), _only_file(form, "file")
            offered = Offered(sent.name, sent.media_type, keeping.purpose, keeping.seconds, "file")
            return openai_files.file(await self._desk.files.add(asked.tenant, offered, sent.content))
        finally:
            close_form(form)

    async def keep_as_before(self, asked: Asked) -> bytes:
        form = await self._form(asked, self._desk.form_limits("file"))
        try:
            sent = _only_file(form, "file")
            offered = Offered(sent.name, sent.media_type, qwen_compat_files.PURPOSE, None, "file")
            file = await self._desk.files.add(asked.tenant, offered, sent.content)
        finally:
            close_form(form)
        return qwen_compat_files.uploaded(file, _address(asked.request, file))

    async def list(self, asked: Asked) -> bytes:
        page = openai_files.read_page(asked.request.query_params)
        found = await self._desk.files.list(
            asked.tenant, limit=page.limit, after=page.after, order=page.order, purpose=page.purpose
        )
        return openai_files.listing(found.files, more=found.more)

    async def file(self, asked: Asked) -> bytes:
        return openai_files.file(await self._desk.files.get(asked.tenant, asked.id))

    async def remove(self, asked: Asked) -> bytes:
        await self._desk.files.remove(asked.tenant, asked.id)
        return openai_files.deleted(asked.id)

    async def content(self, asked: Asked) -> Download:
        file = await self._desk.files.get(asked.tenant, asked.id)
        return Download(file, await self._desk.files.content(file))

    # -- uploads in parts

    async def begin(self, asked: Asked) -> bytes:
        new = openai_files.read_upload(await self._body(asked))
        offered = Offered(new.filename, new.mime_type, new.purpose, new.keeping.seconds, "bytes")
        return openai_files.upload(await self._desk.pieces.begin(asked.tenant, offered, new.size))

    async def add_part(self, asked: Asked) -> bytes:
        form = await self._form(asked, self._desk.form_limits("data", file_pieces.LARGEST))
        try:
            content = _only_file(form, "data").content
            return openai_files.part(await self._desk.pieces.add(asked.tenant, asked.id, content))
        finally:
            close_form(form)

    async def complete(self, asked: Asked) -> bytes:
        wish = openai_files.read_completion(await self._body(asked))
        return openai_files.upload(*await self._desk.pieces.complete(asked.tenant, asked.id, wish.part_ids, wish.md5))

    async def cancel(self, asked: Asked) -> bytes:
        return openai_files.upload(await self._desk.pieces.cancel(asked.tenant, asked.id))

    # -- the site's own storage

    async def ticket(self, asked: Asked) -> bytes:
        facts = qwen_compat_files.read_ticket(await self._body(asked))
        caller, accounts = asked.caller, self._service.accounts_of(asked.caller)
        ticket = await self._desk.tickets.ask(accounts, facts, caller=caller.key.id if caller.key is not None else "")
        return qwen_compat_files.ticket(ticket, asked.request.scope["request_id"])

    # -- what was sent

    async def _form(self, asked: Asked, limits: FormLimits) -> Form:
        return await read_form(asked.request.receive, asked.request.scope["headers"], self._desk.spool, limits)

    async def _body(self, asked: Asked) -> bytes:
        return await read_body(asked.request.receive, asked.request.scope["headers"], SMALL)


def _only_file(form: Form, field: str) -> FormFile:
    found = [file for file in form.files if file.field == field]
    if len(found) != 1:
        raise InvalidRequest(
            f"`{field}`: send one file, as `curl -F '{field}=@path'` does.",
            param=field,
            code="too_many_files" if found else "missing_required_parameter",
        )
    return found[0]


def _address(request: Request, file: StoredFile) -> str:
    """Where the file can be had, by the way on which the request came."""
    asked = str(request.scope["asked_path"])
    before = asked.partition("/files/upload")[0].rstrip("/").removesuffix("/v1")
    return f"{str(request.base_url).rstrip('/')}{before}/v1/files/{file.id}/content"
