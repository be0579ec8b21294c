"""``bagpipe-looking-glass``: a part of the looking glass as indented text.

``*`` begins an item of a list, ``(...)`` stands for a resource of its own, ``-`` for an empty list or object. With
``--recurse`` the resources below the path are shown in their places. Options and text are those of networking-bagpipe.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from bagpipe.cli.client import Client, ClientError

LINK = "(...)"
EMPTY = "-"
Fetch = Callable[[str], Any]
"""The value at a path of the server. Raises LookupError where there is none."""


class Glass:
    """Turns values into lines. ``fetch`` None: links are not followed."""

    def __init__(self, path: str, fetch: Fetch | None = None) -> None:
        self._path = path.rstrip("/")
        self._fetch = fetch

    def lines(self, value: object) -> list[str]:
        """A value, a line each, not indented."""
        return self._lines(value, self._path)

    def _lines(self, value: object, path: str) -> list[str]:
        if isinstance(value, dict) and value:
            return [line for key, held in value.items() for line in self._entry(str(key), held, path)]
        if isinstance(value, list) and value:
            return [line for item in value for line in self._item(item, path)]
        if isinstance(value, dict | list):
            return [EMPTY]
        return str(value).splitlines() or [""]

    def _entry(self, key: str, value: object, path: str) -> list[str]:
        href = _href(value)
        if href is not None:
            return self._linked(f"{key}: ", value, href, path)
        lines = self._lines(value, path)
        if len(lines) == 1 and (not isinstance(value, dict | list) or not value):
            return [f"{key}: {lines[0]}"]
        return [f"{key}: ", *_indented(lines, 2)]

    def _item(self, value: object, path: str) -> list[str]:
        href = _href(value)
        if href is not None:
            return self._linked("* ", value, href, path)
        lines = self._lines(value, path)
        return [f"* {lines[0]}", *_indented(lines[1:], 2)]

    def _linked(self, head: str, value: object, href: str, path: str) -> list[str]:
        """A resource of its own: its name and a mark, or with ``--recurse`` what is in it."""
        held = dict(value) if isinstance(value, dict) else {}
        del held["href"]
        name = str(held.pop("id", ""))
        target = unquote(urlsplit(href).path).rstrip("/")
        if self._fetch is not None and target.startswith(f"{path}/"):
            try:
                lines = self._lines(self._fetch(target), target)
            except LookupError:
                return [f"{head}{name} (no such looking glass path)"]
            return [f"{head}{EMPTY}"] if lines == [EMPTY] and not name else [f"{head}{name}", *_indented(lines, 4)]
        rest = self._lines(held, path) if held else []
        return [f"{head}{name} {LINK}", *_indented(rest, 2)]


def _href(value: object) -> str | None:
    href = value.get("href") if isinstance(value, dict) else None
    return href if isinstance(href, str) else None


def _indented(lines: Sequence[str], columns: int) -> list[str]:
    return [" " * columns + line for line in lines]


def address_of(server: str, port: int) -> str:
    """The server of a host name or address and a port, as :class:`Client` takes it; a ``unix:PATH`` as it is."""
    if server.startswith(("unix:", "http://")):
        return server
    return f"http://[{server}]:{port}" if ":" in server else f"http://{server}:{port}"


def fetch_from(client: Client, path: str) -> Any:
    """The JSON at a path. Raises ClientError, and LookupError where there is nothing."""
    answer = client.exchange("GET", quote(path, safe="/"))
    if answer.status == http.client.NOT_FOUND:
        raise LookupError(path)
    if answer.status != http.client.OK:
        raise ClientError(f"{client.server}: {answer.status}: {answer.fault}")
    try:
        return answer.json
    except ValueError as error:
        raise ClientError(f"{client.server}: the answer is not JSON: {error}") from error


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """``--port`` and ``--prefix``, the same for the programs that read the looking glass."""
    parser.add_argument("--port", type=int, default=8082, help="port of bagpipe-bgp (default: 8082)")
    parser.add_argument("--prefix", default="looking-glass", help="path of the looking glass (default: looking-glass)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Show a part of the looking glass. The status is 0 for a path that is not there as well, 1 without an answer."""
    parser = argparse.ArgumentParser(
        prog="bagpipe-looking-glass",
        description="A part of the looking glass of bagpipe-bgp.",
        epilog="e.g.: bagpipe-looking-glass vpns instances",
    )
    parser.add_argument("--server", default="127.0.0.1", help="address of bagpipe-bgp (default: 127.0.0.1)")
    add_server_options(parser)
    parser.add_argument("-r", "--recurse", action="store_true", help="show everything below the path as well")
    parser.add_argument("path", nargs="*", help="path to an object, in parts or with slashes")
    asked = parser.parse_args(arguments)
    path = "/".join(["", asked.prefix.strip("/"), *(part for one in asked.path for part in one.split("/") if part)])
    try:
        client = Client(address_of(asked.server, asked.port))
        try:
            value = fetch_from(client, path if asked.path else f"{path}/")
        except LookupError:
            print(f"No such looking glass path: {' '.join(asked.path)}\n({client.server}{path})")
            return 0
        fetch = (lambda below: fetch_from(client, below)) if asked.recurse else None
        print("\n".join(Glass(path, fetch).lines(value)), flush=True)
    except ClientError as error:
        print(f"bagpipe-looking-glass: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
