"""``bagpipe-rest-attach``: attach or detach a port by the calls of networking-bagpipe's agents, from a command line.

Options and defaults are those of networking-bagpipe; ``--server`` and IPv6 are new. A port ``netns`` is made here, with
its namespace; ``evpn:ID`` chains an EVPN instance into an IP VPN.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_interface
from typing import Any

from bagpipe.cli.client import DEFAULT_SERVER, Client, ClientError
from bagpipe.cli.netns_port import NetnsPort, PortFault, plug, unplug

DEFAULT_TARGETS = {"ipvpn": "64512:512", "evpn": "64512:513"}
DEFAULT_MAC = "52:54:00:99:99:22"
LONGEST_INTERFACE = 15
CLASSIFIER = {
    "source_prefix": "sourcePrefix",
    "destination_prefix": "destinationPrefix",
    "source_port": "sourcePort",
    "destination_port": "destinationPort",
    "protocol": "protocol",
}
"""The options of a classifier and their names in a body."""
USAGE = (
    "bagpipe-rest-attach [--attach|--detach] --network-type (ipvpn|evpn) --port (<port>|netns) --ip <ip>[/<mask>] ..."
)
_MASKS = {4: 24, 6: 64}


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="bagpipe-rest-attach", usage=USAGE, description="Attach or detach a port.")
    add = made.add_argument
    add("--server", default=os.environ.get("BAGPIPE_SERVER", DEFAULT_SERVER), help="http://HOST:PORT or unix:PATH")
    verb = made.add_mutually_exclusive_group()
    verb.add_argument("--attach", action="store_const", dest="verb", const="attach", help="attach a local port")
    verb.add_argument("--detach", action="store_const", dest="verb", const="detach", help="detach a local port")
    add("--network-type", choices=["ipvpn", "evpn"], help="kind of the VPN")
    add("--vpn-instance-id", metavar="ID", help="VPN instance (default: (ipvpn|evpn)-bagpipe-test)")
    add(
        "--port",
        help="interface, netns[:IF] for a namespace that is made here (IF: its interface on this host), evpn:ID",
    )
    add("--ip", metavar="IP[/MASK]", help="address (default mask: 24, or 64 for IPv6)")
    add("--gateway-ip", metavar="IP", help="gateway (default: the last address of the subnet)")
    add("--mac", help=f"MAC (default: that of the interface of netns, else for ipvpn {DEFAULT_MAC})")
    add("--rt", action="append", default=[], help="route target to import and export (default: by kind of the VPN)")
    add("--import-rt", action="append", default=[], metavar="RT", help="route target to import only")
    add("--export-rt", action="append", default=[], metavar="RT", help="route target to export only")
    add("--direction", choices=["to-port", "from-port", "both"], default="both", help="(default: both)")
    singleton = made.add_mutually_exclusive_group()
    singleton.add_argument(
        "--advertise-singleton",
        action="store_false",
        dest="advertise_subnet",
        default=False,
        help="announce the address (default)",
    )
    singleton.add_argument("--advertise-subnet", action="store_true", help="announce the whole subnet")
    add("--ovs-preplug", action="store_true", help="put the port on an Open vSwitch bridge first")
    add("--ovs-bridge", default="br-int", metavar="BRIDGE", help="that bridge (default: br-int)")
    add("--ovs-vlan", type=int, metavar="VLAN", help="only this VLAN of the port")
    add("--netns", help="namespace for --port netns (default: the VPN instance)")
    add("--if2vpn", default="tovpn", metavar="IF", help="its interface towards the VPN (default: tovpn)")
    add("--readv-from-rt", action="append", default=[], metavar="RT", help="readvertise routes with this route target")
    add("--readv-to-rt", action="append", default=[], metavar="RT", help="... with this one")
    add("--redirect-rts", action="append", default=[], metavar="RTS", help="VPNs whose traffic is drawn here")
    for option in CLASSIFIER:
        add(f"--{option.replace('_', '-')}", help="which traffic is drawn here")
    add("--attract-to-rt", action="append", default=[], metavar="RT", help="announce a default route to this target")
    add("--static-destination-prefix", action="append", default=[], metavar="PREFIX", help="for --attract-to-rt")
    add("--lb-consistent-hash-order", type=int, default=0, metavar="NUMBER", help="place among several next hops")
    add("--vni", type=int, default=0, help="VNI of an evpn")
    add("--local-pref", type=int, metavar="NUMBER", help="LOCAL_PREF of the route")
    return made


def targets(texts: Sequence[str]) -> list[str]:
    """Route targets given one at a time or with commas between."""
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def default_gateway(address: IPv4Interface | IPv6Interface) -> IPv4Address | IPv6Address:
    """The last host of the subnet. Raises ValueError where the subnet is one address."""
    network = address.network
    if network.num_addresses == 1:
        raise ValueError(f"a /{network.prefixlen} has no room for a gateway: --gateway-ip is needed")
    has_broadcast = address.version == 4 and network.num_addresses > 2
    return network.broadcast_address - 1 if has_broadcast else network.broadcast_address


def netns_port(asked: argparse.Namespace) -> NetnsPort | None:
    """The port to be made, None where ``--port`` is another kind."""
    kind, _, interface = asked.port.partition(":")
    if kind != "netns":
        return None
    namespace = asked.netns or asked.vpn_instance_id
    return NetnsPort(namespace, interface or f"ns-{namespace}"[:LONGEST_INTERFACE], asked.if2vpn, asked.ovs_vlan)


def local_port(asked: argparse.Namespace, interface: str) -> dict[str, Any]:
    """``local_port`` of the body."""
    if asked.port.startswith("evpn:"):
        return {"evpn": {"id": asked.port.removeprefix("evpn:")}}
    port: dict[str, Any] = {"linuxif": interface}
    if asked.ovs_preplug or asked.ovs_vlan is not None:
        port["ovs"] = {"port_name": interface, "plugged": asked.ovs_preplug}
        if asked.ovs_vlan is not None:
            port["ovs"]["vlan"] = asked.ovs_vlan
    return port


def body_of(asked: argparse.Namespace, interface: str) -> dict[str, Any]:
    """The body of the call. What was not asked for is left out."""
    body: dict[str, Any] = {
        "vpn_instance_id": asked.vpn_instance_id,
        "vpn_type": asked.network_type,
        "import_rt": targets([*asked.rt, *asked.import_rt]),
        "export_rt": targets([*asked.rt, *asked.export_rt]),
        "local_port": local_port(asked, interface),
        "mac_address": asked.mac,
        "ip_address": asked.ip,
        "gateway_ip": asked.gateway_ip,
        "advertise_subnet": asked.advertise_subnet,
        "direction": asked.direction,
        "lb_consistent_hash_order": asked.lb_consistent_hash_order,
    }
    if asked.vni:
        body["vni"] = asked.vni
    if asked.local_pref is not None:
        body["local_pref"] = asked.local_pref
    if asked.readv_from_rt or asked.readv_to_rt:
        body["readvertise"] = {"from_rt": targets(asked.readv_from_rt), "to_rt": targets(asked.readv_to_rt)}
    if asked.redirect_rts:
        given = {key: getattr(asked, option) for option, key in CLASSIFIER.items()}
        attract: dict[str, Any] = {
            "redirect_rts": targets(asked.redirect_rts),
            "classifier": {key: value for key, value in given.items() if value is not None},
        }
        if asked.attract_to_rt:
            attract["to_rt"] = targets(asked.attract_to_rt)
        if asked.static_destination_prefix:
            attract["static_destination_prefixes"] = targets(asked.static_destination_prefix)
        body["attract_traffic"] = attract
    return body


def check(options: argparse.ArgumentParser, asked: argparse.Namespace) -> None:
    """Fill in the defaults that hang on other options; a command line that makes no sense ends the program."""
    if asked.verb is None:
        options.error("Need to specify --attach or --detach")
    for name in ("network_type", "port", "ip"):
        if getattr(asked, name) is None:
            options.error(f"Need to specify --{name.replace('_', '-')}")
    kind = asked.port.partition(":")[0]
    if asked.port == "evpn:" or (kind == "evpn" and asked.network_type != "ipvpn"):
        options.error("--port evpn:ID chains an EVPN instance into an IP VPN")
    try:
        address = ip_interface(asked.ip if "/" in asked.ip else f"{asked.ip}/{_MASKS[6 if ':' in asked.ip else 4]}")
        asked.ip = address.with_prefixlen
        if asked.gateway_ip is None:
            asked.gateway_ip = str(default_gateway(address))
            print(f"using {asked.gateway_ip} as gateway address")
        elif ip_interface(asked.gateway_ip).version != address.version:
            options.error(f"--gateway-ip {asked.gateway_ip}: not of the kind of {asked.ip}")
    except ValueError as error:
        options.error(f"--ip {asked.ip}: {error}")
    if asked.vpn_instance_id is None:
        asked.vpn_instance_id = f"{asked.network_type}-bagpipe-test"
    if not (asked.rt or asked.import_rt or asked.export_rt):
        asked.rt = [DEFAULT_TARGETS[asked.network_type]]
    if asked.mac is None and kind != "netns":
        if asked.network_type == "evpn":
            options.error("Need to specify --mac for an EVPN network attachment if port is not 'netns'")
        asked.mac = DEFAULT_MAC
    if not asked.redirect_rts:
        left = [name for name in (*CLASSIFIER, "attract_to_rt", "static_destination_prefix") if getattr(asked, name)]
        if left:
            options.error(f"--{left[0].replace('_', '-')} needs --redirect-rts")
    if asked.ovs_vlan is not None and not 1 <= asked.ovs_vlan <= 4094:
        options.error(f"--ovs-vlan {asked.ovs_vlan}: not 1 to 4094")


def prepare(asked: argparse.Namespace, made: NetnsPort | None) -> str:
    """Make the port if it is to be made, and give the name of its interface. Raises PortFault."""
    interface: str = asked.port if made is None else made.outside
    if made is not None and asked.verb == "attach":
        print(f"Will plug local namespace {made.namespace} into network")
        address = ip_interface(asked.ip)
        asked.mac = made.create(address, ip_interface(asked.gateway_ip).ip, asked.mac)
    elif made is not None and asked.mac is None:
        asked.mac = made.mac
    if made is not None:
        print(f"Local port: {interface} ({asked.mac})")
    if asked.ovs_preplug and asked.verb == "attach":
        print(f"pre-plugging {interface} into {asked.ovs_bridge}")
        plug(asked.ovs_bridge, interface)
    return interface


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it. The status is 1, and the last line ``error N`` for an HTTP status, when it was not done."""
    options = parser()
    asked = options.parse_args(arguments)
    check(options, asked)
    made = netns_port(asked)
    try:
        interface = prepare(asked, made)
        body = body_of(asked, interface)
        print(f"request: {json.dumps(body)}")
        answer = Client(asked.server).exchange("POST", f"/{asked.verb}_localport", body, timeout=120.0)
        print(f"response: {answer.status} {answer.text.strip()}")
        if answer.status != http.client.OK:
            print(f"error {answer.status}", file=sys.stderr)
            return 1
        if asked.verb == "detach":
            if asked.ovs_preplug:
                unplug(interface)
            if made is not None:
                made.delete()
    except (ClientError, PortFault) as fault:
        print(f"bagpipe-rest-attach: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
