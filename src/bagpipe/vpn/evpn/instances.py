"""EVPN instances: attachments and routes in, desired records and originated routes out. The entry of this package.

RFC 7432 (EVPN, VLAN-based service), RFC 8365 (over VXLAN). As with IP VPNs, every method leaves everything consistent:
but for sequence numbers of MAC mobility, the desired state and this node's routes are a function of what is attached,
what the RIB holds and what the dataplane has confirmed. Nothing is learned from frames and nothing ages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import Bridge, Key, MacKey, NeighbourKey, Plug, PlugKey, Port
from bagpipe.errors import LocalMisuse
from bagpipe.identifiers import MacAddress, RouteTarget
from bagpipe.rib.store import Store
from bagpipe.rib.table import Table
from bagpipe.vpn.allocation import Numbers
from bagpipe.vpn.attachment import UNSAID, Attachment, EndpointKey, InstanceSpec, Reserved
from bagpipe.vpn.awaiting import Awaiting
from bagpipe.vpn.checks import Place, place_of
from bagpipe.vpn.evpn import claims
from bagpipe.vpn.evpn.checks import check_alone, check_endpoint, check_instance
from bagpipe.vpn.evpn.decisions import Decisions
from bagpipe.vpn.evpn.evi import Endpoint, Evi, Host
from bagpipe.vpn.evpn.explain import Lookup, look_up
from bagpipe.vpn.evpn.imports import Imports
from bagpipe.vpn.evpn.origination import Origination
from bagpipe.vpn.evpn.route_keys import place
from bagpipe.vpn.evpn.told import Reader
from bagpipe.vpn.export import Exports, LocalAttributes
from bagpipe.vpn.interest import change_interest
from bagpipe.vpn.outcome import Attached, Detached, EndpointState
from bagpipe.vpn.settings import Announcer, VpnSettings
from bagpipe.wire.family import EVPN

__all__ = ["EvpnInstances"]


class EvpnInstances:
    """The EVPN instances of this node, by external id.

    ``clock`` gives the seconds of a steady clock, for the damping of MACs that move too often; the edge sets it, and
    calls :meth:`release_damped` in time. ``on_held`` is told of each MAC that is held from now on: RFC 7432 section
    15.1 wants the operator to know. ``settling`` is how many seconds neighbours may take to tell the routes of a route
    target that is asked for: what is attached meanwhile and turns out to be known elsewhere has come here, as if that
    had been known before.
    """

    def __init__(
        self, store: Store, announcer: Announcer, tracker: Tracker, settings: VpnSettings, numbers: Numbers
    ) -> None:
        self.store = store
        self.tracker = tracker
        self.settings = settings
        self.instances: dict[str, Evi] = {}
        self.clock: Callable[[], float] = _no_clock
        self.settling = 0.0
        self.on_held: Callable[[Evi, MacAddress], None] = _nobody
        self._announcer = announcer
        self._numbers = numbers
        self._port_names: dict[str, Evi] = {}
        self._places: dict[Place, tuple[Evi, str]] = {}
        self._awaiting: Awaiting[Endpoint] = Awaiting()
        self._flooding: dict[Evi, None] = {}
        self._is_busy = False
        self._gone: list[Evi] = []
        self.exports = Exports(announcer)
        self.decisions = Decisions(store.table(EVPN, 0), tracker, Reader(settings), settings)
        self.decisions.on_move = self._moved
        self.decisions.outbids = self._outbids
        self.imports = Imports(store, tracker, self.decisions)
        self._origination = Origination(self.exports, LocalAttributes(settings), settings)
        self.accept_from = self.imports.senders.accept_from
        self.accept_from(settings.accept_from)

    @property
    def on_prefix_routes(self) -> Callable[[Table, list[bytes]], None]:
        """Who is told of the keys of type 5 routes that changed."""
        return self.imports.on_prefix_routes

    @on_prefix_routes.setter
    def on_prefix_routes(self, told: Callable[[Table, list[bytes]], None]) -> None:
        self.imports.on_prefix_routes = told

    # ------------------------------------------------------------ attach

    def check(self, attachment: Attachment) -> None:
        """Raises LocalMisuse if :meth:`attach` would; changes nothing."""
        check_alone(attachment, self.settings)
        evi = self.instances.get(attachment.instance.external_id)
        check_instance(attachment.instance, evi, self.instances, self._numbers.vnis)
        check_endpoint(attachment, evi, self._port_names, self._places)
        if evi is None:
            self._numbers.instances.require(1)
            self._numbers.rds.require(1)
        if self._has_to_choose(attachment.instance, evi):
            self._numbers.labels.require(1)

    def _has_to_choose(self, spec: InstanceSpec, evi: Evi | None) -> bool:
        """Whether this node has to choose a VNI."""
        if isinstance(spec.vni, int):
            return False
        return evi is None or (spec.vni is None and evi.stated_vni is not None)

    def attach(self, attachment: Attachment, reserved: Reserved | None = None) -> Attached:
        """Attach an endpoint, or change how it is attached. Raises LocalMisuse before any change.

        ``reserved`` are the identifiers it had before a restart; one that is in use meanwhile is replaced by another.
        """
        self.check(attachment)
        spec = attachment.instance
        with self._consistently():
            evi = self.instances.get(spec.external_id)
            if evi is None:
                evi = self._create(spec, reserved)
            self._describe(evi, spec, reserved)
            # What others claim has to be known before this node does.
            self.imports.drain()
            endpoint = evi.endpoints.get(attachment.key) or Endpoint(evi, attachment)
            self._plug(endpoint, attachment, reserved)
        host = evi.hosts.get(endpoint.mac_record)
        chosen = evi.vni if evi.stated_vni is None else 0
        numbers = Reserved(evi.number, evi.rd_number, -1, chosen, host.sequence if host is not None else 0)
        return Attached(self._keys(endpoint), numbers)

    def _create(self, spec: InstanceSpec, reserved: Reserved | None) -> Evi:
        identity = self._numbers.identify(spec, reserved, self.settings.router_id)
        evi = self.instances[spec.external_id] = Evi(spec.external_id, *identity)
        return evi

    def _describe(self, evi: Evi, spec: InstanceSpec, reserved: Reserved | None) -> None:
        """Take what an attachment says of its instance."""
        if spec.description is not UNSAID:
            evi.description = spec.description
        device = evi.bridge if spec.bridge is UNSAID else spec.bridge
        if isinstance(spec.vni, int):
            self._number(evi, spec.vni, None)
        elif self._has_to_choose(spec, evi if evi.vni else None):
            self._number(evi, None, reserved.label or None if reserved is not None else None)
        if device != evi.bridge or evi.bridge_key not in self.tracker.desired:
            evi.bridge = device
            self._set_bridge(evi)
        if spec.export_rts != evi.export_rts:
            evi.export_rts = spec.export_rts
            self._flooding[evi] = None
            for endpoint in evi.endpoints.values():
                self._origination.refresh(endpoint)
        evi.import_rts = spec.import_rts
        self._retarget(evi, spec.import_rts)

    def _number(self, evi: Evi, stated: int | None, wanted: int | None) -> None:
        """An EVI has the VNI that is stated from now on, or one that this node chooses; if it had another, nothing is
        announced until frames with the new one come in.
        """
        evi.stated_vni = stated
        if evi.vni and stated == evi.vni:
            return
        if evi.vni:
            for endpoint in evi.endpoints.values():
                endpoint.ready = endpoint.placed = False
                self._origination.refresh(endpoint)
            self._origination.refresh_flooding(evi)
            self.exports.flush()
            self._numbers.vnis.leave(evi.vni)
        evi.vni = self._numbers.vnis.take(evi.external_id, stated, wanted)
        self._set_bridge(evi)
        self.imports.renumbered(evi)
        for endpoint in evi.endpoints.values():
            self._await(endpoint)

    def _set_bridge(self, evi: Evi) -> None:
        self.tracker.set(evi.bridge_key, Bridge(evi.external_id, evi.vni, evi.bridge))

    def _retarget(self, evi: Evi, imports: frozenset[RouteTarget]) -> None:
        packed = frozenset(target.packed for target in imports)
        if packed == evi.imports:
            return
        if packed - evi.imports:
            evi.heard_at = self.clock() + self.settling
        change_interest(self._announcer, *self.imports.retarget(evi, packed))

    # ------------------------------------------------------------ one endpoint

    def _plug(self, endpoint: Endpoint, attachment: Attachment, reserved: Reserved | None) -> None:
        """Bring the records and routes of an endpoint to what the attachment asks for."""
        evi = endpoint.evi
        took = endpoint.takes and attachment.key in evi.endpoints
        others = evi.plugged.get(attachment.port.name)
        if others and next(iter(others)).attachment.port != attachment.port:
            self._move_port(evi, attachment.port)
        endpoint.attachment = attachment
        evi.enter(endpoint)
        self._port_names[attachment.port.name] = evi
        self._places[place_of(attachment.port)] = evi, attachment.port.name
        self.tracker.set(evi.plug_key(endpoint), Plug(evi.number))
        if endpoint.takes:
            self._settle_here(endpoint, reserved)
        elif took:
            self._leave_host(endpoint)
        self._await(endpoint)
        self._flooding[evi] = None

    def _move_port(self, evi: Evi, port: Port) -> None:
        """A port is somewhere else on the bridge than it was."""
        endpoints = evi.plugged[port.name]
        old = next(iter(endpoints)).attachment.port
        self.tracker.remove(PlugKey(old))
        self._places.pop(place_of(old), None)
        for endpoint in endpoints:
            endpoint.attachment = replace(endpoint.attachment, port=port)
        self.tracker.set(PlugKey(port), Plug(evi.number))
        for endpoint in endpoints:
            if endpoint.takes:
                self.decisions.decide(evi, endpoint.mac_record)
            self._await(endpoint)

    def _settle_here(self, endpoint: Endpoint, reserved: Reserved | None) -> None:
        """Frames go to an endpoint from now on, or still do."""
        evi, record = endpoint.evi, endpoint.mac_record
        host = evi.hosts.get(record)
        if host is None:
            host = Host(endpoint.key.mac, reserved.sequence if reserved is not None else 0)
            host.endpoints[endpoint] = None
            if reserved is None and not host.sticky:
                self._raise(evi, host, self.decisions.claims(evi, record))
                host.is_early = self.clock() < evi.heard_at
            evi.hosts[record] = host
        host.endpoints[endpoint] = None
        address = endpoint.neighbour_record
        if address is not None:
            evi.addresses.setdefault(address, {})[endpoint] = None
        self._decide(evi, record, address)
        for other in host.endpoints:
            self._await(other)

    def _raise(self, evi: Evi, host: Host, found: list[claims.Claim]) -> bool:
        """A MAC that is known elsewhere has come here (RFC 7432 section 15); whether that raises its number."""
        if evi.moves.place(host.mac.packed) is not None:
            return False
        sequence = claims.raised(found, host.sequence)
        if sequence == host.sequence:
            return False
        host.sequence = sequence
        self._note_move(evi, host, self.decisions.reader.own_address)
        return True

    def _outbids(self, evi: Evi, host: Host, found: list[claims.Claim]) -> bool:
        """It is told only now that a MAC was elsewhere before it was attached here: once, its number is raised.

        A claim with the very next number is none of before: so does another node answer to ours.
        """
        host.is_early = False
        highest = max(claim.sequence for claim in found if claim.hops and not claim.is_own)
        is_answer = highest == host.sequence + 1
        if self.clock() >= evi.heard_at or is_answer or not self._raise(evi, host, found):
            return False
        for endpoint in host.endpoints:
            self._origination.refresh(endpoint)
        return True

    def _decide(self, evi: Evi, record: MacKey, address: NeighbourKey | None) -> None:
        self.decisions.decide(evi, record)
        for each in {endpoint.neighbour_record for endpoint in evi.macs.get(_mac(record), ())} | {address}:
            if each is not None:
                self.decisions.decide_neighbour(evi, each)

    def _leave_host(self, endpoint: Endpoint) -> None:
        """No frames go to an endpoint any more."""
        evi, record, address = endpoint.evi, endpoint.mac_record, endpoint.neighbour_record
        host = evi.hosts[record]
        del host.endpoints[endpoint]
        endpoint.placed = False
        self._awaiting.leave(endpoint)
        self._origination.refresh(endpoint)
        for other in host.endpoints:
            self._await(other)
        self.exports.flush()
        if not host.endpoints:
            del evi.hosts[record]
        if address is not None:
            evi.leave_address(address, endpoint)
        self._decide(evi, record, address)

    def _moved(self, evi: Evi, host: Host, place: claims.Place) -> None:
        """A MAC that is attached here has gone to another node, or come back from there."""
        self._note_move(evi, host, place)
        for endpoint in host.endpoints:
            if not host.is_here:
                endpoint.placed = False
            self._await(endpoint)
        if not host.is_here:
            self.exports.flush()

    def _note_move(self, evi: Evi, host: Host, place: claims.Place) -> None:
        if evi.moves.note(host.mac.packed, place, self.clock()):
            self.on_held(evi, host.mac)

    def _keys(self, endpoint: Endpoint) -> tuple[Key, ...]:
        """The records that have to be in effect before all of an endpoint is announced."""
        evi = endpoint.evi
        keys: list[Key] = [evi.bridge_key, evi.plug_key(endpoint)]
        host = evi.hosts.get(endpoint.mac_record)
        if host is not None and host.is_here and endpoint in host.endpoints:
            keys.append(endpoint.mac_record)
            address = endpoint.neighbour_record
            if address is not None and self.decisions.answers(endpoint):
                keys.append(address)
        return tuple(keys)

    def _await(self, endpoint: Endpoint) -> None:
        """Announce the endpoint as soon as its records are in effect: now, or when the dataplane has confirmed them."""
        bridge, plug, *own = self._keys(endpoint)
        missing = [] if endpoint.ready else [key for key in (bridge, plug) if not self.tracker.in_effect(key)]
        if not endpoint.ready and not missing:
            endpoint.ready = True
            self._flooding[endpoint.evi] = None
        if own:
            absent = [] if endpoint.placed else [key for key in own if not self.tracker.in_effect(key)]
            endpoint.placed = not absent
            missing += absent
        self._awaiting.wait(endpoint, missing)
        for each in endpoint.evi.macs.get(endpoint.key.mac, (endpoint,)):
            self._origination.refresh(each)

    # ------------------------------------------------------------ detach

    def detach(self, external_id: str, key: EndpointKey, port: Port | None) -> Detached:
        """Detach an endpoint; the last one takes its instance along. ``port`` need not be the one it is at.

        Raises LocalMisuse if there is no such instance or endpoint.
        """
        del port
        endpoint = self._endpoint(external_id, key)
        evi = endpoint.evi
        with self._consistently():
            keys = list(self._keys(endpoint))
            was_taking = endpoint.takes
            endpoint.ready = False
            self._awaiting.leave(endpoint)
            evi.leave(endpoint)
            if was_taking:
                self._leave_host(endpoint)
            self._origination.refresh_flooding(evi)
            self.exports.flush()
            name = endpoint.attachment.port.name
            if name not in evi.plugged:
                self.tracker.remove(evi.plug_key(endpoint))
                del self._port_names[name]
                self._places.pop(place_of(endpoint.attachment.port), None)
            if not evi.endpoints:
                self._destroy(evi)
        return Detached(tuple(each for each in keys if each not in self.tracker.desired))

    def _endpoint(self, external_id: str, key: EndpointKey) -> Endpoint:
        evi = self.instances.get(external_id)
        if evi is None:
            raise LocalMisuse("vpn_instance_id", external_id, f"VPN {external_id} could not be found")
        endpoint = evi.endpoints.get(key)
        if endpoint is None:
            shown = f"{key.mac} {key.ip}" if key.ip is not None else str(key.mac)
            raise LocalMisuse("mac_address", str(key.mac), f"{shown} is not plugged into VPN {external_id}")
        return endpoint

    def _destroy(self, evi: Evi) -> None:
        self.tracker.remove(evi.bridge_key)
        self._numbers.vnis.leave(evi.vni)
        self._retarget(evi, frozenset())
        self._flooding.pop(evi, None)
        del self.instances[evi.external_id]
        self._gone.append(evi)

    # ------------------------------------------------------------ what others report

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

    def dataplane_lost(self) -> None:
        """What the dataplane holds is not known any more; call it after :meth:`Tracker.lost`.

        Announced routes stay, since what was programmed is most likely still there; an endpoint that is not announced
        yet waits until all of its records have been confirmed after this.
        """
        for endpoint in self._awaiting.all():
            self._await(endpoint)

    def release_damped(self, now: float) -> float | None:
        """Let go of MACs that moved too often and have been held long enough; when to call again, None: no need yet.

        ``now`` are seconds of the clock.
        """
        with self._consistently():
            for evi in self.instances.values():
                for mac in evi.moves.release(now):
                    self.decisions.decide(evi, evi.mac_record(mac))
        deadlines = [evi.moves.deadline for evi in self.instances.values()]
        return min((each for each in deadlines if each is not None), default=None)

    @contextmanager
    def _consistently(self) -> Iterator[None]:
        """Do something, then take in and tell all that follows from it."""
        self._is_busy = True
        try:
            yield
            self._tell()
            while self.imports.drain():
                self._tell()
            while self._gone:
                evi = self._gone.pop()
                self._numbers.free(evi.number, evi.rd_number)
        finally:
            self._is_busy = False

    def _tell(self) -> None:
        for evi in self._flooding:
            self._origination.refresh_flooding(evi)
        self._flooding.clear()
        self.exports.flush()

    # ------------------------------------------------------------ what is asked

    def endpoint_state(self, external_id: str, key: EndpointKey) -> EndpointState:
        """Whether the records of an endpoint are in effect; ``reason`` also says where its MAC is, if not here.

        Raises LocalMisuse if there is no such endpoint.
        """
        endpoint = self._endpoint(external_id, key)
        state = EndpointState.of(self._keys(endpoint), self.tracker)
        return replace(state, reason=self._whereabouts(endpoint)) if state.state == "in-effect" else state

    def _whereabouts(self, endpoint: Endpoint) -> str:
        """What people have to know of an endpoint that is in effect."""
        evi, record = endpoint.evi, endpoint.mac_record
        host = evi.hosts.get(record)
        if host is None:
            return ""
        told = []
        if not host.is_here:
            verdict = self.decisions.verdict(evi, record)
            if verdict.winner is not None:
                where = place(verdict.winner.address)
                told.append(f"MAC is now at {where}, {verdict.winner.described} (here: sequence {host.sequence})")
        if evi.moves.place(record.octets) is not None:
            told.append("the MAC has moved too often and is held where it is")
        return "; ".join(told)

    def lookup(self, external_id: str, destination: MacAddress | bytes) -> Lookup:
        """What an instance does with frames to a MAC, or to an address (4 or 16 octets). Raises LocalMisuse if there is
        no such instance.
        """
        evi = self.instances.get(external_id)
        if evi is None:
            raise LocalMisuse("instance", external_id, f"VPN {external_id} could not be found")
        return look_up(evi, destination, self.decisions, self.tracker)


def _mac(record: MacKey) -> MacAddress:
    return MacAddress(record.octets)


def _no_clock() -> float:
    return 0.0


def _nobody(evi: Evi, mac: MacAddress) -> None:
    """Nobody listens."""
