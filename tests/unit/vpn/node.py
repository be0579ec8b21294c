"""A node for tests of the VPN layer: a real speaker, a tracker, instances, and peers that say what the test says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, ip_address, ip_interface
from typing import Any

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import (
    Capabilities,
    Encapsulation,
    Forward,
    ForwardKey,
    Port,
    Prefix,
)
from bagpipe.identifiers import MacAddress, RouteTarget
from bagpipe.speaker import Speaker, SpeakerSettings, membership_key
from bagpipe.vpn.allocation import Numbers
from bagpipe.vpn.attachment import Attachment, EndpointKey, InstanceSpec, InstanceType, Reserved
from bagpipe.vpn.instances import Attached, Detached, Instances, VpnSettings
from bagpipe.wire.attributes import EXTENDED_COMMUNITIES, walk
from bagpipe.wire.extended_community import decode_extended_communities
from bagpipe.wire.family import RTC, VPNV4, VPNV6, Family
from bagpipe.wire.nlri import CODECS
from tests.unit.rib import routes
from tests.unit.vpn.any_node import OWN, AnyNode

MPLS = Capabilities("test", (Encapsulation.MPLS,), True)
GRE = Capabilities("test", (Encapsulation.MPLS_GRE, Encapsulation.VXLAN), True)
DUMMY = Capabilities("dummy", (), False)


def rts(*numbers: int) -> frozenset[RouteTarget]:
    """64512:n for each."""
    return frozenset(RouteTarget(routes.route_target(number)) for number in numbers)


def prefix(text: str) -> Prefix:
    return Prefix.of(ip_interface(text).network)


def mac(number: int) -> MacAddress:
    return MacAddress(b"\xfa\x16\x3e\0" + number.to_bytes(2))


def key(number: int, ip: str) -> EndpointKey:
    return EndpointKey(mac(number), ip_interface(ip))


def attachment(
    instance: str = "red",
    ip: str = "10.0.0.2",
    number: int = 2,
    *,
    port: Port | str | None = None,
    imports: Iterable[int] = (1,),
    exports: Iterable[int] = (1,),
    spec: Mapping[str, Any] | None = None,
    **rest: Any,
) -> Attachment:
    """One endpoint; its MAC has ``number``, and so has its port unless told otherwise."""
    if not isinstance(port, Port):
        port = Port(port or f"tap{number}", number if port is None else None)
    described = InstanceSpec(instance, InstanceType.IPVPN, rts(*imports), rts(*exports), **(spec or {}))
    return Attachment(described, key(number, ip), port, **rest)


class RetainingSpeaker(Speaker):
    """Keeps what nobody imports, as with a peer that could not send it again."""

    def cease_import(self, route_target: RouteTarget) -> None:
        self.store.cease_import(route_target.packed)
        self.withdraw(RTC, 0, [membership_key(self.settings.local_as, route_target)])


class Node(AnyNode[Instances]):
    """A node with address 192.0.2.11 in AS 64512."""

    def __init__(
        self,
        capabilities: Capabilities = MPLS,
        next_hop: str = OWN,
        accept_from: tuple[bytes, ...] = (),
        router_id: str = OWN,
    ) -> None:
        super().__init__()
        self.speaker = RetainingSpeaker(SpeakerSettings(64512, IPv4Address(router_id)), jitter=lambda: 0.0)
        self.tracker = Tracker()
        settings = VpnSettings(64512, IPv4Address(router_id), ip_address(next_hop), capabilities, accept_from)
        numbers = Numbers(capabilities.labels)
        self.instances = Instances(self.speaker.store, self.speaker, self.tracker, settings, numbers)
        self.speaker.importer = self.instances.routes_changed

    def attach(self, *args: Any, reserved: Reserved | None = None, confirm: bool = True, **kwargs: Any) -> Attached:
        attached = self.instances.attach(attachment(*args, **kwargs), reserved)
        if confirm:
            self.confirm()
        return attached

    def detach(self, instance: str = "red", ip: str = "10.0.0.2", number: int = 2) -> Detached:
        detached = self.instances.detach(instance, key(number, ip), None)
        self.confirm()
        return detached

    def forward(self, instance: str, destination: str) -> Forward | None:
        """The record of a prefix."""
        number = self.instances.instances[instance].number
        found = self.tracker.desired.get(ForwardKey(number, prefix(destination)))
        assert found is None or isinstance(found, tuple)
        return found

    def hops(self, instance: str, destination: str) -> list[str]:
        return [str(hop) for hop in self.forward(instance, destination) or ()]

    def told(self, *families: Family) -> dict[str, tuple[str, ...]]:
        """What this node announces: the text of each NLRI with its LOCAL_PREF (if not 100) and communities."""
        found: dict[str, tuple[str, ...]] = {}
        for bundle in self.speaker.local.bundles.values():
            family = bundle.table.family
            if family not in (families or (VPNV4, VPNV6)):
                continue
            for route, payload in bundle.routes.items():
                text = str(CODECS[family].decode(bundle.table.shape, route, payload))
                block = bundle.attributes.block
                preference = bundle.attributes.local_pref
                communities = _communities(block)
                extra = () if preference == 100 else (f"local-pref {preference}",)
                found[text] = (*extra, *communities)
        return found


def _communities(block: bytes) -> tuple[str, ...]:
    for _, code, value in walk(block):
        if code == EXTENDED_COMMUNITIES:
            return tuple(str(each) for each in decode_extended_communities(value))
    return ()
