"""GoBGP: the one free program with every family, route target constraint included."""

from __future__ import annotations

import json
from typing import Any, Self

from .network import run
from .peer import AS, Neighbor, Peer
from .route import Family, Route, plain_address

NAMES = {
    Family.VPNV4: "l3vpn-ipv4-unicast",
    Family.VPNV6: "l3vpn-ipv6-unicast",
    Family.EVPN: "l2vpn-evpn",
    Family.FLOWSPEC: "l3vpn-ipv4-flowspec",
    Family.RTC: "rtc",
}
_TABLES = {
    Family.VPNV4: "vpnv4",
    Family.VPNV6: "vpnv6",
    Family.EVPN: "evpn",
    Family.FLOWSPEC: "ipv4-l3vpn-flowspec",
    Family.RTC: "rtc",
}


class GoBgp(Peer):
    """One gobgpd with its API on a unix socket in a directory of its own."""

    neighbors: tuple[Neighbor, ...] = ()
    config: str | None = None

    def start(self) -> Self:
        """Start from `config`, or from what `neighbors` says."""
        path = self.write("gobgpd.toml", self.config or self._configuration())
        (self.directory / "api").unlink(missing_ok=True)  # what a killed one has left
        self.run("gobgpd", "-f", str(path), "--api-hosts", self._socket, "--pprof-disable", "--log-plain")
        return self

    @property
    def _socket(self) -> str:
        return f"unix://{self.directory}/api"

    def ask(self, *command: str) -> str:
        """What the command-line client prints."""
        return run(["gobgp", "--target", self._socket, *command])

    def announce(self, family: Family, text: str) -> None:
        """`gobgp global rib add -a FAMILY TEXT`."""
        self.ask("global", "rib", "-a", _TABLES[family], "add", *text.split())

    def withdraw(self, family: Family, text: str) -> None:
        """`gobgp global rib del -a FAMILY TEXT`."""
        self.ask("global", "rib", "-a", _TABLES[family], "del", *text.split())

    def want(self, name: str, target: str) -> None:
        """Import a route target: a VRF, which makes GoBGP announce the RTC route."""
        self.ask("vrf", "add", name, "rd", target, "rt", "import", target, "export", target)

    def unwant(self, name: str) -> None:
        """Drop the VRF again."""
        self.ask("vrf", "del", name)

    def neighbor(self, address: str) -> dict[str, Any]:
        """What GoBGP says about a session."""
        told: dict[str, Any] = json.loads(self.ask("neighbor", address, "-j"))
        return told

    def established(self, neighbor: str) -> bool:
        """See `Peer.established`; the state is that of the public API, where 6 is Established."""
        return bool(self.neighbor(neighbor)["state"].get("session_state") == 6)

    def paths(self, family: Family) -> list[dict[str, Any]]:
        """The best path of each route as GoBGP writes it."""
        table: dict[str, Any] = json.loads(self.ask("global", "rib", "-a", _TABLES[family], "-j") or "{}")
        return [paths[0] for paths in table.values()]

    def communities(self, family: Family, key: tuple[str, str]) -> list[dict[str, Any]]:
        """The extended communities of a route."""
        found = [path for path in self.paths(family) if _route(family, path).key == key]
        return [each for path in found for one in path["attrs"] if one["type"] == 16 for each in one["value"]]

    def _listed(self, family: Family) -> list[Route]:
        return [_route(family, path) for path in self.paths(family)]

    def _configuration(self) -> str:
        lines = ["[global.config]", f"as = {AS}", f'router-id = "{self.address}"']
        for neighbor in self.neighbors:
            lines += [
                "[[neighbors]]",
                f'config = {{ neighbor-address = "{neighbor.address}", peer-as = {neighbor.remote_as} }}',
                "[neighbors.timers.config]",
                f"hold-time = {neighbor.hold_time}",
                f"keepalive-interval = {neighbor.hold_time // 3}",
                "connect-retry = 5",
                "idle-hold-time-after-reset = 1",
            ]
            if neighbor.client:
                lines += [
                    "[neighbors.route-reflector.config]",
                    "route-reflector-client = true",
                    f'route-reflector-cluster-id = "{self.address}"',
                ]
            for family in neighbor.families:
                lines += ["[[neighbors.afi-safis]]", f'config = {{ afi-safi-name = "{NAMES[family]}" }}']
        return "\n".join([*lines, ""])


def _rd(value: dict[str, Any]) -> str:
    return f"{value['admin']}:{value['assigned']}"


def _route(family: Family, path: dict[str, Any]) -> Route:
    nlri = path["nlri"]
    attributes = {attribute["type"]: attribute for attribute in path["attrs"]}
    communities = attributes.get(16, {}).get("value", [])
    rd, text, label = _named(family, nlri)
    if 22 in attributes:
        label = attributes[22].get("label")
    return Route(
        rd=rd,
        nlri=text,
        next_hop=plain_address(attributes.get(14, {}).get("nexthop", "")),
        label=label,
        route_targets=frozenset(one["value"] for one in communities if one["subtype"] == 2 and one["type"] < 3),
        local_pref=attributes.get(5, {}).get("value"),
        originator_id=attributes.get(9, {}).get("value"),
        cluster_list=tuple(attributes.get(10, {}).get("value") or ()),
    )


def _named(family: Family, nlri: dict[str, Any]) -> tuple[str, str, int | None]:
    """Route distinguisher, text and label of an NLRI."""
    if family is Family.EVPN:
        value = nlri["value"]
        address = (value.get("ip") or "").replace("<nil>", "")
        kinds = {2: f"mac {value.get('mac')} {address}".strip(), 3: f"multicast {address}"}
        text = kinds.get(nlri["type"], f"prefix {value.get('prefix')}")
        return _rd(value["rd"]), text, (value.get("labels") or [value.get("label")])[0]
    if family is Family.RTC:
        return "", str(nlri), None
    if family is Family.FLOWSPEC:
        rules = nlri["value"]
        destination = next((rule["value"]["prefix"] for rule in rules if rule["type"] == 1), "")
        return _rd(nlri["rd"]), str(destination), None
    return _rd(nlri["rd"]), nlri["prefix"], nlri["labels"][0]
