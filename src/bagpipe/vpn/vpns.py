"""All VPN instances of this node, of either type: who asks by the name of an instance need not know which it is."""

from __future__ import annotations

from collections.abc import Iterable

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import EVPN_RECORDS, Key
from bagpipe.errors import LocalMisuse
from bagpipe.rib.store import Store
from bagpipe.vpn.allocation import Numbers
from bagpipe.vpn.attachment import Attachment, EndpointKey, InstanceType, Reserved
from bagpipe.vpn.evpn.evi import Evi
from bagpipe.vpn.evpn.instances import EvpnInstances
from bagpipe.vpn.instances import Instances
from bagpipe.vpn.interest import SharedAnnouncer
from bagpipe.vpn.outcome import Attached, Detached, EndpointState
from bagpipe.vpn.settings import Announcer, VpnSettings
from bagpipe.vpn.vrf import Vrf


class Vpns:
    """``ipvpn`` and ``evpn`` are the instances of each type. They share what identifies them to others: numbers, route
    distinguishers and labels, and no two of them have the same external id.
    """

    def __init__(self, store: Store, announcer: Announcer, ipvpn: VpnSettings, evpn: VpnSettings) -> None:
        shared = SharedAnnouncer(announcer)
        numbers = Numbers(ipvpn.capabilities.labels)
        self.ipvpn = Instances(store, shared, Tracker(), ipvpn, numbers)
        self.evpn = EvpnInstances(store, shared, Tracker(), evpn, numbers)
        self.evpn.on_prefix_routes = self.ipvpn.prefix_routes_changed

    def find(self, external_id: str) -> Vrf | Evi | None:
        """The instance of this id; None if there is none."""
        return self.ipvpn.instances.get(external_id) or self.evpn.instances.get(external_id)

    def all(self) -> list[Vrf | Evi]:
        """All instances, in the order of their numbers."""
        found: list[Vrf | Evi] = [*self.ipvpn.instances.values(), *self.evpn.instances.values()]
        return sorted(found, key=lambda each: each.number)

    def tracker_of(self, key: Key) -> Tracker:
        """The tracker that an instance's record is in."""
        return self.evpn.tracker if isinstance(key, EVPN_RECORDS) else self.ipvpn.tracker

    def attach(self, attachment: Attachment, reserved: Reserved | None = None) -> Attached:
        """Attach an endpoint, or change how it is attached. Raises LocalMisuse before any change."""
        spec = attachment.instance
        other, mine = (self.ipvpn, self.evpn) if spec.type is InstanceType.EVPN else (self.evpn, self.ipvpn)
        if spec.external_id in other.instances:
            raise LocalMisuse("vpn_type", spec.type.value, f"VPN {spec.external_id} is of the other type")
        return mine.attach(attachment, reserved)

    def detach(self, external_id: str, key: EndpointKey) -> Detached:
        """Detach an endpoint. Raises LocalMisuse if there is no such instance or endpoint."""
        return self._of(external_id).detach(external_id, key, None)

    def endpoint_state(self, external_id: str, key: EndpointKey) -> EndpointState:
        """Whether the records of an endpoint are in effect. Raises LocalMisuse if there is no such endpoint."""
        return self._of(external_id).endpoint_state(external_id, key)

    def _of(self, external_id: str) -> Instances | EvpnInstances:
        return self.evpn if external_id in self.evpn.instances else self.ipvpn

    def routes_changed(self) -> None:
        """Routes that this node imports may have changed: take the changes from the store."""
        self.evpn.routes_changed()
        self.ipvpn.routes_changed()

    def accept_from(self, addresses: Iterable[bytes]) -> None:
        """From now on these nodes (4 or 16 octets each) may send to this one whatever routes there are, in place of
        those told before.
        """
        accepted = tuple(addresses)
        self.ipvpn.accept_from(accepted)
        self.evpn.accept_from(accepted)
