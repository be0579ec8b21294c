"""The provider edge outside the cloud: GoBGP speaks BGP, an Open vSwitch of its own forwards.

GoBGP has no dataplane here and this machine's kernel may have no MPLS, so a small program,
:mod:`bagpipe.lab.edge_flows`, reads GoBGP's table and writes the flows: what the customer's site sends gets the label
of the route, what comes with one of the edge's labels goes to the site. The site is a host behind the edge, somewhere
in the backbone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from bagpipe.lab import gobgp
from bagpipe.lab.compute import BRIDGE, Compute
from bagpipe.lab.hosts import Host, join
from bagpipe.lab.offload import checksums_in_software

SITE_PORT = "site"
SITE_MAC = "02:00:00:00:66:02"
GATEWAY_MAC = "02:00:00:00:66:01"
FAMILIES = {4: "vpnv4", 6: "vpnv6"}
LABELS = {4: 1004, 6: 1006}

_FAMILIES = ("l3vpn-ipv4-unicast", "l3vpn-ipv6-unicast")


@dataclass(frozen=True, slots=True)
class Edge:
    """The edge with the customer's ``site`` behind it, which has ``addresses`` (with lengths) of ``prefixes``."""

    switch: Compute
    site: Host
    addresses: dict[int, str]
    prefixes: dict[int, str]
    gateways: dict[int, str]

    @property
    def host(self) -> Host:
        """The host of GoBGP and the switch."""
        return self.switch.host

    def start(self, reflector: str, my_as: int) -> None:
        """Start GoBGP, put the site behind the bridge. The bridge has to be there. Raises LabFault."""
        gobgp.start(self.host, gobgp.speaker(self.switch.address, reflector, my_as, _FAMILIES))
        self.site.create()
        join(self.site, list(self.addresses.values()), self.host, [], names=("eth0", SITE_PORT))
        checksums_in_software(self.site, "eth0")
        checksums_in_software(self.host, SITE_PORT)
        self.site.ip("link", "set", "eth0", "address", SITE_MAC)
        for gateway in self.gateways.values():
            self.site.ip("neigh", "replace", gateway, "lladdr", GATEWAY_MAC, "dev", "eth0", "nud", "permanent")
            self.site.ip("route", "replace", "default", "via", gateway, "dev", "eth0")
        self.switch.vsctl("add-port", BRIDGE, SITE_PORT)

    def serve(self, target: str) -> None:
        """Announce the site with a route target, forward between it and whoever has that. Raises LabFault."""
        for version, prefix in self.prefixes.items():
            hop = self.switch.address if version == 4 else f"::ffff:{self.switch.address}"
            route = f"{FAMILIES[version]} {prefix} label {LABELS[version]} rd {self.switch.address}:66 rt {target}"
            gobgp.announce(self.host, route, hop)
        self.host.end_program("edge-flows")
        command_line = [sys.executable, "-m", "bagpipe.lab.edge_flows", "--target", target]
        command_line += ["--bridge", f"unix:{self.switch.directory}/{BRIDGE}.mgmt", "--own", self.switch.address]
        self.host.start("edge-flows", command_line)
