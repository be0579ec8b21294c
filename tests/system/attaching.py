"""A daemon to attach to: requests, bodies, and what is there afterwards."""

from __future__ import annotations

import http.client
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.system.running import DAEMON, Program, address, free_port


class Node:
    """A daemon with the HTTP interface on ``port`` and its files in ``folder``."""

    def __init__(self, folder: Path, *, bgp: str = "", more: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self.file = folder / "bgp.conf"
        self.file.write_text(
            f"[BGP]\nlocal_address={address(3)}\nmy_as=64512\n{bgp}\n[API]\nport={self.port}\nattach_timeout=2\n"
            f"[COMMON]\nstate_dir={folder / 'state'}\n{more}\n"
        )
        self.connection: http.client.HTTPConnection | None = None
        self.used = 0.0

    def start(self) -> Program:
        self.connection = None
        return Program(DAEMON, "--config-file", str(self.file), log=self.folder / "log")

    def raw(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """A request over one lasting connection."""
        if self.connection is None or time.monotonic() - self.used > 3:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.connection.request(method, path, body, {"Content-Type": "application/json", "Accept": "application/json"})
        response = self.connection.getresponse()
        text = response.read()
        self.used = time.monotonic()
        return response.status, json.loads(text)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        return self.raw(method, path, None if body is None else json.dumps(body).encode())

    def attach(self, body: dict[str, Any]) -> tuple[int, Any]:
        return self.call("POST", "/attach_localport", body)

    def detach(self, body: dict[str, Any]) -> tuple[int, Any]:
        return self.call("POST", "/detach_localport", body)

    def everything(self) -> dict[str, Any]:
        """All that a request could have changed."""
        paths = ("/v2/attachments", "/v2/instances", "/v2/routes", "/v2/audit", "/looking-glass/vpns")
        found = {path: self.call("GET", path)[1] for path in paths}
        found["/v2/routes"]["routes"].sort(key=lambda route: route["nlri"])
        return found

    def labels(self) -> dict[str, Any]:
        """The identifiers of every endpoint."""
        found = {}
        for entry in self.call("GET", "/v2/instances")[1]["instances"]:
            instance = self.call("GET", f"/v2/instances/{entry['id']}")[1]
            for one in instance["endpoints"]:
                where = f"{entry['id']} {one['mac_address']} {one['ip_address']}"
                found[where] = (entry["name"], one["label"], one["rd"], one["endpoint_rd"])
        return found

    @property
    def journal(self) -> int:
        """How many attachments the journal has."""
        with sqlite3.connect(f"file:{self.folder / 'state' / 'journal.db'}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM attachment").fetchone()[0])


@pytest.fixture(scope="module", name="shared")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node whose daemon runs while the tests of a file do, without a traceback."""
    made = Node(tmp_path_factory.mktemp("node"))
    with made.start() as daemon:
        daemon.wait_started()
        yield made
        assert "Traceback" not in daemon.text


@pytest.fixture(name="node")
def empty_node(shared: Node) -> Iterator[Node]:
    """The shared node with nothing attached."""
    yield shared
    for one in shared.call("GET", "/v2/attachments")[1]["attachments"]:
        assert shared.call("DELETE", f"/v2/attachments/{quote(one['id'], safe='')}")[0] == 200


def body(number: int = 2, instance: str = "net1", **more: Any) -> dict[str, Any]:
    return {
        "vpn_instance_id": instance,
        "vpn_type": "ipvpn",
        "import_rt": ["64512:1"],
        "export_rt": ["64512:1"],
        "mac_address": f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}",
        "ip_address": f"10.0.{number >> 8}.{number & 255}",
        "gateway_ip": "10.0.255.254",
        "local_port": {"linuxif": f"tap-{instance}-{number}", "ovs": {"plugged": True}},
        "network_id": "ignored",
        **more,
    }


def body_v2(number: int = 2, instance: str = "net1", **more: Any) -> dict[str, Any]:
    return {
        "instance": {"id": instance, "import_rts": ["64512:1"], "export_rts": ["64512:1"]},
        "port": {"name": f"tap-{instance}-{number}"},
        "mac": f"fa:16:3e:01:00:{number:02x}",
        "addresses": [f"10.1.0.{number}/24", f"2001:db8::{number:x}"],
        **more,
    }


def detachment(attachment: dict[str, Any], **more: Any) -> dict[str, Any]:
    kept = ("vpn_instance_id", "vpn_type", "mac_address", "ip_address", "local_port")
    return {**{name: attachment[name] for name in kept}, **more}
