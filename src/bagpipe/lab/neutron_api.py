"""Neutron's HTTP API as the lab calls it: JSON over the unix socket of the controller."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bagpipe.lab.hosts import LabFault

Resource = dict[str, Any]
PATIENCE = 60.0
"""Seconds that an answer may take."""


class ApiFault(LabFault):
    """Neutron refused; ``status`` is that of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


class NeutronApi:
    """Calls by path below ``/v2.0/``, such as ``networks`` or ``bgpvpn/bgpvpns/ID/network_associations``.

    What a call takes and gives is the resource itself, without the key that wraps it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of the answer as it is, None for an empty one. Raises ApiFault, OSError."""
        connection = _UnixConnection(self._path)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, f"/v2.0/{path}", text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise ApiFault(answer.status, f"{method} {path}: {answer.status} {said.decode(errors='replace')}")
        return json.loads(said) if said else None

    def get(self, path: str) -> Any:
        """A resource or a list of them. Raises ApiFault, OSError."""
        return _unwrapped(self.call("GET", path))

    def post(self, path: str, **values: object) -> Resource:
        """Create a resource. Raises ApiFault, OSError."""
        created: Resource = _unwrapped(self.call("POST", path, {_singular(path): values}))
        return created

    def put(self, path: str, values: Mapping[str, object], kind: str | None = None) -> Resource:
        """Change a resource, whose path ends in its identifier; ``kind`` wraps the body, none for a bare one."""
        wrapped = values if kind is None else {kind: values}
        changed: Resource = _unwrapped(self.call("PUT", path, wrapped))
        return changed

    def delete(self, path: str) -> None:
        """Delete a resource. Raises ApiFault, OSError."""
        self.call("DELETE", path)


def _singular(path: str) -> str:
    return path.rpartition("/")[2].replace("-", "_").removesuffix("s")


def _unwrapped(answer: Any) -> Any:
    if isinstance(answer, dict):
        keys = [key for key in answer if not key.endswith("_links")]
        if len(keys) == 1:
            return answer[keys[0]]
    return answer
