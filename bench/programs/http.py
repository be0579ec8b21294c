"""One GET from a program's API inside its namespace."""

from __future__ import annotations

import http.client

from bench.lab import Lab
from bench.programs.program import CounterFailed


def fetch(lab: Lab, port: int, path: str, timeout: float = 30.0) -> str:
    """The body of a 200 answer from the loopback of the program's end. Raises ``CounterFailed``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.sock = lab.local(port, timeout)
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise CounterFailed(f"GET {path}: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise CounterFailed(f"GET {path}: status {answer.status}: {body[:200]}")
    return body
