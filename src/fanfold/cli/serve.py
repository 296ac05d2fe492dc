"""`fanfold serve`."""

import asyncio
import math
import os
import socket
from contextlib import nullcontext
from typing import Annotated, Any

import typer
import uvicorn
from uvicorn.importer import import_from_string

from fanfold.cli.output import Refused
from fanfold.core.config import Settings, export
from fanfold.core.crypto import KeyRing
from fanfold.core.database_urls import database_urls
from fanfold.core.garbage import uncollected
from fanfold.core.http_protocol import HttpProtocol
from fanfold.core.lazily import on_call
from fanfold.core.secret_keys import secret_keys
from fanfold.core.startup import explain_port
from fanfold.core.telemetry.logging import configure_logging, get_logger
from fanfold.resources import open_database

WORKER_ANSWERS_WITHIN_S = 60  # of a slow machine, whose workers import for longer than uvicorn's 5 s
APPLICATION = "fanfold.main:app"

SocketProtocol = on_call("fanfold.core.socket_protocol", "SocketProtocol")

_log = get_logger(__name__)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (FANFOLD_HOST).")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on (FANFOLD_PORT).")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(help="Number of processes, or auto: one for each core (FANFOLD_WORKERS).")
    ] = None,
    *,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Leave jobs to `fanfold worker` (FANFOLD_JOBS_WORKER=false).")
    ] = False,
) -> None:
    """Serve HTTP until SIGTERM or Ctrl-C."""
    given = {"HOST": host, "PORT": port, "WORKERS": workers}
    export(**{name: value for name, value in given.items() if value is not None})
    if no_worker:
        export(JOBS_WORKER=False)
    settings = Settings()
    server = settings.server
    check_port(server.host, server.port)
    KeyRing(secret_keys(settings))
    count = worker_count(server.workers)
    export(WORKERS=count)
    is_embedded = settings.database.url is None and settings.database.owner_url is None
    if count == 1:
        _run(settings, count, is_embedded=is_embedded)
        return
    # This process holds the embedded Postgres for its workers: it starts once, and ends after the last of them. And it
    # finds out what would keep them from starting, since uvicorn's parent ends with 0 whatever its workers say.
    with database_urls(settings.database) if is_embedded else nullcontext():
        asyncio.run(_prepare(settings))
        _run(settings, count, is_embedded=is_embedded)


async def _prepare(settings: Settings) -> None:
    async with open_database(settings):
        pass


def _run(settings: Settings, workers: int, *, is_embedded: bool) -> None:
    logs = configure_logging(settings)
    try:
        if is_embedded:
            _log.warning("Postgres is the embedded one. For production set FANFOLD_DATABASE_URL.")
        if workers == 1:
            with uncollected():
                import_from_string(APPLICATION)  # as uvicorn does: it finds it imported
        uvicorn.run(APPLICATION, **uvicorn_options(settings, workers))
    finally:
        logs.close()


def uvicorn_options(settings: Settings, workers: int) -> dict[str, Any]:
    """Return how uvicorn shall serve."""
    return {
        "host": settings.server.host,
        "port": settings.server.port,
        "workers": workers,
        "loop": "uvloop",
        "http": HttpProtocol,
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "ws": socket_protocol,
        "ws_max_size": settings.server.max_body_bytes,
        # A frame of 32 KB could become one of 32 MB, before anybody has said who they are.
        "ws_per_message_deflate": False,
        "timeout_graceful_shutdown": math.ceil(settings.server.drain_s),
        "timeout_worker_healthcheck": WORKER_ANSWERS_WITHIN_S,
    }


def socket_protocol(**parts: Any) -> asyncio.Protocol:
    """Return what speaks on one WebSocket. The first brings websockets, in 10 to 15 ms.

    A function of this module: uvicorn hands it to its workers by name.
    """
    made: asyncio.Protocol = SocketProtocol(**parts)
    return made


def worker_count(wanted: int | str) -> int:
    """Return how many processes shall serve; `auto` is one for each core that this process may use."""
    if wanted == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(wanted))


def check_port(host: str, port: int) -> None:
    """Refuse where nobody could listen, before anything is started."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        raise Refused(explain_port(host, port, error)) from None
