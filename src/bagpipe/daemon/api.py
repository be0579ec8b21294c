"""The HTTP interface: /v2 for programs, the looking glass for people, /ping and v1 for agents, /metrics.

Everything runs on the speaker's own loop. Long answers are sent in pieces with a turn of the loop between them. What a
caller asks wrongly is answered with 400, the field and the value.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from bagpipe import __version__
from bagpipe.daemon import looking_glass
from bagpipe.daemon.api_page import page
from bagpipe.daemon.api_v1 import add_v1
from bagpipe.daemon.api_v2 import add_v2
from bagpipe.daemon.event_stream import EventStreams
from bagpipe.daemon.http_errors import BodyLimit, shown
from bagpipe.daemon.http_errors import error as error_answer
from bagpipe.daemon.pieces import Pieces, in_pieces
from bagpipe.daemon.views import Seen, counts_view, health_view, peer_view, route_view
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import RouteDistinguisher, RouteTarget
from bagpipe.speaker import RouteRow
from bagpipe.wire.family import CARRIED, NAMES, Family

LOG = logging.getLogger(__name__)
GLASS = "/looking-glass"


def family_from_text(text: str) -> Family:
    """A family by its name. Raises LocalMisuse."""
    for family in CARRIED:
        if NAMES[family] == text.lower():
            return family
    raise LocalMisuse("family", text, f"no such family; there are {', '.join(NAMES[f] for f in CARRIED)}")


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
    if seen.forwarding is not None:
        add_v1(app, seen.forwarding, seen.attach_timeout)
        add_v2(app, seen.forwarding)
    _add_looking_glass(app, seen)
    app.add_api_route("/v2", lambda: HTMLResponse(page(app.openapi())), methods=["GET"], include_in_schema=False)
    app.add_middleware(BodyLimit)
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(LocalMisuse)
    async def misuse(_: Request, error: LocalMisuse) -> Response:
        return error_answer(400, f"API error: {error}", field=error.field, value=error.value)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or "body"
        value = shown(first.get("input"))
        return error_answer(400, f"API error: {field}: {value!r}: {first['msg']}", field=field, value=value)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        LOG.error("the HTTP interface failed", exc_info=error)
        return error_answer(500, "internal error, see the log")

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        return error_answer(error.status_code, str(error.detail))


def _add_programs(app: FastAPI, seen: Seen, streams: EventStreams) -> None:
    @app.get("/", include_in_schema=False)
    async def root() -> dict[str, str]:
        return {}

    @app.post("/ping", include_in_schema=False)
    @app.get("/ping", summary="A number that stays the same as long as the process lives")
    async def ping() -> Response:
        return Response(str(seen.process), media_type="application/json")

    @app.get("/v2/peers", summary="The neighbours and their sessions")
    async def peers() -> dict[str, object]:
        return {"peers": [peer_view(peer, seen.now) for peer in seen.speaker.peers.values()]}

    @app.get("/v2/routes", summary="Every path held, best first")
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

    @app.get("/v2/counts", summary="How much is held")
    async def counts() -> dict[str, object]:
        return counts_view(seen)

    @app.get("/v2/health", summary="Whether everything works, and what does not")
    async def health() -> dict[str, object]:
        return health_view(seen)

    @app.get("/v2/events", summary="What happens, as server-sent events")
    async def events() -> Response:
        stream = streams.open()
        if stream is None:
            return error_answer(503, "too many watchers")
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.get("/metrics", summary="Metrics for Prometheus")
    async def metrics() -> Response:
        from bagpipe.daemon.metrics import exposition  # noqa: PLC0415 - 10 MB, only when asked for

        body, media_type = exposition(seen)
        return Response(body, media_type=media_type)


def _add_looking_glass(app: FastAPI, seen: Seen) -> None:
    async def glass(request: Request, path: str = "") -> Response:
        base = str(request.base_url).rstrip("/") + GLASS

        def href(parts: list[str]) -> str:
            return "/".join([base, *(quote(part, safe=":") for part in parts)])

        parts = [part for part in path.split("/") if part]
        try:
            value = looking_glass.look(seen, parts, href)
        except LookupError:
            return error_answer(404, "no such looking glass path")
        if isinstance(value, looking_glass.RouteListing):
            return StreamingResponse(_all_routes(seen, value, href), media_type="application/json")
        if isinstance(value, Pieces):
            return StreamingResponse(value.text(), media_type="application/json")
        return JSONResponse(value)

    async def nothing(_: Request) -> Response:
        return error_answer(404, "Not Found")

    for path in (GLASS, GLASS + "/"):
        app.add_api_route(path, glass, methods=["GET"], include_in_schema=False)
    # networking-bagpipe answers other methods below the root of the looking glass with 404, at the root with 405.
    below = GLASS + "/{path:path}"
    app.add_api_route(below, glass, methods=["GET"], summary="The looking glass of networking-bagpipe")
    app.add_api_route(below, _below_root(nothing), methods=["POST", "PUT", "DELETE", "PATCH"], include_in_schema=False)


def _below_root(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request, str], Awaitable[Response]]:
    async def answer(request: Request, path: str) -> Response:
        if not path:
            return error_answer(405, "Method Not Allowed")
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
