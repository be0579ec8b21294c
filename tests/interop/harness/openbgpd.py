"""OpenBGPD portable. On Linux it holds and reflects VPN routes, but cannot originate them (no rdomains)."""

from __future__ import annotations

import json
from typing import Any, Self

from .network import run
from .peer import AS, Neighbor, Peer
from .route import Family, Route, plain_address

_NAMES = {Family.VPNV4: "IPv4 vpn", Family.VPNV6: "IPv6 vpn"}


class OpenBgpd(Peer):
    """One bgpd with its control socket in a directory of its own. It shows no labels."""

    neighbors: tuple[Neighbor, ...] = ()
    config: str | None = None

    def start(self) -> Self:
        """Start from `config`, or from what `neighbors` says."""
        text = self.config or self._configuration()
        path = self.write("bgpd.conf", f'socket "{self._socket}"\n{text}')
        self.run("/usr/sbin/bgpd", "-d", "-v", "-f", str(path))
        return self

    @property
    def _socket(self) -> str:
        return str(self.directory / "ctl")

    def ask(self, *command: str) -> str:
        """What the control client prints."""
        return run(["bgpctl", "-s", self._socket, *command])

    def established(self, neighbor: str) -> bool:
        """See `Peer.established`."""
        told: dict[str, Any] = json.loads(self.ask("-j", "show", "neighbor"))
        return any(
            entry.get("remote_addr") == neighbor and entry.get("state") == "Established"
            for entry in told.get("neighbors", [])
        )

    def _listed(self, family: Family) -> list[Route]:
        if family not in _NAMES:
            return []
        told: dict[str, Any] = json.loads(self.ask("-j", "show", "rib", "detail"))
        routes = [_route(entry) for entry in told.get("rib", []) if entry["prefix"].startswith("rd ")]
        return [route for route in routes if (":" in route.nlri) == (family is Family.VPNV6)]

    def _configuration(self) -> str:
        lines = [f"AS {AS}", f"router-id {self.address}", "fib-update no", f"listen on {self.address}"]
        lines += ["holdtime min 3", "nexthop qualify via default"]
        for neighbor in self.neighbors:
            lines += [f"neighbor {neighbor.address} {{", f"  remote-as {neighbor.remote_as}"]
            lines += [f"  holdtime {neighbor.hold_time}"]
            lines += [f"  announce {_NAMES[family]}" for family in neighbor.families]
            lines += ["  route-reflector"] if neighbor.client else []
            lines.append("}")
        return "\n".join([*lines, "allow from any", "allow to any", ""])


def _route(entry: dict[str, Any]) -> Route:
    _, rd, prefix = entry["prefix"].split()
    attributes: dict[str, Any] = {}
    for attribute in entry.get("attributes", []):
        attributes.update(attribute)
    targets = [text.removeprefix("rt ") for text in entry.get("extended_communities", []) if text.startswith("rt ")]
    return Route(
        rd=rd,
        nlri=prefix,
        next_hop=plain_address(entry["exit_nexthop"]),
        route_targets=frozenset(targets),
        local_pref=entry.get("localpref"),
        originator_id=attributes.get("originator"),
        cluster_list=tuple(attributes.get("cluster_list", ())),
    )
