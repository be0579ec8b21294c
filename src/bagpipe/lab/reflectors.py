"""The route reflectors that the cloud of the lab can have: ours, FRR, GoBGP, BIRD. The configurations are those of
``docs/reflectors`` with one reflector.
"""

from __future__ import annotations

from collections.abc import Callable

from bagpipe.lab import gobgp
from bagpipe.lab.hosts import Host
from bagpipe.lab.programs import installed, start_reflector

_FRR = """\
router bgp {my_as}
 bgp router-id {address}
 bgp cluster-id {address}
 no bgp default ipv4-unicast
 neighbor nodes peer-group
 neighbor nodes remote-as {my_as}
 neighbor nodes timers 30 90
 neighbor nodes passive
 bgp listen range {network} peer-group nodes
 address-family ipv4 vpn
  neighbor nodes activate
  neighbor nodes route-reflector-client
 exit-address-family
 address-family ipv6 vpn
  neighbor nodes activate
  neighbor nodes route-reflector-client
 exit-address-family
 address-family l2vpn evpn
  neighbor nodes activate
  neighbor nodes route-reflector-client
 exit-address-family
"""

_GOBGP = """\
[global.config]
as = {my_as}
router-id = "{address}"
[[peer-groups]]
[peer-groups.config]
peer-group-name = "nodes"
peer-as = {my_as}
[peer-groups.timers.config]
hold-time = 90
keepalive-interval = 30
[peer-groups.transport.config]
passive-mode = true
[peer-groups.route-reflector.config]
route-reflector-client = true
route-reflector-cluster-id = "{address}"
{families}
[[dynamic-neighbors]]
[dynamic-neighbors.config]
prefix = "{network}"
peer-group = "nodes"
"""
_GOBGP_FAMILIES = ("l3vpn-ipv4-unicast", "l3vpn-ipv6-unicast", "l2vpn-evpn", "l3vpn-ipv4-flowspec", "rtc")

_BIRD = """\
log stderr all;
router id {address};
vpn4 table vpn4tab;
vpn6 table vpn6tab;
protocol device {{
}}
protocol bgp nodes {{
  local {address} as {my_as};
  neighbor range {network} as {my_as};
  passive;
  rr client;
  rr cluster id {address};
  hold time 90;
  dynamic name "node";
  vpn4 mpls {{
    table vpn4tab;
    import all;
    export all;
    next hop keep;
  }};
  vpn6 mpls {{
    table vpn6tab;
    import all;
    export all;
    next hop keep;
  }};
}}
"""


def _ours(host: Host, _address: str, _network: str, _my_as: int) -> None:
    start_reflector(host)


def _frr(host: Host, address: str, network: str, my_as: int) -> None:
    installed("vtysh")
    file = host.directory / "bgpd.conf"
    file.write_text(_FRR.format(address=address, network=network, my_as=my_as))
    own = ["-u", "root", "-g", "root", "--vty_socket", str(host.directory), "-P", "0"]
    host.start(
        "bgpd", ["/usr/lib/frr/bgpd", "-S", "-Z", *own, "-f", str(file), "-i", str(host.directory / "frr-bgpd.pid")]
    )


def _gobgp(host: Host, address: str, network: str, my_as: int) -> None:
    installed("gobgpd", "gobgp")
    families = gobgp.families("peer-groups", _GOBGP_FAMILIES)
    gobgp.start(host, _GOBGP.format(address=address, network=network, my_as=my_as, families=families))


def _bird(host: Host, address: str, network: str, my_as: int) -> None:
    installed("bird", "birdc")
    file = host.directory / "bird.conf"
    file.write_text(_BIRD.format(address=address, network=network, my_as=my_as))
    host.start("bird", ["bird", "-f", "-c", str(file), "-s", str(host.directory / "bird.ctl")])


REFLECTORS: dict[str, Callable[[Host, str, str, int], None]] = {
    "ours": _ours,
    "frr": _frr,
    "gobgp": _gobgp,
    "bird": _bird,
}
"""By the names that ``--reflector`` takes. Each is given host, address, the network of its clients and the AS."""
WITHOUT_VPNV6 = frozenset({"bird"})
"""BIRD refuses VPNv6 routes whose next hop is IPv4-mapped, which those of an IPv4 underlay are."""
