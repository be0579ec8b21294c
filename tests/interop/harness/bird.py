"""BIRD 2: VPNv4 and VPNv6. It has neither EVPN nor VPN FlowSpec nor route target constraint."""

from __future__ import annotations

import re
from typing import Self

from .network import run
from .peer import AS, Neighbor, Peer
from .route import Family, Route, plain_address

_TABLES = {Family.VPNV4: "vpn4", Family.VPNV6: "vpn6"}
_START = re.compile(r"^(?P<rd>\S+) (?P<prefix>\S+/\d+)\s+(unicast|unreachable|blackhole)")
_TARGET = re.compile(r"\(rt, ([\d.]+), (\d+)\)")


class Bird(Peer):
    """One bird with its control socket in a directory of its own."""

    neighbors: tuple[Neighbor, ...] = ()
    networks: tuple[Route, ...] = ()
    config: str | None = None

    def start(self) -> Self:
        """Start from `config`, or from what `neighbors` and `networks` say."""
        path = self.write("bird.conf", self.config or self._configuration())
        self.run("bird", "-f", "-c", str(path), "-s", self._socket, "-P", str(self.directory / "bird.pid"))
        return self

    @property
    def _socket(self) -> str:
        return str(self.directory / "ctl")

    def ask(self, *command: str) -> str:
        """What the control client prints."""
        return run(["birdc", "-s", self._socket, *command])

    def set_networks(self, networks: tuple[Route, ...]) -> None:
        """Originate these routes and no others."""
        self.networks = networks
        self.write("bird.conf", self._configuration())
        self.ask("configure")

    def protocol(self, neighbor: str) -> str:
        """`show protocols all` of the session with `neighbor`."""
        number = [entry.address for entry in self.neighbors].index(neighbor)
        return self.ask("show", "protocols", "all", f"peer{number}")

    def established(self, neighbor: str) -> bool:
        """See `Peer.established`."""
        return "BGP state:          Established" in self.protocol(neighbor)

    def _listed(self, family: Family) -> list[Route]:
        if family not in _TABLES:
            return []
        return parse(self.ask("show", "route", "all", "table", f"{_TABLES[family]}tab"))

    def _configuration(self) -> str:
        parts = [f'log "{self.directory}/events.log" all;', f"router id {self.address};", "protocol device {}"]
        for table in _TABLES.values():
            parts.append(f"{table} table {table}tab;")
        for family, table in _TABLES.items():
            wanted = [route for route in self.networks if (":" in route.nlri) == (family is Family.VPNV6)]
            parts.append(f"protocol static static_{table} {{ {table} {{ table {table}tab; }};")
            parts += [f"  {_static(route)}" for route in wanted]
            parts.append("}")
        for number, neighbor in enumerate(self.neighbors):
            parts += self._session(number, neighbor)
        return "\n".join([*parts, ""])

    def _session(self, number: int, neighbor: Neighbor) -> list[str]:
        local = self.host.address6 if ":" in neighbor.address else self.address
        lines = [
            f"protocol bgp peer{number} {{",
            f"  local {local} as {AS};",
            f"  neighbor {neighbor.address} as {neighbor.remote_as};",
            f"  hold time {neighbor.hold_time}; connect retry time 1; connect delay time 1; error wait time 1, 2;",
        ]
        if neighbor.client:
            lines.append("  rr client;")
        for family in neighbor.families:
            name = _TABLES[family]
            lines.append(f"  {name} mpls {{ table {name}tab; import all; export all; next hop keep; }};")
        return [*lines, "}"]


def _static(route: Route) -> str:
    targets = " ".join(
        f"bgp_ext_community.add((rt, {target.replace(':', ', ')}));" for target in sorted(route.route_targets)
    )
    preference = "" if route.local_pref is None else f"bgp_local_pref = {route.local_pref};"
    return f"route {route.rd} {route.nlri} via {route.next_hop}%eth0 mpls {route.label} {{ {targets} {preference} }};"


def parse(text: str) -> list[Route]:
    """The routes of `show route all`."""
    found: list[Route] = []
    start: re.Match[str] | None = None
    body: dict[str, str] = {}
    for line in [*text.splitlines(), "end of table/0 unicast"]:
        begun = _START.match(line)
        if begun is None and line != "end of table/0 unicast":
            name, _, value = line.strip().partition(": ")
            body[name] = value
            continue
        if start is not None:
            found.append(_route(start, body))
        start, body = begun, {}
    return found


def _route(start: re.Match[str], body: dict[str, str]) -> Route:
    gateway = next((name for name in body if name.startswith("via ")), "")
    words = gateway.split()
    label = body.get("BGP.mpls_label_stack") or (words[words.index("mpls") + 1] if "mpls" in words else None)
    next_hop = body.get("BGP.next_hop") or (words[1] if words else "")
    preference = body.get("BGP.local_pref")
    return Route(
        rd=start["rd"],
        nlri=start["prefix"],
        next_hop=plain_address(next_hop.split()[0] if next_hop else ""),
        label=int(label) if label else None,
        route_targets=frozenset(":".join(pair) for pair in _TARGET.findall(body.get("BGP.ext_community", ""))),
        local_pref=int(preference) if preference else None,
        originator_id=body.get("BGP.originator_id"),
        cluster_list=tuple(body.get("BGP.cluster_list", "").split()),
    )
