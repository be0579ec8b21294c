"""IP VPN instances: attachments and routes in, desired forwarding state and originated routes out.

RFC 4364 (BGP/MPLS IP VPNs), RFC 4659 (IPv6), RFC 9136 (by EVPN). Every method leaves everything consistent: the desired
state and this node's routes are a function of what is attached, what the RIB holds and what the dataplane has
confirmed. A route is announced when the records that it needs are in effect, and withdrawn before they go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from zlib import crc32

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import ARRIVING, Address, Delivery, DeliveryKey, ForwardKey, Key, Port
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import RouteDistinguisher, RouteTarget
from bagpipe.rib.bundle import Origin, Source
from bagpipe.rib.store import Store
from bagpipe.rib.table import Table
from bagpipe.vpn.allocation import Allocator, Numbers, own_distinguisher
from bagpipe.vpn.attachment import UNSAID, Attachment, CarriedBy, EndpointKey, InstanceSpec, Reserved
from bagpipe.vpn.awaiting import Awaiting
from bagpipe.vpn.candidates import Resolver
from bagpipe.vpn.carriage import carried_by, check_carriage, stated_vni
from bagpipe.vpn.checks import Place, check_alone, check_beside, check_port, place_of
from bagpipe.vpn.endpoint import Endpoint, LabelGroup, PortAccess, announced_prefix, gives_traffic, takes_traffic
from bagpipe.vpn.explain import Lookup, look_up
from bagpipe.vpn.export import Exports, LocalAttributes
from bagpipe.vpn.imports import Imports
from bagpipe.vpn.interest import change_interest
from bagpipe.vpn.outcome import Attached, Detached, EndpointState
from bagpipe.vpn.prefix_routes import prefix_route
from bagpipe.vpn.readvertise import Origination
from bagpipe.vpn.settings import Announcer, VpnSettings
from bagpipe.vpn.steering import Steering, redirect_name
from bagpipe.vpn.vrf import Vrf
from bagpipe.wire.family import EVPN

__all__ = ["Announcer", "Instances", "Lookup", "VpnSettings"]

_REDIRECTS = (0x800000, 0xFFFFFF)
"""The numbers of instances that flows redirect to: chosen by their target, so that they survive a restart."""


class Instances:
    """The VPN instances of this node.

    ``instances`` are by external id; those that only flows redirect to are among them (``Vrf.redirect_target``).
    """

    def __init__(
        self, store: Store, announcer: Announcer, tracker: Tracker, settings: VpnSettings, numbers: Numbers
    ) -> None:
        self.store = store
        self.tracker = tracker
        self.settings = settings
        self.instances: dict[str, Vrf] = {}
        self.labels: dict[int, LabelGroup] = {}
        self.vnis: dict[int, Vrf] = {}
        self._announcer = announcer
        self._numbers = numbers
        self._redirect_numbers = Allocator("redirect instances", *_REDIRECTS)
        self._port_names: dict[str, PortAccess] = {}
        self._places: dict[Place, PortAccess] = {}
        self._awaiting: Awaiting[Endpoint] = Awaiting()
        self._is_busy = False
        self._gone: list[Vrf] = []
        own = Source(Origin("local", True, True, False, settings.router_id.packed, b""))
        self.exports = Exports(announcer)
        self.imports = Imports(store, tracker, Resolver(settings, self.labels, self.vnis), own)
        self._origination = Origination(self.exports, LocalAttributes(settings), self.imports)
        self.steering = Steering(tracker, self.imports, self._enter_redirect, self._leave_redirect)
        self.imports.own_attributes = self._origination.own_attributes
        self.imports.on_source = self._origination.source_changed
        if settings.capabilities.steering:
            self.imports.on_flow = self.steering.changed
        self.accept_from = self.imports.senders.accept_from
        self.accept_from(settings.accept_from)

    # ------------------------------------------------------------ attach

    def check(self, attachment: Attachment) -> None:
        """Raises LocalMisuse if :meth:`attach` would; changes nothing."""
        check_alone(attachment, self.settings)
        vrf = self.instances.get(attachment.instance.external_id)
        check_beside(attachment, vrf, self.instances)
        needs_vni = self._check_carriage(attachment.instance, vrf)
        check_port(attachment, vrf, self._port_names, self._places)
        endpoint = vrf.endpoints.get(attachment.key) if vrf is not None else None
        if vrf is None:
            self._numbers.instances.require(1)
        if endpoint is None:
            self._numbers.rds.require(2 if vrf is None else 1)
        self._numbers.labels.require((endpoint is None or endpoint.group is None) + needs_vni)

    def _check_carriage(self, spec: InstanceSpec, vrf: Vrf | None) -> bool:
        """Whether a VNI has to be chosen to carry an instance as asked for. Raises LocalMisuse if it cannot be."""
        check_carriage(spec, vrf, self.settings)
        vni = stated_vni(spec, vrf)
        if CarriedBy.EVPN not in carried_by(spec, vrf, self.settings):
            return False
        if vni is None:
            return vrf is None or vrf.vni is None or vrf.stated_vni is not None
        self._numbers.vnis.check(vni, spec.external_id)
        if vni not in self.vnis and vni in self._numbers.labels.live:
            raise LocalMisuse("vni", vni, "this node uses it as the label of something else")
        return False

    def attach(self, attachment: Attachment, reserved: Reserved | None = None) -> Attached:
        """Attach an endpoint, or change how it is attached. Raises LocalMisuse before any change.

        ``reserved`` are the identifiers it had before a restart; one that is in use meanwhile is replaced by another.
        """
        self.check(attachment)
        spec = attachment.instance
        with self._consistently():
            vrf = self.instances.get(spec.external_id)
            if vrf is None:
                vrf = self._create(spec, reserved)
            endpoint = vrf.endpoints.get(attachment.key)
            self._carry(vrf, spec, reserved)
            self._describe(vrf, spec)
            if endpoint is None:
                number = self._numbers.rds.allocate(reserved.endpoint_rd if reserved is not None else None)
                endpoint = Endpoint(vrf, attachment, number, own_distinguisher(self.settings.router_id, number))
            self._plug(endpoint, attachment, reserved)
        label = endpoint.group.label if endpoint.group is not None else 0
        chosen = vrf.vni if vrf.vni is not None and vrf.stated_vni is None else 0
        return Attached(endpoint.keys, Reserved(vrf.number, vrf.rd_number, endpoint.rd_number, label, vni=chosen))

    def _create(self, spec: InstanceSpec, reserved: Reserved | None) -> Vrf:
        identity = self._numbers.identify(spec, reserved, self.settings.router_id)
        vrf = self.instances[spec.external_id] = Vrf(spec.external_id, *identity)
        return vrf

    def _carry(self, vrf: Vrf, spec: InstanceSpec, reserved: Reserved | None) -> None:
        """Have the VRF announced by the families that are asked for, with a VNI if EVPN is one of them."""
        families, vni = carried_by(spec, vrf, self.settings), stated_vni(spec, vrf)
        is_by_evpn = CarriedBy.EVPN in families
        if families == vrf.carried_by and vni == vrf.stated_vni:
            return
        keeps = is_by_evpn and vrf.vni is not None and vni in (vrf.vni, vrf.stated_vni)
        vrf.carried_by = families
        if not keeps:
            self._leave_vni(vrf)
        vrf.stated_vni = vni
        if is_by_evpn and not keeps:
            wanted = reserved.vni or None if reserved is not None else None
            vrf.vni = vni = self._numbers.vnis.take(vrf.external_id, vni, wanted)
            self.vnis[vni] = vrf
            arrival = Delivery(vrf.number | ARRIVING, None, self.settings.router_mac, None)
            self.tracker.set(DeliveryKey(vni), arrival)
            for record in vrf.own:
                self.imports.decide_own(vrf, record)
        for endpoint in vrf.endpoints.values():
            self._await(endpoint)
            self._origination.refresh(endpoint)

    def _leave_vni(self, vrf: Vrf) -> None:
        """The routes of a VRF that name its VNI are withdrawn, and then nothing comes by it any more."""
        key, vni = vrf.arrival_key, vrf.vni
        if key is None or vni is None:
            return
        vrf.vni = None
        for endpoint in vrf.endpoints.values():
            self._await(endpoint)
            self._origination.refresh(endpoint)
        self.exports.flush()
        self.tracker.remove(key)
        for record in vrf.own:
            self.tracker.remove(vrf.arrival(record.prefix))
        del self.vnis[vni]
        self._numbers.vnis.leave(vni)

    def _describe(self, vrf: Vrf, spec: InstanceSpec) -> None:
        """Take what an attachment says of its instance."""
        if spec.description is not UNSAID:
            vrf.description = spec.description
        if spec.fallback is not UNSAID and spec.fallback != vrf.fallback:
            vrf.fallback = spec.fallback
            self._set_fallback(vrf)
        if spec.gateway is not UNSAID and spec.gateway != vrf.gateway:
            vrf.gateway = spec.gateway
            for access in vrf.ports.values():
                self.tracker.set(access.key, access.access)
        if spec.export_rts != vrf.export_rts:
            vrf.export_rts = spec.export_rts
            for endpoint in vrf.endpoints.values():
                self._origination.refresh(endpoint)
            for record in vrf.own:
                self.imports.decide_own(vrf, record)
        is_told_anew = self._take_static_routes(vrf, spec)
        if spec.readvertise is not UNSAID and spec.readvertise != vrf.readvertise:
            vrf.readvertise, is_told_anew = spec.readvertise, True
        if spec.attract is not UNSAID and spec.attract != vrf.attract:
            vrf.attract, is_told_anew = spec.attract, True
        vrf.import_rts = spec.import_rts
        sources: frozenset[RouteTarget] = vrf.readvertise.from_rts if vrf.readvertise is not None else frozenset()
        self._retarget(vrf, spec.import_rts, sources)
        if is_told_anew:
            self._origination.restate(vrf)

    def _set_fallback(self, vrf: Vrf) -> None:
        if vrf.fallback is None:
            self.tracker.remove(vrf.fallback_key)
        elif self.settings.capabilities.fallback:
            self.tracker.set(vrf.fallback_key, vrf.fallback)

    def _take_static_routes(self, vrf: Vrf, spec: InstanceSpec) -> bool:
        """Have the static routes that are stated; whether that changes anything."""
        if spec.static_routes is UNSAID:
            return False
        stated = tuple(sorted(set(spec.static_routes)))
        if stated == vrf.static_routes:
            return False
        before = {each: [vrf.record(prefix) for prefix in vrf.own_prefixes(each)] for each in vrf.endpoints.values()}
        vrf.static_routes = stated
        for endpoint, records in before.items():
            self._set_own(endpoint, records)
        return True

    def _retarget(self, vrf: Vrf, imports: frozenset[RouteTarget], sources: frozenset[RouteTarget]) -> None:
        packed = frozenset(target.packed for target in imports), frozenset(target.packed for target in sources)
        if packed == (vrf.imports, vrf.readvertise_from):
            return
        change_interest(self._announcer, *self.imports.retarget(vrf, *packed))

    # ------------------------------------------------------------ one endpoint

    def _plug(self, endpoint: Endpoint, attachment: Attachment, reserved: Reserved | None) -> None:
        """Bring the records and routes of an endpoint to what the attachment asks for."""
        vrf = endpoint.vrf
        before = [vrf.record(prefix) for prefix in vrf.own_prefixes(endpoint)]
        others = vrf.plugged.get(attachment.port.name)
        if others and next(iter(others)).attachment.port != attachment.port:
            self._move(vrf, attachment.port)
        endpoint.attachment = attachment
        endpoint.prefix = announced_prefix(attachment)
        vrf.enter(endpoint)
        self._set_access(endpoint)
        group = endpoint.group
        if takes_traffic(attachment.direction):
            if group is None:
                endpoint.ready = False
                self._join_group(endpoint, reserved)
        else:
            endpoint.group = None
        self._await(endpoint)
        self._origination.refresh(endpoint)
        if group is not None and endpoint.group is None:
            self.exports.flush()
            self._leave_group(endpoint, group)
        self._set_own(endpoint, before)
        if vrf.vni is not None:
            self._await(endpoint)
            self._origination.refresh(endpoint)

    def _move(self, vrf: Vrf, port: Port) -> None:
        """A port is somewhere else on the bridge than it was."""
        access = vrf.ports.get(port.name)
        if access is not None:
            self.tracker.remove(access.key)
            self._places.pop(place_of(access.port), None)
            access.port = port
            self._places[place_of(port)] = access
            self.tracker.set(access.key, access.access)
        for endpoint in vrf.plugged[port.name]:
            endpoint.attachment = replace(endpoint.attachment, port=port)
            group = endpoint.group
            if group is not None:
                group.port = port
                self.tracker.set(group.key, group.delivery)
                for route in self.exports.routes_of(endpoint):
                    table = self.store.tables.get((route.family, route.shape))
                    if table is not None:
                        self.imports.again(table, route.key)
                for prefix in vrf.own_prefixes(endpoint):
                    self.imports.decide_own(vrf, vrf.record(prefix))
            self._await(endpoint)

    def _set_access(self, endpoint: Endpoint) -> None:
        """Let the traffic of the endpoint's port into its VRF, or cease to."""
        vrf, attachment = endpoint.vrf, endpoint.attachment
        port = attachment.port
        if not gives_traffic(attachment.direction):
            self._leave_port(endpoint)
            return
        access = vrf.ports.get(port.name)
        if access is None:
            access = vrf.ports[port.name] = PortAccess(vrf, port)
            self._port_names[port.name] = self._places[place_of(port)] = access
        access.add(endpoint, attachment.gateways)
        endpoint.access = access
        self.tracker.set(access.key, access.access)

    def _leave_port(self, endpoint: Endpoint) -> None:
        access, endpoint.access = endpoint.access, None
        if access is None:
            return
        access.remove(endpoint)
        if access.endpoints:
            self.tracker.set(access.key, access.access)
            return
        self.tracker.remove(access.key)
        del access.vrf.ports[access.port.name]
        del self._port_names[access.port.name]
        self._places.pop(place_of(access.port), None)

    def _join_group(self, endpoint: Endpoint, reserved: Reserved | None) -> None:
        """Give the endpoint the label of its MAC and IP version, a new one if it is the first."""
        vrf, attachment = endpoint.vrf, endpoint.attachment
        mac, version = attachment.key.mac, endpoint.version
        group = vrf.groups.get((mac, version))
        if group is None:
            label = self._numbers.labels.allocate(reserved.label if reserved is not None else None)
            group = LabelGroup(vrf, mac, version, label, attachment.port)
            vrf.groups[mac, version] = self.labels[label] = group
            self.tracker.set(group.key, group.delivery)
        group.endpoints[endpoint] = None
        endpoint.group = group

    def _leave_group(self, endpoint: Endpoint, group: LabelGroup) -> None:
        """The routes of the endpoint are withdrawn: its label goes if nobody else has it."""
        del group.endpoints[endpoint]
        if not group.endpoints:
            self.tracker.remove(group.key)
            del group.vrf.groups[group.mac, group.version]
            del self.labels[group.label]
            self._numbers.labels.free(group.label)

    def _set_own(self, endpoint: Endpoint, before: list[ForwardKey]) -> None:
        """The records that lead to the endpoint in its own VRF are no longer ``before`` but those of now."""
        vrf = endpoint.vrf
        now = [vrf.record(prefix) for prefix in vrf.own_prefixes(endpoint)]
        for record in before:
            if record not in now:
                del vrf.own[record][endpoint]
                if not vrf.own[record]:
                    del vrf.own[record]
        for record in now:
            vrf.own.setdefault(record, {})[endpoint] = None
        for record in dict.fromkeys((*before, *now)):
            self.imports.decide_own(vrf, record)
        if vrf.vni is not None:
            keys = [prefix_route(vrf.rd, record.prefix).key for record in dict.fromkeys((*before, *now))]
            self.imports.again(self.store.table(EVPN, 0), *keys)

    def _await(self, endpoint: Endpoint) -> None:
        """Announce the endpoint as soon as its records are in effect: now, or when the dataplane has confirmed them."""
        if endpoint.group is None:
            endpoint.arriving = frozenset()
            self._awaiting.leave(endpoint)
            return
        awaits = [] if endpoint.ready else [key for key in endpoint.own_keys if not self.tracker.in_effect(key)]
        endpoint.ready = not awaits
        arriving = []
        for prefix in endpoint.vrf.own_prefixes(endpoint) if endpoint.vrf.vni is not None else ():
            keys = () if prefix in endpoint.arriving else endpoint.arrival_keys(prefix)
            missing = [key for key in keys if not self.tracker.in_effect(key)]
            awaits += missing
            if not missing:
                arriving.append(prefix)
        endpoint.arriving = frozenset(arriving)
        self._awaiting.wait(endpoint, awaits)

    # ------------------------------------------------------------ detach

    def detach(self, external_id: str, key: EndpointKey, port: Port | None) -> Detached:
        """Detach an endpoint; the last one takes its instance along. ``port`` need not be the one it is at.

        Raises LocalMisuse if there is no such instance or endpoint.
        """
        del port
        endpoint = self._endpoint(external_id, key)
        vrf = endpoint.vrf
        with self._consistently():
            keys: list[Key] = []
            if endpoint.access is not None and len(endpoint.access.endpoints) == 1:
                keys.append(endpoint.access.key)
            if endpoint.group is not None and len(endpoint.group.endpoints) == 1:
                keys.append(endpoint.group.key)
            before = [vrf.record(prefix) for prefix in vrf.own_prefixes(endpoint)]
            group, endpoint.group = endpoint.group, None
            self._awaiting.leave(endpoint)
            self._origination.refresh(endpoint)
            self.exports.flush()
            if group is not None:
                self._leave_group(endpoint, group)
            self._leave_port(endpoint)
            vrf.leave(endpoint)
            self._set_own(endpoint, before)
            keys += [record for record in before if record not in self.tracker.desired]
            if vrf.vni is not None:
                arrivals = [vrf.arrival(record.prefix) for record in before]
                keys += [arrival for arrival in arrivals if arrival not in self.tracker.desired]
            self._numbers.rds.free(endpoint.rd_number)
            if not vrf.endpoints:
                if vrf.fallback_key in self.tracker.desired:
                    keys.append(vrf.fallback_key)
                if vrf.arrival_key is not None:
                    keys.append(vrf.arrival_key)
                self._destroy(vrf)
        return Detached(tuple(keys))

    def _endpoint(self, external_id: str, key: EndpointKey) -> Endpoint:
        vrf = self.instances.get(external_id)
        if vrf is None or vrf.redirect_target is not None:
            raise LocalMisuse("vpn_instance_id", external_id, f"VPN {external_id} could not be found")
        endpoint = vrf.endpoints.get(key)
        if endpoint is None:
            raise LocalMisuse("ip_address", str(key.ip), f"no endpoint {key.mac} {key.ip} in VPN {external_id}")
        return endpoint

    def _destroy(self, vrf: Vrf) -> None:
        self.tracker.remove(vrf.fallback_key)
        self._leave_vni(vrf)
        self._retarget(vrf, frozenset(), frozenset())
        del self.instances[vrf.external_id]
        self._gone.append(vrf)

    # ------------------------------------------------------------ instances that flows redirect to

    def _enter_redirect(self, target: RouteTarget) -> Vrf:
        name = redirect_name(target)
        vrf = self.instances.get(name)
        if vrf is None:
            first, last = _REDIRECTS
            number = self._redirect_numbers.allocate(first + crc32(target.packed) % (last - first + 1))
            vrf = self.instances[name] = Vrf(name, number, -1, RouteDistinguisher(bytes(8)))
            vrf.redirect_target = target
            vrf.import_rts = frozenset((target,))
            self._retarget(vrf, vrf.import_rts, frozenset())
        return vrf

    def _leave_redirect(self, target: RouteTarget) -> None:
        self._destroy(self.instances[redirect_name(target)])

    # ------------------------------------------------------------ what others report

    def prefix_routes_changed(self, table: Table, keys: list[bytes]) -> None:
        """These IP prefix routes of the EVPN table have changed; :meth:`routes_changed` follows."""
        self.imports.again(table, *keys)

    def routes_changed(self) -> None:
        """Routes that this node imports may have changed: take the changes from the store."""
        if not self._is_busy:
            with self._consistently():
                pass

    def dataplane_settled(self, confirmed: Iterable[Key], refused: Mapping[Key, str]) -> None:
        """The dataplane has answered, and the tracker knows. Endpoints that waited for ``confirmed`` are announced.

        What is ``refused`` keeps an endpoint from being announced, but a route that was announced before stays: the
        record is tried again, and what was programmed may well be there still.
        """
        del refused
        ready = self._awaiting.of(confirmed)
        if ready:
            with self._consistently():
                for endpoint in ready:
                    self._await(endpoint)
                    if endpoint.ready:
                        self._origination.refresh(endpoint)

    def dataplane_lost(self) -> None:
        """What the dataplane holds is not known any more; call it after :meth:`Tracker.lost`.

        Announced routes stay, since what was programmed is most likely still there; an endpoint that is not announced
        yet waits until all of its records have been confirmed after this.
        """
        for endpoint in self._awaiting.all():
            self._await(endpoint)

    @contextmanager
    def _consistently(self) -> Iterator[None]:
        """Do something, then take in and tell all that follows from it."""
        self._is_busy = True
        try:
            yield
            self.exports.flush()
            while self.imports.drain() or self.steering.leave_idle():
                self.exports.flush()
            while self._gone:
                vrf = self._gone.pop()
                if vrf.redirect_target is not None:
                    self._redirect_numbers.free(vrf.number)
                else:
                    self._numbers.free(vrf.number, vrf.rd_number)
        finally:
            self._is_busy = False

    # ------------------------------------------------------------ what is asked

    def endpoint_state(self, external_id: str, key: EndpointKey) -> EndpointState:
        """Whether the records of an endpoint are in effect. Raises LocalMisuse if there is no such endpoint."""
        return EndpointState.of(self._endpoint(external_id, key).keys, self.tracker)

    def endpoint_label(self, external_id: str, key: EndpointKey) -> int | None:
        """The label that delivers to an endpoint, None if nothing does. Raises LocalMisuse if there is none such."""
        group = self._endpoint(external_id, key).group
        return group.label if group is not None else None

    def lookup(self, external_id: str, destination: Address) -> Lookup:
        """What an instance does with packets to ``destination``. Raises LocalMisuse if there is no such instance."""
        vrf = self.instances.get(external_id)
        if vrf is None:
            raise LocalMisuse("instance", external_id, f"VPN {external_id} could not be found")
        return look_up(vrf, destination, self.imports, self.steering, self.tracker)
