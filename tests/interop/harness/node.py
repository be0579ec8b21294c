"""A compute node: our daemon with the Linux dataplane for EVPN, and machines that are attached to it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .bagpipe import PORT, Speaker
from .http import call
from .machine import Machine
from .network import Host
from .peer import AS
from .waiting import wait_until


class Node(Speaker):
    """Networks are named ``net-VNI`` by the VNI that they have here."""

    def __init__(self, host: Host, directory: Path) -> None:
        """Nothing is started."""
        super().__init__(host, directory)
        self.options["retain_routes"] = "auto"
        self.options["listen"] = self.address
        self.sections["DATAPLANE_DRIVER_EVPN"] = {"dataplane_driver": "linux"}

    def house(self, machine: Machine) -> None:
        """Plug a machine in, and run it here."""
        machine.plug(self.host)
        machine.live(self.host, quiet=True)

    def port(self, machine: Machine) -> dict[str, object]:
        """How the port of a machine is named to the daemon."""
        return {"name": machine.port}

    def attach(self, machine: Machine, vni: int, target: str | None = None, **more: object) -> dict[str, Any]:
        """Attach a machine with both addresses, by default with FRR's automatic target; the confirmed answer."""
        targets = [target or f"{AS}:{vni}"]
        body = {
            "instance": {"id": f"net-{vni}", "type": "evpn", "vni": vni, "import_rts": targets, "export_rts": targets},
            "port": self.port(machine),
            "mac": machine.mac,
            "addresses": [machine.address, machine.address6],
            **more,
        }
        answer = call(self.host, PORT, "PUT", f"/v2/attachments/{machine.name}", body)
        assert isinstance(answer, dict) and answer["state"] == "in-effect", answer
        return answer

    def detach(self, machine: Machine) -> None:
        """Detach a machine, confirmed."""
        answer = call(self.host, PORT, "DELETE", f"/v2/attachments/{machine.name}")
        assert isinstance(answer, dict) and answer["state"] == "removed", answer

    def network(self, vni: int) -> dict[str, Any]:
        """A network, with its endpoints and routes."""
        told: dict[str, Any] = self.ask(f"v2/instances/net-{vni}")
        return told

    def rd(self, vni: int) -> str:
        """The route distinguisher of a network."""
        return str(self.network(vni)["route_distinguisher"])

    def macs(self, vni: int) -> dict[str, dict[str, Any]]:
        """The MACs of a network, each with where frames go and all who claim it."""
        return {row["mac"]: row for row in self.network(vni)["routes"]}

    def sends(self, mac: str, vni: int, hops: Iterable[str]) -> dict[str, Any]:
        """Wait until frames to a MAC go to these next hops, as ``ADDRESS label VNI vxlan``; the MAC."""
        wanted = sorted(hops)
        return wait_until(
            lambda: self.macs(vni).get(mac, {}),
            lambda row: sorted(row.get("next_hops", ())) == wanted,
            f"{self.host.name} sends frames to {mac} to {wanted}",
        )

    def floods(self, vni: int, *hops: str) -> None:
        """Wait until frames to many go to these next hops and no others."""
        wait_until(
            lambda: [hop for each in self.network(vni)["flooding"] for hop in each["next_hops"]],
            lambda seen: sorted(seen) == sorted(hops),
            f"{self.host.name} floods to {hops}",
        )

    def tunnelled(self, mac: str) -> list[str]:
        """Where the kernel sends frames to a MAC: ``ADDRESS``, ``ADDRESS vni VNI``, or ``nhid NUMBER``."""
        shown = self.host.run("bridge", "fdb", "show").splitlines()
        lines = [line for line in shown if line.startswith(mac) and " self " in line]
        return [found[1] for line in lines if (found := re.search(r"(?:dst |(?=nhid ))(.*?) self", line))]

    def tunnels(self, mac: str, *where: str) -> None:
        """Wait until the kernel sends frames to a MAC there, and nowhere else."""
        what = f"the kernel of {self.host.name} has {mac} at {where}"
        wait_until(lambda: self.tunnelled(mac), lambda seen: seen == list(where), what)

    def sharing(self) -> dict[int, set[str]]:
        """The kernel's groups of next hops of forwarding entries, with the nodes of each."""
        groups, nodes = {}, {}
        for line in self.host.run("ip", "nexthop", "show").splitlines():
            group, node = re.match(r"id (\d+) group (\S+)", line), re.match(r"id (\d+) via (\S+)", line)
            if group is not None:
                groups[int(group[1])] = [int(each.split(",")[0]) for each in group[2].split("/")]
            elif node is not None:
                nodes[int(node[1])] = node[2]
        return {number: {nodes[member] for member in members} for number, members in groups.items()}
