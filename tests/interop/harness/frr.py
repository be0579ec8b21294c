"""FRR's bgpd, alone (`-Z`) or with zebra."""

from __future__ import annotations

import json
from typing import Any, Self

from .network import run
from .peer import Neighbor, Peer
from .process import Program
from .route import Family, Route, plain_address
from .waiting import wait_until

_NAMES = {Family.VPNV4: "ipv4 vpn", Family.VPNV6: "ipv6 vpn", Family.EVPN: "l2vpn evpn"}


class Frr(Peer):
    """bgpd with its sockets, pid file and vty in a directory of its own."""

    neighbors: tuple[Neighbor, ...] = ()
    networks: tuple[Route, ...] = ()
    local_as: int = 64512
    with_zebra: bool = False
    graceful_restart: bool = False
    config: str | None = None
    bgpd: Program

    def start(self) -> Self:
        """Start bgpd from `config`, or from what `neighbors` and `networks` say."""
        if self.with_zebra:
            empty = self.write("zebra.conf", "")
            pid = str(self.directory / "zebra.pid")
            self.run("/usr/lib/frr/zebra", *self._own, "-g", "frrvty", "-f", str(empty), *self._zebra, "-i", pid)
        self.start_bgpd()
        return self

    def start_bgpd(self) -> None:
        """Start `bgpd` alone, also again after it has ended."""
        path = self.write("bgpd.conf", self.config or self._configuration())
        self.bgpd = self.run(
            "/usr/lib/frr/bgpd", "-S", *self._own, *(self._zebra if self.with_zebra else ["-Z"]), "-f", str(path),
            "-i", str(self.directory / "bgpd.pid"), "--log", f"file:{self.directory}/events.log",
        )  # fmt: skip

    @property
    def _own(self) -> list[str]:
        return ["-u", "root", "-g", "root", "--vty_socket", str(self.directory), "-P", "0"]

    @property
    def _zebra(self) -> list[str]:
        return ["-z", str(self.directory / "zserv.api")]

    def vty(self, *commands: str, daemon: str = "bgpd") -> str:
        """What bgpd, or another daemon, answers to commands of the enabled mode."""
        argv = ["vtysh", "--vty_socket", str(self.directory), "-d", daemon]
        for command in commands:
            argv += ["-c", command]
        return run(argv)

    def json(self, command: str) -> Any:
        """What bgpd answers, decoded."""
        return json.loads(self.vty(f"{command} json"))

    def configure(self, *lines: str) -> None:
        """Change the configuration of `router bgp`."""
        self.vty("configure terminal", f"router bgp {self.local_as}", *lines)

    def announce(self, family: Family, route: Route) -> None:
        """Originate a VPN prefix."""
        self.configure(*self._network(family, route, ""))

    def withdraw(self, family: Family, route: Route) -> None:
        """Stop originating it."""
        self.configure(*self._network(family, route, "no "))

    def neighbor(self, address: str) -> dict[str, Any]:
        """`show bgp neighbors ADDRESS json`."""
        told: dict[str, Any] = self.json(f"show bgp neighbors {address}")
        found: dict[str, Any] = told[address]
        return found

    def established(self, neighbor: str) -> bool:
        """See `Peer.established`."""
        return bool(self.neighbor(neighbor).get("bgpState") == "Established")

    def settles(self, neighbor: str) -> None:
        """Wait for a session that knows this host's IPv6 address.

        bgpd takes the next hops of a session when it begins, and zebra may tell of the address only after that. Such a
        session is begun anew.
        """

        def global_next_hop() -> object:
            told = self.neighbor(neighbor)
            known = told.get("nexthopGlobal") if told.get("bgpState") == "Established" else None
            if known not in (None, self.host.address6):
                self.vty(f"clear bgp {neighbor}")
            return known

        what = f"{self.host.name} has {self.host.address6} as next hop towards {neighbor}"
        wait_until(global_next_hop, lambda known: known == self.host.address6, what, pause=1.0)

    def _listed(self, family: Family) -> list[Route]:
        if family is Family.EVPN:
            table = self.json("show bgp l2vpn evpn route detail")
            return [
                _evpn(rd, entry)
                for rd, entries in table.items()
                if isinstance(entries, dict)
                for entry in entries.values()
                if isinstance(entry, dict)
            ]
        if family not in _NAMES:
            return []
        shown = self.vty(f"show bgp {_NAMES[family]} json")
        named = json.loads(shown)["routes"]["routeDistinguishers"] if shown.strip() else {}
        return [
            _vpn(rd, prefix, self.json(f"show bgp {_NAMES[family]} rd {rd} {prefix}"))
            for rd, prefixes in named.items()
            for prefix in prefixes
        ]

    def _configuration(self) -> str:
        lines = [f"router bgp {self.local_as}", f" bgp router-id {self.address}", " no bgp default ipv4-unicast"]
        lines += [" no bgp ebgp-requires-policy", " no bgp network import-check"]
        if self.graceful_restart:
            lines += [" bgp graceful-restart", " bgp graceful-restart preserve-fw-state"]
            lines += [" bgp graceful-restart restart-time 100", " bgp graceful-restart select-defer-time 5"]
        maps: list[str] = []
        for neighbor in self.neighbors:
            lines += self._session(neighbor)
        for family, name in _NAMES.items():
            lines.append(f" address-family {name}")
            for neighbor in self.neighbors:
                if family in neighbor.families:
                    lines.append(f"  neighbor {neighbor.address} activate")
                if family in neighbor.families and neighbor.client:
                    lines.append(f"  neighbor {neighbor.address} route-reflector-client")
            if family is Family.EVPN and self.with_zebra:
                lines.append("  advertise-all-vni")
            lines.append(" exit-address-family")
        for route in self.networks:
            family = Family.VPNV6 if ":" in route.nlri else Family.VPNV4
            lines += [f" {line}" for line in self._network(family, route, "")]
            maps += _map(route)
        return "\n".join([*maps, *lines, ""])

    @staticmethod
    def _session(neighbor: Neighbor) -> list[str]:
        name = f" neighbor {neighbor.address}"
        lines = [f"{name} remote-as {neighbor.remote_as}", f"{name} timers connect 1"]
        lines.append(f"{name} timers {neighbor.hold_time // 3} {neighbor.hold_time}")
        if neighbor.password is not None:
            lines.append(f"{name} password {neighbor.password}")
        if neighbor.ttl_security:
            lines.append(f"{name} ttl-security hops 1")
        return lines

    @staticmethod
    def _network(family: Family, route: Route, negation: str) -> list[str]:
        line = f"network {route.nlri} rd {route.rd} label {route.label}"
        line += "" if negation else f" route-map {_name(route)}"
        return [f"address-family {_NAMES[family]}", f" {negation}{line}", "exit-address-family"]


