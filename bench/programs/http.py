"""One request to a program's API inside its namespace."""

from __future__ import annotations

import http.client
import json

from bench.lab import Lab
from bench.programs.program import CounterFailed


def fetch(lab: Lab, port: int, path: str, timeout: float = 30.0) -> str:
    """The body of a 200 answer from the loopback of the program's end. Raises ``CounterFailed``."""
    return _request(lab, port, "GET", path, None, timeout)


def post(lab: Lab, port: int, path: str, body: object, timeout: float = 60.0) -> str:
    """The same of a POST with a JSON body."""
    return _request(lab, port, "POST", path, json.dumps(body), timeout)


def _request(lab: Lab, port: int, method: str, path: str, body: str | None, timeout: float) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": "application/json"})
    try:
        connection.sock = lab.local(port, timeout)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise CounterFailed(f"{method} {path}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise CounterFailed(f"{method} {path}: status {answer.status}: {said[:300]}")
    return said
