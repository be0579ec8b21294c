"""HTTP to a program that listens inside a namespace, without a process of its own for each request."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import socket
import threading

from .network import CommandFailed, Host

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def socket_on(namespace: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket that belongs to a namespace, by default for IPv4 and TCP. Only a short-lived thread enters it."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        try:
            with open(f"/run/netns/{namespace}") as handle:
                if _LIBC.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)
            made.append(socket.socket(family, kind))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def call(host: Host, port: int, method: str, path: str, body: object = None, timeout: float = 30.0) -> object:
    """One request to 127.0.0.1:`port` on `host`; gives the decoded JSON answer, raises `CommandFailed` above 299."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.sock = socket_on(host.namespace)
    connection.sock.settimeout(timeout)
    try:
        connection.sock.connect(("127.0.0.1", port))
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json", "Accept": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    except http.client.HTTPException as error:
        raise CommandFailed(f"{method} {path}: {error!r}") from error
    finally:
        connection.close()
    if answer.status > 299:
        raise CommandFailed(f"{method} {path}: {answer.status} {text}")
    return json.loads(text) if text else None