def _name(route: Route) -> str:
    return "map-" + "-".join(sorted(route.route_targets)).replace(":", "-")


def _map(route: Route) -> list[str]:
    lines = [f"route-map {_name(route)} permit 10", f" set extcommunity rt {' '.join(sorted(route.route_targets))}"]
    if route.local_pref is not None:
        lines.append(f" set local-preference {route.local_pref}")
    return [*lines, "exit"]


def _vpn(rd: str, prefix: str, told: dict[str, Any]) -> Route:
    path = told[rd]["paths"][0]
    return _route(rd, prefix, path, path.get("remoteLabel"))


def _evpn(rd: str, entry: dict[str, Any]) -> Route:
    path = entry["paths"][0][0]
    kind = entry["routeType"]
    address = entry.get("ip", "")
    if kind == 2:
        nlri = f"mac {entry['mac'].lower()} {address}".strip()
    elif kind == 3:
        nlri = f"multicast {address}"
    else:
        nlri = f"prefix {address}/{entry.get('ipLen')}" if kind == 5 else f"type-{kind}"
    label = int(path["vni"]) if "vni" in path else path.get("pmsi", {}).get("label")
    return _route(rd, nlri, path, label)


def _route(rd: str, nlri: str, path: dict[str, Any], label: int | None) -> Route:
    communities = path.get("extendedCommunity", {}).get("string", "").split()
    return Route(
        rd=rd,
        nlri=nlri,
        next_hop=plain_address(path["nexthops"][0]["ip"]),
        label=label,
        route_targets=frozenset(one.removeprefix("RT:") for one in communities if one.startswith("RT:")),
        local_pref=path.get("locPrf"),
        originator_id=path.get("originatorId"),
        cluster_list=tuple(path.get("clusterList", {}).get("list", ())),
    )
