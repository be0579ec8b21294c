"""Daemons to be told: ours and the one of networking-bagpipe, on loopback, with a dummy dataplane; and attachments."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from bagpipe.neutron.agent.link import Attachment, DaemonLink, LinkSettings, LocalPort
from tests.interop.harness.reference import reference_program
from tests.system.attaching import Node
from tests.system.running import Program, address, free_port, wait_for

NET = "11111111-2222-3333-4444-555555555555"
OWNER = "neutron"


def port_id(number: int) -> str:
    return f"aaaaaaaa-0000-0000-0000-{number:012x}"


def attachment(number: int = 1, **more: Any) -> Attachment:
    """The attachment of one port of the network, 10.0.x.y, with its own MAC."""
    fields: dict[str, Any] = {
        "port_id": port_id(number),
        "instance_id": f"ipvpn_{NET}",
        "type": "ipvpn",
        "mac": f"fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}",
        "addresses": (f"10.0.{number >> 8}.{number & 255}/32",),
        "gateways": ("10.0.255.254",),
        "import_rts": frozenset({"64512:1"}),
        "export_rts": frozenset({"64512:1"}),
        "local_port": LocalPort("patch2tun:5", number=3, vlan=5),
        "description": {"port": port_id(number)},
        "instance_description": f"BGPVPN ipvpn associations for net {NET}",
    }
    return Attachment(**{**fields, **more})


class Ours:
    """Our daemon; it may be started again and again in the same place."""

    def __init__(self, folder: Path, *, socket: Path | None = None, more: str = "") -> None:
        self.node = Node(folder, more=more if socket is None else f"{more}[API]\nsocket={socket}\n")
        self.port = self.node.port
        self.program: Program | None = None

    def start(self) -> Self:
        self.node.folder.joinpath("log").unlink(missing_ok=True)
        self.program = self.node.start().wait_started()
        return self

    def send(self, number: signal.Signals) -> None:
        assert self.program is not None
        self.program.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.program is not None and self.program.process.poll() is None:
            self.program.process.send_signal(signal.SIGCONT)
            self.program.end(number)

    def lose_journal(self) -> None:
        for file in (self.node.folder / "state").glob("journal*"):
            file.unlink()

    def held(self) -> dict[str, list[str]]:
        """The addresses of all that the link's owner holds, by name."""
        told = self.ask("GET", f"/v2/owners/{OWNER}/attachments")["attachments"]
        return {name: view["stated"]["addresses"] for name, view in told.items()}

    def endpoints(self) -> set[tuple[str, str]]:
        """Instance and address of each endpoint, whoever attached it."""
        told = self.ask("GET", "/v2/attachments")["attachments"]
        return {(view["instance"], one["ip"]) for view in told for one in view["endpoints"]}

    def ask(self, method: str, path: str, body: object = None) -> Any:
        self.node.connection = None
        return self.node.call(method, path, body)[1]


class Theirs:
    """The daemon of networking-bagpipe 20.0.0 as a black box."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        program = reference_program("bagpipe-bgp")
        configuration = self.folder / "reference.conf"
        configuration.write_text(
            f"[BGP]\nlocal_address = {address(7)}\npeers =\nmy_as = 64512\nenable_rtc = True\n"
            f"[API]\nhost = 127.0.0.1\nport = {self.port}\n[COMMON]\nroot_helper = env\n"
            "[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver = dummy\n[DATAPLANE_DRIVER_EVPN]\ndataplane_driver = dummy\n"
        )
        with (self.folder / "reference.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(program), "--config-file", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
            )
        wait_for(lambda: isinstance(self.ask("/ping"), int), "the reference answers", 60)
        return self

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def endpoints(self) -> set[tuple[str, str]]:
        """Instance and address of each endpoint."""
        found = set()
        for one in self.ask("/looking-glass/vpns/instances"):
            ports = self.ask(f"/looking-glass/vpns/instances/{one['id']}/ports")
            for port in ports.values():
                found |= {(one["id"], endpoint["ip_address"]) for endpoint in port["endpoints"]}
        return found

    def targets(self, instance: str) -> set[str]:
        told = self.ask(f"/looking-glass/vpns/instances/{instance}")["route_targets"]
        return {target.removeprefix("target:") for target in told["import"]}


@contextlib.contextmanager
def running(*daemons: Ours | Theirs) -> Iterator[None]:
    """Whatever happens, the daemons end with the block."""
    try:
        yield
    finally:
        for daemon in daemons:
            daemon.end()


@contextlib.contextmanager
def linked(port: int, on_state: Callable[[bool], None] | None = None, **more: Any) -> Iterator[DaemonLink]:
    """A link to the daemon of this port."""
    settings = LinkSettings(**{"port": port, "owner": OWNER, "ping_interval": 1.0, **more})
    link = DaemonLink(settings, on_state=on_state)
    link.start()
    try:
        yield link
    finally:
        link.stop()
