"""ExaBGP 4.2: an injector of anything, and a witness that keeps every UPDATE it is told. It has no RTC."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Self

from .peer import AS, Neighbor, Peer
from .reference import reference_program
from .route import Family, Route, plain_address

_NAMES = {
    Family.VPNV4: "ipv4 mpls-vpn",
    Family.VPNV6: "ipv6 mpls-vpn",
    Family.EVPN: "l2vpn evpn",
    Family.FLOWSPEC: "ipv4 flow-vpn",
}


class ExaBgp(Peer):
    """One ExaBGP with a process that feeds it commands and keeps its JSON."""

    neighbors: tuple[Neighbor, ...] = ()

    def start(self) -> Self:
        """Start from what `neighbors` says."""
        self.write("commands", "")
        self.write("seen", "")
        path = self.write("exabgp.conf", self._configuration())
        settings = {"daemon.user": "root", "api.cli": "false", "log.all": "true", "log.packets": "false"}
        environment = {f"exabgp.{name}": value for name, value in settings.items()}
        self.run(str(reference_program("exabgp")), str(path), environment=environment)
        return self

    def say(self, command: str) -> None:
        """Give ExaBGP a command of its text API, such as `announce route ...`."""
        with (self.directory / "commands").open("a") as commands:
            commands.write(command + "\n")

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """Everything of a kind (`state`, `update`, `notification`) that ExaBGP told, in order.

        Of other kinds (`refresh`) it writes what is not JSON.
        """
        lines = (self.directory / "seen").read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}") and f'"type": "{kind}"' in line]

    def established(self, neighbor: str) -> bool:
        """See `Peer.established`."""
        states = [one["neighbor"] for one in self.messages("state")]
        mine = [state["state"] for state in states if state["address"]["peer"] == neighbor]
        return bool(mine) and mine[-1] == "up"

    def _listed(self, family: Family) -> list[Route]:
        held: dict[str, Route] = {}
        name = _NAMES.get(family)
        for message in self.messages("update"):
            update = message["neighbor"]["message"].get("update", {})
            for entry in update.get("withdraw", {}).get(name, []):
                held.pop(_key(entry), None)
            for next_hop, entries in update.get("announce", {}).get(name, {}).items():
                for entry in entries:
                    held[_key(entry)] = _route(family, entry, next_hop, update.get("attribute", {}))
        return list(held.values())

    def _configuration(self) -> str:
        pipe = Path(__file__).with_name("exabgp_pipe.py")
        run = f"{sys.executable} {pipe} {self.directory}/commands {self.directory}/seen"
        parts = [f"process pipe {{ run {run}; encoder json; }}"]
        for neighbor in self.neighbors:
            families = " ".join(f"{_NAMES[family]};" for family in neighbor.families)
            parts.append(
                f"neighbor {neighbor.address} {{\n"
                f"  router-id {self.address}; local-address {self.address}; local-as {AS};\n"
                f"  peer-as {neighbor.remote_as}; hold-time {neighbor.hold_time};\n"
                f"  family {{ {families} }}\n"
                "  capability { route-refresh enable; }\n"
                "  api { processes [ pipe ]; neighbor-changes;"
                " receive { parsed; update; notification; refresh; } }\n}"
            )
        return "\n".join([*parts, ""])


def _key(entry: dict[str, Any]) -> str:
    return f"{entry.get('rd')} {_text(entry)}"


def _text(entry: dict[str, Any]) -> str:
    if entry.get("code") == 2:
        return f"mac {entry['mac'].lower()} {entry.get('ip', '')}".strip()
    if entry.get("code") == 3:
        return f"multicast {entry['ip']}"
    if "destination-ipv4" in entry:
        return str(entry["destination-ipv4"][0])
    return str(entry.get("nlri") or entry.get("prefix") or entry)


def _route(family: Family, entry: dict[str, Any], next_hop: str, attributes: dict[str, Any]) -> Route:
    communities = [one["string"] for one in attributes.get("extended-community", [])]
    labels = entry.get("label") or [[None]]
    label = labels[0] if isinstance(labels[0], int) else labels[0][-1 if family is Family.EVPN else 0]
    return Route(
        rd=entry.get("rd", ""),
        nlri=_text(entry),
        next_hop=plain_address(entry.get("next-hop", next_hop)),
        label=label,
        route_targets=frozenset(one.removeprefix("target:") for one in communities if one.startswith("target:")),
        local_pref=attributes.get("local-preference"),
        originator_id=attributes.get("originator-id"),
        cluster_list=tuple(attributes.get("cluster-list", ())),
    )
