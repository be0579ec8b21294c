"""A node for tests of EVPN instances: a real speaker, a tracker, instances, and peers that say what the test says.

The octets of routes are written by hand, so that they share no code with what is tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, ip_address, ip_interface
from typing import Any

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import (
    Capabilities,
    Encapsulation,
    FloodKey,
    Key,
    MacKey,
    Neighbour,
    NeighbourKey,
    Port,
    Value,
)
from bagpipe.speaker import SpeakerSettings
from bagpipe.vpn.allocation import Numbers
from bagpipe.vpn.attachment import Attachment, EndpointKey, InstanceSpec, InstanceType, Reserved
from bagpipe.vpn.evpn.evi import Evi
from bagpipe.vpn.evpn.instances import EvpnInstances
from bagpipe.vpn.instances import Attached, Detached
from bagpipe.vpn.settings import VpnSettings
from bagpipe.wire.attributes import EXTENDED_COMMUNITIES, PMSI_TUNNEL, walk
from bagpipe.wire.extended_community import decode_extended_communities
from bagpipe.wire.family import EVPN
from bagpipe.wire.nlri import CODECS
from bagpipe.wire.pmsi import decode as decode_pmsi
from tests.unit.rib import routes
from tests.unit.vpn.any_node import OWN, AnyNode
from tests.unit.vpn.node import RetainingSpeaker, mac, rts

VXLAN = Capabilities("test", (Encapsulation.VXLAN,), True)
ONE_PATH = Capabilities("test", (Encapsulation.VXLAN,), False)
DUMMY = Capabilities("dummy", (), False)
PE1, PE2, PE3 = "192.0.2.101", "192.0.2.102", "192.0.2.103"
"""Higher addresses than the node's own, so that it wins a tie."""
LOW = "192.0.2.1"
"""A lower one."""


def attachment(
    instance: str = "red",
    ip: str | None = "10.0.0.2",
    number: int = 2,
    *,
    port: Port | str | None = None,
    imports: Iterable[int] = (1,),
    exports: Iterable[int] = (1,),
    spec: Mapping[str, Any] | None = None,
    own_exports: Iterable[int] | None = None,
    **rest: Any,
) -> Attachment:
    """One endpoint; its MAC has ``number``, and so has its port unless told otherwise."""
    if not isinstance(port, Port):
        port = Port(port or f"tap{number}")
    described = InstanceSpec(instance, InstanceType.EVPN, rts(*imports), rts(*exports), **(spec or {}))
    own = rts(*own_exports) if own_exports is not None else None
    return Attachment(described, key(number, ip), port, export_rts=own, **rest)


def key(number: int, ip: str | None) -> EndpointKey:
    return EndpointKey(mac(number), ip_interface(ip) if ip is not None else None)


# ---------------------------------------------------------------------- what neighbours say


def distinguisher(node: str, number: int = 1) -> bytes:
    """node:number."""
    return b"\0\1" + IPv4Address(node).packed + number.to_bytes(2)


def mac_nlri(
    number: int,
    ip: str | None = None,
    *,
    node: str = PE1,
    vni: int = 5000,
    rd: int = 1,
    esi: bytes = bytes(10),
    tag: int = 0,
    octets: bytes | None = None,
    second: bytes = b"",
) -> bytes:
    """RFC 7432 section 7.2."""
    address = ip_address(ip).packed if ip is not None else b""
    value = distinguisher(node, rd) + esi + tag.to_bytes(4) + b"\x30" + (octets or mac(number).packed)
    value += bytes((8 * len(address),)) + address + vni.to_bytes(3) + second
    return b"\x02" + bytes((len(value),)) + value


def multicast_nlri(node: str = PE1, *, rd: int = 1, tag: int = 0) -> bytes:
    """RFC 7432 section 7.3."""
    value = distinguisher(node, rd) + tag.to_bytes(4) + b"\x20" + IPv4Address(node).packed
    return b"\x03" + bytes((len(value),)) + value


def discovery_nlri(esi: bytes, node: str = PE1, *, rd: int = 1, tag: int = 0, vni: int = 0) -> bytes:
    """RFC 7432 section 7.1."""
    value = distinguisher(node, rd) + esi + tag.to_bytes(4) + vni.to_bytes(3)
    return b"\x01" + bytes((len(value),)) + value


def mobility(sequence: int, *, sticky: bool = False) -> bytes:
    return b"\x06\0" + bytes((sticky, 0)) + sequence.to_bytes(4)


def update(
    *nlri: bytes,
    node: str = PE1,
    rt: tuple[int, ...] = (1,),
    tunnels: tuple[int, ...] = (8,),
    communities: bytes = b"",
    pmsi: bytes | None = None,
    next_hop: bytes | None = None,
    **rest: Any,
) -> bytes:
    """An UPDATE body: VXLAN (8) and target 64512:1, unless told otherwise."""
    extended = b"".join(b"\x03\x0c\0\0\0\0" + each.to_bytes(2) for each in tunnels) + communities
    extended += b"".join(routes.route_target(each) for each in rt)
    hop = next_hop if next_hop is not None else IPv4Address(node).packed
    reach = routes.attribute(0x90, 14, b"\0\x19\x46" + bytes((len(hop),)) + hop + b"\0" + b"".join(nlri))
    parts = [routes.common(**rest), reach, routes.attribute(0xC0, 16, extended)]
    if pmsi is not None:
        parts.append(routes.attribute(0xC0, 22, pmsi))
    return routes.body(*parts)


