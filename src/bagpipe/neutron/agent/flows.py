"""A flow of Neutron's bridges as a value, and how it is said to os-ken.

Two flows are the same to Open vSwitch when table, priority and match are the same; :attr:`Flow.place` is that. Fields
are named as ovs-ofctl names them, in OpenFlow 1.3 with Nicira's extensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_IPV6: Final = 0x86DD
ETHERTYPE_VLAN: Final = 0x8100
ICMPV6: Final = 58
NEIGHBOUR_SOLICITATION: Final = 135
NEIGHBOUR_ADVERTISEMENT: Final = 136
ARP_REQUEST: Final = 1
ARP_REPLY: Final = 2
_VLAN_PRESENT: Final = 0x1000

Value = int | str
Match = tuple[tuple[str, Value], ...]
"""Sorted pairs of a field and its value; a MAC may have a mask, "01:00:00:00:00:00/01:00:00:00:00:00"."""


class Bridge(StrEnum):
    """The bridges of Neutron that get flows."""

    INTEGRATION = "br-int"
    TUNNEL = "br-tun"


@dataclass(frozen=True, slots=True)
class Output:
    """Out of a port."""

    port: int


@dataclass(frozen=True, slots=True)
class Normal:
    """What the bridge does by itself: switch by learnt MACs."""


@dataclass(frozen=True, slots=True)
class Resubmit:
    """On to a table."""

    table: int


@dataclass(frozen=True, slots=True)
class PushVlan:
    """Give the frame this VLAN."""

    vlan: int


@dataclass(frozen=True, slots=True)
class PopVlan:
    """Take the VLAN off."""


@dataclass(frozen=True, slots=True)
class AnswerArp:
    """Turn the ARP request into a reply that says ``address`` is at ``mac``, and send it back where it came from."""

    address: str
    mac: str


Action = Output | Normal | Resubmit | PushVlan | PopVlan | AnswerArp
Place = tuple[Bridge, int, int, Match]


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow."""

    bridge: Bridge
    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]

    @property
    def place(self) -> Place:
        """What Open vSwitch tells flows apart by."""
        return self.bridge, self.table, self.priority, self.match


def matching(fields: Mapping[str, Value | None]) -> Match:
    """A match of the fields that have a value."""
    return tuple(sorted((name, value) for name, value in fields.items() if value is not None))


_OS_KEN_NAMES: Final = {
    "dl_src": "eth_src",
    "dl_dst": "eth_dst",
    "dl_type": "eth_type",
    "nw_proto": "ip_proto",
    "icmp_type": "icmpv6_type",
    "nd_target": "ipv6_nd_target",
}


def os_ken_match(flow: Flow, parser: Any) -> Any:
    """The match as an ``OFPMatch`` of os-ken's OpenFlow 1.3 ``parser``."""
    fields: dict[str, Any] = {}
    for name, value in flow.match:
        if name == "dl_vlan":
            fields["vlan_vid"] = int(value) | _VLAN_PRESENT
        elif isinstance(value, str) and "/" in value:
            fields[_OS_KEN_NAMES.get(name, name)] = tuple(value.split("/"))
        else:
            fields[_OS_KEN_NAMES.get(name, name)] = value
    return parser.OFPMatch(**fields)


def os_ken_actions(flow: Flow, protocol: Any, parser: Any) -> list[Any]:
    """The actions as os-ken's, for the OpenFlow 1.3 ``protocol`` and its ``parser``."""
    return [made for action in flow.actions for made in _os_ken_action(action, protocol, parser)]


def _os_ken_action(action: Action, protocol: Any, parser: Any) -> list[Any]:
    match action:
        case Output(port):
            return [parser.OFPActionOutput(port, 0)]
        case Normal():
            return [parser.OFPActionOutput(protocol.OFPP_NORMAL, 0)]
        case Resubmit(table):
            return [parser.NXActionResubmitTable(table_id=table)]
        case PushVlan(vlan):
            return [
                parser.OFPActionPushVlan(ETHERTYPE_VLAN),
                parser.OFPActionSetField(vlan_vid=vlan | _VLAN_PRESENT),
            ]
        case PopVlan():
            return [parser.OFPActionPopVlan()]
        case AnswerArp(address, mac):
            return [
                parser.OFPActionSetField(arp_op=ARP_REPLY),
                parser.NXActionRegMove(src_field="arp_sha", dst_field="arp_tha", n_bits=48),
                parser.NXActionRegMove(src_field="arp_spa", dst_field="arp_tpa", n_bits=32),
                parser.OFPActionSetField(arp_sha=mac),
                parser.OFPActionSetField(arp_spa=address),
                parser.NXActionRegMove(src_field="eth_src", dst_field="eth_dst", n_bits=48),
                parser.OFPActionSetField(eth_src=mac),
                parser.OFPActionOutput(protocol.OFPP_IN_PORT, 0),
            ]
