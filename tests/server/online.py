"""The bench's application behind real sockets, as OpenAI's library and programs like curl reach it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from tests.server.admin.bench import Bench

from qwen_gateway.server.protocol import BoundedProtocol


@asynccontextmanager
async def online(bench: Bench) -> AsyncIterator[str]:
    """Its address, without `/v1`."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        bench.app, log_config=None, access_log=False, lifespan="off", ws="none", http=BoundedProtocol
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)

    def hang_up(client: object) -> None:
        for connection in list(server.server_state.connections):
            if getattr(connection, "client", None) == client:
                connection.transport.abort()

    bench.service.hang_up = hang_up
    await server.startup([listener])
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for one in server.servers:
            one.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        for task in list(server.server_state.tasks):
            task.cancel()
        await asyncio.sleep(0)