def ingress(node: str, vni: int = 5000) -> bytes:
    """RFC 6514 section 5: tunnel type 6."""
    return b"\0\x06" + vni.to_bytes(3) + IPv4Address(node).packed


def withdraw(*nlri: bytes) -> bytes:
    return routes.body(routes.attribute(0x90, 15, b"\0\x19\x46" + b"".join(nlri)))


def mac_update(number: int, ip: str | None = None, *, node: str = PE1, sequence: int = 0, **rest: Any) -> bytes:
    """One route of type 2 by itself."""
    told = {name: rest.pop(name) for name in ("vni", "rd", "esi", "tag", "octets", "second") if name in rest}
    sticky = rest.pop("sticky", False)
    communities = mobility(sequence, sticky=sticky) if sequence or sticky else b""
    communities += rest.pop("communities", b"")
    return update(mac_nlri(number, ip, node=node, **told), node=node, communities=communities, **rest)


def multicast_update(node: str = PE1, vni: int = 5000, **rest: Any) -> bytes:
    """One route of type 3 by itself, with ingress replication to its node."""
    rest.setdefault("pmsi", ingress(node, vni))
    told = {name: rest.pop(name) for name in ("rd", "tag") if name in rest}
    return update(multicast_nlri(node, **told), node=node, **rest)


# ---------------------------------------------------------------------- the node


class Node(AnyNode[EvpnInstances]):
    """A node with address 192.0.2.11 in AS 64512."""

    def __init__(self, capabilities: Capabilities = VXLAN, next_hop: str = OWN, router_id: str = OWN) -> None:
        super().__init__()
        self.speaker = RetainingSpeaker(SpeakerSettings(64512, IPv4Address(router_id)), jitter=lambda: 0.0)
        self.tracker = Tracker()
        settings = VpnSettings(64512, IPv4Address(router_id), ip_address(next_hop), capabilities)
        self.numbers = Numbers()
        self.instances = EvpnInstances(self.speaker.store, self.speaker, self.tracker, settings, self.numbers)
        self.speaker.importer = self.instances.routes_changed
        self.now = 0.0
        self.instances.clock = lambda: self.now

    def attach(self, *args: Any, reserved: Reserved | None = None, confirm: bool = True, **kwargs: Any) -> Attached:
        attached = self.instances.attach(attachment(*args, **kwargs), reserved)
        if confirm:
            self.confirm()
        return attached

    def detach(self, instance: str = "red", ip: str | None = "10.0.0.2", number: int = 2) -> Detached:
        detached = self.instances.detach(instance, key(number, ip), None)
        self.confirm()
        return detached

    def evi(self, instance: str = "red") -> Evi:
        return self.instances.instances[instance]

    def _record(self, key: Key) -> Value | None:
        return self.tracker.desired.get(key)

    def hops(self, number: int, instance: str = "red") -> list[str]:
        """Where frames to a MAC go."""
        return self._hops(MacKey(self.evi(instance).number, mac(number).packed))

    def floods(self, instance: str = "red") -> list[str]:
        """Where frames to many go."""
        number = self.evi(instance).number
        records = [key for key in self.tracker.desired if isinstance(key, FloodKey) and key.instance == number]
        return [hop for record in sorted(records) for hop in self._hops(record)]

    def _hops(self, record: Key) -> list[str]:
        value = self._record(record)
        assert value is None or isinstance(value, tuple)
        return [str(hop) for hop in value or ()]

    def answer(self, ip: str, instance: str = "red") -> Neighbour | None:
        """What is answered for an address."""
        value = self._record(NeighbourKey(self.evi(instance).number, ip_address(ip).packed))
        assert value is None or isinstance(value, Neighbour)
        return value

    def told(self) -> dict[str, tuple[str, ...]]:
        """What this node announces: the text of each NLRI with its LOCAL_PREF (if not 100), communities and tunnel."""
        found: dict[str, tuple[str, ...]] = {}
        for bundle in self.speaker.local.bundles.values():
            if bundle.table.family != EVPN:
                continue
            for route, payload in bundle.routes.items():
                text = str(CODECS[EVPN].decode(0, route, payload))
                preference = bundle.attributes.local_pref
                extra = () if preference == 100 else (f"local-pref {preference}",)
                found[text] = (*extra, *_shown(bundle.attributes.block))
        return found

    @property
    def told_macs(self) -> list[str]:
        """The routes of type 2 among them, from the MAC on."""
        return sorted(text.partition(" mac ")[2] for text in self.told() if text.startswith("mac-ip"))


def _shown(block: bytes) -> tuple[str, ...]:
    found: list[str] = []
    for _, code, value in walk(block):
        if code == EXTENDED_COMMUNITIES:
            found += [str(each) for each in decode_extended_communities(value)]
        elif code == PMSI_TUNNEL:
            found.append(str(decode_pmsi(value)))
    return tuple(found)
