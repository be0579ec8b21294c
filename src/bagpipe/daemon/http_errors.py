"""How the HTTP interface says what is wrong: one JSON shape, values that can be written, bodies not too large."""

from __future__ import annotations

import json

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_OCTETS = 1024 * 1024
"""Octets of a body that are taken."""
LONGEST_TEXT = 2000
TITLES = {
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def shown(value: object) -> object:
    """``value`` as it is if it can be told as JSON and is not long, else its beginning as text."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
        if len(text) <= LONGEST_TEXT:
            return value
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return ascii(value)[:LONGEST_TEXT]
    except RecursionError:
        return "nested too deeply"


def error(code: int, description: str, **more: object) -> JSONResponse:
    """The answer to what went wrong."""
    told = str(shown(description))[:LONGEST_TEXT]
    body = {"code": code, "title": TITLES.get(code, "Error"), "description": told}
    return JSONResponse({**body, **{name: shown(value) for name, value in more.items()}}, status_code=code)


class BodyLimit:
    """Refuses bodies of more than ``MOST_OCTETS`` with 413, before they are in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen = 0
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > MOST_OCTETS:
            await error(413, f"the body has more than {MOST_OCTETS} octets")(scope, receive, send)
            return

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MOST_OCTETS:
                raise HTTPException(413, f"the body has more than {MOST_OCTETS} octets")
            return message

        await self.app(scope, counted, send)
