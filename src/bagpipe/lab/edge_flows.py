"""``python -m bagpipe.lab.edge_flows``: what GoBGP knows becomes flows of the edge's bridge. Runs on the edge.

IPv4 and IPv6 VPN routes with the wanted route target; one label on Ethernet (RFC 3032), the next hop's MAC by ARP.
It asks GoBGP a few times a second, has no several next hops for one prefix, and penultimate hop popping is not there.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from bagpipe.lab.compute import BRIDGE, UPLINK
from bagpipe.lab.edge import FAMILIES, GATEWAY_MAC, LABELS, SITE_MAC, SITE_PORT

PAUSE = 0.25
"""Seconds between two looks at GoBGP's table."""
_TYPES = {4: ("ip", "0x0800", "nw_dst"), 6: ("ipv6", "0x86dd", "ipv6_dst")}


@dataclass(frozen=True, slots=True)
class Route:
    """A route as far as forwarding is concerned."""

    version: int
    prefix: str
    label: int
    next_hop: str


def routes(table: object, version: int, target: str) -> Iterator[Route]:
    """The routes with a route target, out of what ``gobgp global rib -j`` says."""
    for paths in (table or {}).values() if isinstance(table, dict) else ():
        for path in paths:
            attributes = {attribute["type"]: attribute for attribute in path["attrs"]}
            targets = [one.get("value") for one in attributes.get(16, {}).get("value", ()) if one.get("subtype") == 2]
            if target not in targets:
                continue
            reach, nlri = attributes[14], path["nlri"]
            hop = ip_address(reach["nexthop"])
            mapped = getattr(hop, "ipv4_mapped", None)
            yield Route(version, nlri["prefix"], nlri["labels"][0], str(mapped or hop))
            break


def _told(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout


def _mac(address: str) -> str | None:
    """The MAC of a next hop; asks for it where it is not known yet."""
    for _ in range(2):
        found = re.search(r"lladdr (\S+)", _told(["ip", "neigh", "show", address, "dev", BRIDGE]))
        if found:
            return found[1]
        _told(["ping", "-n", "-c", "1", "-W", "1", address])
    return None


def flows(known: frozenset[Route], own_mac: str) -> list[str]:
    """All flows of the edge for these routes."""
    made = [f"priority=0,in_port={UPLINK},actions=LOCAL", f"priority=0,in_port=LOCAL,actions=output:{UPLINK}"]
    for version, label in LABELS.items():
        made.append(
            f"priority=100,in_port={UPLINK},mpls,mpls_label={label},actions=pop_mpls:{_TYPES[version][1]},"
            f"set_field:{GATEWAY_MAC}->eth_src,set_field:{SITE_MAC}->eth_dst,output:{SITE_PORT}"
        )
    for route in known:
        mac = _mac(route.next_hop)
        if mac is not None:
            protocol, _, field = _TYPES[route.version]
            made.append(
                f"priority={100 + ip_network(route.prefix).prefixlen},in_port={SITE_PORT},"
                f"{protocol},{field}={route.prefix},"
                f"actions=dec_ttl,push_mpls:0x8847,set_field:{route.label}->mpls_label,"
                f"set_field:{own_mac}->eth_src,set_field:{mac}->eth_dst,output:{UPLINK}"
            )
    return made


def main() -> int:
    """Run until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True, help="the route target of the site's VPN")
    parser.add_argument("--bridge", required=True, help="where the bridge listens for OpenFlow")
    parser.add_argument("--own", required=True, help="the edge's own address, whose routes are not forwarded to")
    asked = parser.parse_args()
    found = re.search(r"link/ether (\S+)", _told(["ip", "link", "show", BRIDGE]))
    if found is None:
        print(f"{BRIDGE} is not there", file=sys.stderr)
        return 1
    known: set[Route] | None = None
    while True:
        now: set[Route] = set()
        for version, family in FAMILIES.items():
            said = _told(["gobgp", "global", "rib", "-a", family, "-j"])
            if said:
                now |= {one for one in routes(json.loads(said), version, asked.target) if one.next_hop != asked.own}
        if now != known:
            text = "\n".join(flows(frozenset(now), found[1]))
            done = subprocess.run(
                ["ovs-ofctl", "-O", "OpenFlow15", "replace-flows", asked.bridge, "-"],
                input=text, capture_output=True, text=True, check=False, timeout=10,
            )  # fmt: skip
            print(f"{time.time():.3f} {len(now)} routes {done.stderr}", flush=True)
            if not done.returncode:
                known = now
        time.sleep(PAUSE)


if __name__ == "__main__":
    sys.exit(main())
