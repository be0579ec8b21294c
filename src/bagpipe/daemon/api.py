"""The read-only HTTP interface: /v2 for programs, the looking glass for people, /ping for agents, /metrics.

Everything runs on the speaker's own loop. Long answers are sent in pieces with a turn of the loop between them. What a
caller asks wrongly is answered with 400, the field and the value.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from bagpipe import __version__
from bagpipe.daemon import looking_glass
from bagpipe.daemon.event_stream import EventStreams
from bagpipe.daemon.views import Seen, counts_view, health_view, peer_view, route_view
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import RouteDistinguisher, RouteTarget
from bagpipe.speaker import RouteRow
from bagpipe.wire.family import CARRIED, NAMES, Family

LOG = logging.getLogger(__name__)
BATCH = 100
"""Routes looked at in one turn of the loop: about 2 ms."""
TITLES = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
GLASS = "/looking-glass"


def _error(code: int, description: str, **more: object) -> JSONResponse:
    body = {"code": code, "title": TITLES.get(code, "Error"), "description": description, **more}
    return JSONResponse(body, status_code=code)


def family_from_text(text: str) -> Family:
    """A family by its name. Raises LocalMisuse."""
    for family in CARRIED:
        if NAMES[family] == text.lower():
            return family
    raise LocalMisuse("family", text, f"no such family; there are {', '.join(NAMES[f] for f in CARRIED)}")


async def in_pieces(head: str, items: Iterable[dict[str, object] | None], tail: str) -> AsyncIterator[str]:
    """``head``, the items as JSON with commas between, and ``tail``, letting others have a turn between batches.

    None stands for an item that was looked at and is not told.
    """
    yield head
    pieces: list[str] = []
    comma = ""
    for number, item in enumerate(items, 1):
        if item is not None:
            pieces.append(comma + json.dumps(item))
            comma = ",\n"
        if number % BATCH == 0:
            if pieces:
                yield "".join(pieces)
                pieces.clear()
            await asyncio.sleep(0)
    yield "".join(pieces)
    yield tail


def _window(rows: Iterator[RouteRow], offset: int, limit: int | None) -> Iterator[dict[str, object] | None]:
    for number, row in enumerate(rows):
        if limit is not None and number >= offset + limit:
            return
        yield route_view(row) if number >= offset else None


def build(seen: Seen, streams: EventStreams) -> FastAPI:
    """The application."""
    app = FastAPI(
        title="bagpipe-bgp", version=__version__, docs_url=None, redoc_url=None, openapi_url="/v2/openapi.json"
    )
    _add_errors(app)
    _add_programs(app, seen, streams)
    _add_looking_glass(app, seen)
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(LocalMisuse)
    async def misuse(_: Request, error: LocalMisuse) -> Response:
        return _error(400, f"API error: {error}", field=error.field, value=error.value)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field, value = str(first["loc"][-1]), first.get("input")
        return _error(400, f"API error: {field}: {value!r}: {first['msg']}", field=field, value=value)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        LOG.error("the HTTP interface failed", exc_info=error)
        return _error(500, "internal error, see the log")

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, str(error.detail))


def _add_programs(app: FastAPI, seen: Seen, streams: EventStreams) -> None:
    @app.get("/")
    async def root() -> dict[str, str]:
        return {}

    @app.api_route("/ping", methods=["GET", "POST"])
    async def ping() -> Response:
        return Response(str(seen.process), media_type="application/json")

    @app.get("/v2/peers")
    async def peers() -> dict[str, object]:
        return {"peers": [peer_view(peer, seen.now) for peer in seen.speaker.peers.values()]}

    @app.get("/v2/routes")
    async def routes(request: Request, limit: int | None = None, offset: int = 0) -> Response:
        asked = request.query_params
        for name, number in (("limit", limit), ("offset", offset)):
            if number is not None and number < 0:
                raise LocalMisuse(name, number, "not 0 or more")
        for name in asked:
            if name not in {"family", "rt", "rd", "limit", "offset"}:
                raise LocalMisuse(name, asked[name], "no such filter; there are family, rt, rd, limit and offset")
        family = family_from_text(asked["family"]) if "family" in asked else None
        target = RouteTarget.from_text(asked["rt"], "rt") if "rt" in asked else None
        distinguisher = RouteDistinguisher.from_text(asked["rd"], "rd") if "rd" in asked else None
        rows = seen.speaker.routes(family, target, distinguisher)
        items = _window(rows, offset, limit)
        return StreamingResponse(in_pieces('{"routes": [', items, "]}\n"), media_type="application/json")

    @app.get("/v2/counts")
    async def counts() -> dict[str, object]:
        return counts_view(seen)

    @app.get("/v2/health")
    async def health() -> dict[str, object]:
        return health_view(seen)

    @app.get("/v2/events")
    async def events() -> Response:
        stream = streams.open()
        if stream is None:
            return _error(503, "too many watchers")
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.get("/metrics")
    async def metrics() -> Response:
        from bagpipe.daemon.metrics import exposition  # noqa: PLC0415 - 10 MB, only when asked for

        body, media_type = exposition(seen)
        return Response(body, media_type=media_type)


def _add_looking_glass(app: FastAPI, seen: Seen) -> None:
    async def glass(request: Request, path: str = "") -> Response:
        base = str(request.base_url).rstrip("/") + GLASS

        def href(parts: list[str]) -> str:
            return "/".join([base, *parts])

        parts = [part for part in path.split("/") if part]
        try:
            value = looking_glass.look(seen, parts, href)
        except LookupError:
            return _error(404, "no such looking glass path")
        if isinstance(value, looking_glass.RouteListing):
            return StreamingResponse(_all_routes(seen, value, href), media_type="application/json")
        return JSONResponse(value)

    async def nothing(_: Request) -> Response:
        return _error(404, "Not Found")

    app.add_api_route(GLASS, glass, methods=["GET"])
    app.add_api_route(GLASS + "/", glass, methods=["GET"])
    # networking-bagpipe answers other methods below the root of the looking glass with 404, at the root with 405.
    app.add_api_route(GLASS + "/{path:path}", glass, methods=["GET"])
    app.add_api_route(GLASS + "/{path:path}", _below_root(nothing), methods=["POST", "PUT", "DELETE", "PATCH"])


def _below_root(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request, str], Awaitable[Response]]:
    async def answer(request: Request, path: str) -> Response:
        if not path:
            return _error(405, "Method Not Allowed")
        return await handler(request)

    return answer


async def _all_routes(
    seen: Seen, listing: looking_glass.RouteListing, href: Callable[[list[str]], str]
) -> AsyncIterator[str]:
    comma = "{"
    for family in CARRIED:
        rows = looking_glass.wanted_rows(seen, family, listing)
        entries = (None if row is None else looking_glass.route_entry(row, family, href) for row in rows)
        async for piece in in_pieces(f"{comma}{json.dumps(looking_glass.family_key(family))}: [", entries, "]"):
            yield piece
        comma = ",\n"
    yield "}\n"


class ApiServer:
    """Uvicorn on the running loop, without its signal handlers and its access log."""

    def __init__(self, seen: Seen, sock: socket.socket) -> None:
        self._streams = EventStreams(seen)
        self._config = uvicorn.Config(
            build(seen, self._streams),
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            date_header=False,
            server_header=False,
            loop="none",
            http="h11",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(self._config)
        self._socket = sock

    async def start(self) -> None:
        """Serve. Uvicorn's own main loop is left out: it only wakes up ten times a second to look for a signal."""
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup(sockets=[self._socket])

    async def close(self) -> None:
        """Stop serving; answers under way have half a second."""
        self._streams.close()
        try:
            await asyncio.wait_for(self._server.shutdown(sockets=[]), 0.5)
        except TimeoutError:
            self._server.force_exit = True
