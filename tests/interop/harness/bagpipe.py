"""Our own programs, as black boxes: started by their modules, asked over HTTP."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, Self

from .http import call
from .network import Host
from .peer import AS, VPN_FAMILIES, Peer
from .process import Program
from .route import Family, Route, plain_address
from .waiting import PATIENCE, wait_until

PORT = 8082
_SOURCE = Path(__file__).parents[3] / "src"
_NAMES = {
    Family.VPNV4: "vpnv4",
    Family.VPNV6: "vpnv6",
    Family.EVPN: "evpn",
    Family.FLOWSPEC: "flowspec-vpnv4",
    Family.RTC: "rtc",
}


class Bagpipe(Peer):
    """What the reflector and the speaker have in common: the interface for programs."""

    module: str

    def _run(self, *arguments: str) -> Program:
        path = os.pathsep.join([str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
        return self.run(sys.executable, "-m", self.module, *arguments, environment={"PYTHONPATH": path})

    def ask(self, path: str) -> Any:
        """`GET /PATH`."""
        return call(self.host, PORT, "GET", f"/{path}")

    def ready(self, timeout: float = PATIENCE) -> Self:
        """Wait until it serves."""
        wait_until(lambda: self.ask("v2/peers"), bool, f"{self.host.name} serves its HTTP interface", timeout)
        return self

    def sessions(self) -> dict[str, dict[str, Any]]:
        """The neighbours by name, each as `/v2/peers` has it."""
        return {peer["name"]: peer for peer in self.ask("v2/peers")["peers"]}

    def established(self, neighbor: str) -> bool:
        """See `Peer.established`."""
        return bool(self.sessions().get(neighbor, {}).get("state") == "established")

    def rows(self, family: Family) -> list[dict[str, Any]]:
        """Every path of a family as `/v2/routes` has it, of every neighbour."""
        rows: list[dict[str, Any]] = self.ask(f"v2/routes?family={_NAMES[family]}")["routes"]
        return rows

    def _listed(self, family: Family) -> list[Route]:
        return [_route(family, row) for row in self.rows(family) if row["best"]]


class Reflector(Bagpipe):
    """`bagpipe-fakerr`."""

    module = "bagpipe.reflector.main"
    options: tuple[str, ...] = ()

    def start_bare(self) -> Self:
        """Start without any argument: there is no HTTP interface to ask, so others have to tell of it."""
        self._run()
        return self

    def start(self) -> Self:
        """Start with the HTTP interface on, and `options`."""
        self._run("--api", f"127.0.0.1:{PORT}", "--router-id", self.address, "--as", str(AS), *self.options)
        return self


class Speaker(Bagpipe):
    """`bagpipe-bgp`."""

    module = "bagpipe.daemon.main"

    def __init__(self, host: Host, directory: Path) -> None:
        """Nothing is started."""
        super().__init__(host, directory)
        self.peers: tuple[str, ...] = ()
        self.options: dict[str, str] = {"retain_routes": "always", "hold_time": "9"}
        self.sections: dict[str, dict[str, str]] = {}

    def start(self) -> Self:
        """Start with the sessions that `peers` names, more options of [BGP], and other sections."""
        path = self.configure()
        self._run("--config-file", str(path))
        return self

    def configure(self) -> Path:
        """Write the configuration."""
        bgp = {"local_address": self.address, "peers": ",".join(self.peers), "my_as": str(AS), **self.options}
        common = {"state_dir": str(self.directory / "state")}
        sections = {"BGP": bgp, "API": {"host": "127.0.0.1", "port": str(PORT)}, "COMMON": common, **self.sections}
        lines: list[str] = []
        for section, options in sections.items():
            lines += [f"[{section}]", *(f"{name} = {value}" for name, value in options.items())]
        return self.write("bgp.conf", "\n".join([*lines, ""]))


_EVPN = [
    (re.compile(r"^multicast .* originator (?P<ip>\S+)"), "multicast {ip}"),
    (re.compile(r"^mac-ip .* mac (?P<mac>\S+) ip (?P<ip>\S+) label"), "mac {mac} {ip}"),
    (re.compile(r"^mac-ip .* mac (?P<mac>\S+)( ip)? label"), "mac {mac}"),
]
_FIELD = re.compile(r"label field (\d+)")


def _text(family: Family, rd: str, text: str) -> str:
    if family in VPN_FAMILIES:
        return text.split(" label ", maxsplit=1)[0].removeprefix(f"{rd}:")
    if family is Family.FLOWSPEC:
        return text.partition(" destination ")[2].split(" ")[0]
    for pattern, plain in _EVPN:
        found = pattern.match(text)
        if found:
            return plain.format(**found.groupdict())
    return text


def _label(family: Family, row: dict[str, Any]) -> int | None:
    if family is Family.EVPN:
        field = _FIELD.search(f"{row['nlri']} {row['attributes'].get('pmsi_tunnel', '')}")
        return int(field[1]) if field else None
    label: int | None = row["label"]
    return label


def _route(family: Family, row: dict[str, Any]) -> Route:
    attributes = row["attributes"]
    return Route(
        rd=row["route_distinguisher"] or "",
        nlri=_text(family, row["route_distinguisher"] or "", row["nlri"]),
        next_hop=plain_address(row["next_hop"]),
        label=_label(family, row),
        route_targets=frozenset(row["route_targets"]),
        local_pref=attributes.get("local_pref"),
        originator_id=attributes.get("originator_id"),
        cluster_list=tuple(attributes.get("cluster_list", ())),
    )
