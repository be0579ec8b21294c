"""The provider edge outside the cloud: GoBGP speaks BGP, an Open vSwitch of its own forwards.

GoBGP has no dataplane here and this machine's kernel may have no MPLS, so a small program,
:mod:`bagpipe.lab.edge_flows`, reads GoBGP's table and writes the flows: what the customer's site sends gets the label
of the route, what comes with one of the edge's labels goes to the site. The site is a host behind the edge, somewhere
in the backbone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial

from bagpipe.lab.compute import BRIDGE, Compute
from bagpipe.lab.hosts import Host, join
from bagpipe.lab.offload import checksums_in_software
from bagpipe.lab.programs import succeeds
from bagpipe.lab.telling import wait_for

SITE_PORT = "site"
SITE_MAC = "02:00:00:00:66:02"
GATEWAY_MAC = "02:00:00:00:66:01"
FAMILIES = {4: "vpnv4", 6: "vpnv6"}
LABELS = {4: 1004, 6: 1006}

_GOBGP = """\
[global.config]
as = {my_as}
router-id = "{address}"
port = -1
[[neighbors]]
[neighbors.config]
neighbor-address = "{reflector}"
peer-as = {my_as}
[neighbors.timers.config]
connect-retry = 2
idle-hold-time-after-reset = 2
[[neighbors.afi-safis]]
config = {{ afi-safi-name = "l3vpn-ipv4-unicast" }}
[[neighbors.afi-safis]]
config = {{ afi-safi-name = "l3vpn-ipv6-unicast" }}
"""


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
        file = self.host.directory / "gobgpd.toml"
        file.write_text(_GOBGP.format(address=self.switch.address, reflector=reflector, my_as=my_as))
        self.host.start("gobgpd", ["gobgpd", "-f", str(file), "--pprof-disable", "--log-plain"])
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
            command = (
                f"gobgp global rib add -a {FAMILIES[version]} {prefix} label {LABELS[version]}"
                f" rd {self.switch.address}:66 rt {target} nexthop {hop}"
            )
            wait_for(partial(succeeds, self.host, command.split()), command, 0.1)
        self.host.end_program("edge-flows")
        command_line = [sys.executable, "-m", "bagpipe.lab.edge_flows", "--target", target]
        command_line += ["--bridge", f"unix:{self.switch.directory}/{BRIDGE}.mgmt", "--own", self.switch.address]
        self.host.start("edge-flows", command_line)
