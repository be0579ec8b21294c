"""Flow specifications: told to attract traffic, and obeyed where a VRF imports them.

RFC 8955 sections 4 and 7.4 (redirect), RFC 8956 section 3, section 8 of RFC 8955 (VPN). Only what a
:class:`~bagpipe.dataplane.model.Classifier` can say is obeyed: prefixes, one protocol, one range of source and of
destination ports; and only the action that redirects to one route target. The rest is counted and explained, and does
nothing. What is redirected is looked up in an instance that imports this target and has no endpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.model import Classifier, Ports, Prefix, Steer, SteerKey
from bagpipe.errors import LocalMisuse, RemoteFault
from bagpipe.identifiers import RouteDistinguisher, RouteTarget
from bagpipe.rib.bundle import Bundle
from bagpipe.rib.decision import rank
from bagpipe.rib.table import Table
from bagpipe.vpn.candidates import content
from bagpipe.vpn.encapsulation import extended_communities
from bagpipe.vpn.export import RouteId
from bagpipe.vpn.imports import Imports
from bagpipe.vpn.vrf import Vrf
from bagpipe.wire.extended_community import RedirectToRouteTarget, extended_community
from bagpipe.wire.family import FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, Family
from bagpipe.wire.nlri.flowspec_component import (
    AND,
    DESTINATION_PORT,
    DESTINATION_PREFIX,
    EQUAL,
    GREATER,
    LESS,
    PROTOCOL,
    SOURCE_PORT,
    SOURCE_PREFIX,
    Component,
    PrefixComponent,
    TermsComponent,
    numeric,
    pack,
    parse,
)

_LARGEST_PORT = 0xFFFF
_RD_OCTETS = 8


def _components(classifier: Classifier) -> list[Component]:
    ipv6 = classifier.version == 6
    components: list[Component] = []
    for kind, prefix in ((DESTINATION_PREFIX, classifier.destination), (SOURCE_PREFIX, classifier.source)):
        if prefix is not None:
            components.append(PrefixComponent(kind, prefix.length, 0, prefix.octets, ipv6))
    if classifier.protocol is not None:
        components.append(numeric(PROTOCOL, (EQUAL, classifier.protocol)))
    for kind, ports in ((DESTINATION_PORT, classifier.destination_ports), (SOURCE_PORT, classifier.source_ports)):
        if ports is not None and ports.low == ports.high:
            components.append(numeric(kind, (EQUAL, ports.low)))
        elif ports is not None:
            components.append(numeric(kind, (GREATER | EQUAL, ports.low), (AND | LESS | EQUAL, ports.high)))
    return components


def flow_route(rd: RouteDistinguisher, classifier: Classifier) -> RouteId:
    """The FlowSpec-VPN route of a classifier."""
    ipv6 = classifier.version == 6
    family: Family = FLOWSPEC_VPNV6 if ipv6 else FLOWSPEC_VPNV4
    return RouteId(family, 0, rd.packed + pack(_components(classifier), ipv6=ipv6))


def _ports(component: TermsComponent) -> Ports | None:
    """One range of ports: every term bounds it, so they are joined by AND; None if it is not one range."""
    low, high = 0, _LARGEST_PORT
    for number, term in enumerate(component.terms):
        if number and not term.operator & AND:
            return None
        comparison = term.operator & (LESS | GREATER | EQUAL)
        if comparison == EQUAL:
            low, high = max(low, term.value), min(high, term.value)
        elif comparison & GREATER and not comparison & LESS:
            low = max(low, term.value if comparison & EQUAL else term.value + 1)
        elif comparison & LESS and not comparison & GREATER:
            high = min(high, term.value if comparison & EQUAL else term.value - 1)
        else:
            return None
    return Ports(low, high) if low <= high else None


def classifier_of(family: Family, key: bytes) -> Classifier:
    """What a FlowSpec-VPN key asks to match. Raises LocalMisuse if a classifier cannot say it."""
    version = 6 if family == FLOWSPEC_VPNV6 else 4
    prefixes: dict[int, Prefix] = {}
    ports: dict[int, Ports] = {}
    protocol: int | None = None
    for component in parse(key[_RD_OCTETS:], ipv6=version == 6):
        if isinstance(component, PrefixComponent):
            if component.offset:
                raise LocalMisuse("flow specification", str(component), "a prefix with an offset is not steered by")
            address, octets = component.address.packed, (component.length + 7) >> 3
            prefixes[component.kind] = Prefix(version, component.length, address[:octets])
        elif component.kind == PROTOCOL and len(component.terms) == 1 and component.terms[0].operator & 7 == EQUAL:
            protocol = component.terms[0].value
        elif component.kind in (DESTINATION_PORT, SOURCE_PORT) and (found := _ports(component)) is not None:
            ports[component.kind] = found
        else:
            raise LocalMisuse("flow specification", str(component), "this is not steered by")
    if ports and protocol not in (6, 17, 132):
        raise LocalMisuse("flow specification", protocol, "ports need the protocol TCP, UDP or SCTP")
    return Classifier(
        version,
        prefixes.get(SOURCE_PREFIX),
        prefixes.get(DESTINATION_PREFIX),
        protocol,
        ports.get(SOURCE_PORT),
        ports.get(DESTINATION_PORT),
    )


def redirect_of(bundle: Bundle) -> RouteTarget:
    """Where a flow specification redirects to. Raises LocalMisuse unless that is the one thing it asks for."""
    actions = [extended_community(each) for each in extended_communities(bundle.attributes) if each[0] & 0xF0 == 0x80]
    if len(actions) == 1 and isinstance(actions[0], RedirectToRouteTarget):
        return actions[0].route_target
    shown = " ".join(str(each) for each in actions) or "none"
    raise LocalMisuse("flow specification", shown, "exactly one redirect to a route target is obeyed")


def redirect_name(target: RouteTarget) -> str:
    """The external id of the instance that packets redirected to ``target`` are looked up in."""
    return f"redirect-to-ipvpn-{str(target).replace(':', '_')}"


FlowKey = tuple[Table, bytes]


class Steering:
    """Keeps the steering records of every VRF as the FlowSpec routes have it.

    ``enter`` gives the instance of a redirect target, made when first asked for; ``leave`` is told when nothing is
    redirected there any more.
    """

    def __init__(
        self,
        tracker: Tracker,
        imports: Imports,
        enter: Callable[[RouteTarget], Vrf],
        leave: Callable[[RouteTarget], None],
    ) -> None:
        self._tracker = tracker
        self._imports = imports
        self._enter = enter
        self._leave = leave
        self._obeyed: dict[FlowKey, dict[Vrf, Classifier]] = {}
        self._flows: dict[tuple[Vrf, Classifier], dict[FlowKey, tuple[Bundle, RouteTarget]]] = {}
        self._steered: dict[tuple[Vrf, Classifier], RouteTarget] = {}
        self._users: dict[RouteTarget, int] = {}
        self._idle: dict[RouteTarget, None] = {}
        self.ignored: dict[FlowKey, str] = {}

    def changed(self, table: Table, key: bytes) -> None:
        """A FlowSpec key has changed, or who imports it."""
        flow = (table, key)
        best = self._best_of(table, key)
        wanted: dict[Vrf, Classifier] = {}
        self.ignored.pop(flow, None)
        if best:
            try:
                classifier = classifier_of(table.family, key)
                for vrf, bundle in best.items():
                    target = redirect_of(bundle)
                    wanted[vrf] = classifier
                    self._flows.setdefault((vrf, classifier), {})[flow] = bundle, target
            except (LocalMisuse, RemoteFault) as fault:
                self.ignored[flow] = str(fault)
                wanted = {}
        before = self._obeyed.pop(flow, {})
        if wanted:
            self._obeyed[flow] = wanted
        for vrf, classifier in before.items():
            if vrf not in wanted:
                del self._flows[vrf, classifier][flow]
        for vrf, classifier in {**before, **wanted}.items():
            self._decide(vrf, classifier)

    def _best_of(self, table: Table, key: bytes) -> dict[Vrf, Bundle]:
        """The best path for each VRF that imports the key; its own are not for it."""
        entry = table.entries.get(key)
        found: dict[Vrf, list[Bundle]] = {}
        for bundle in entry.bundles if entry is not None else ():
            for vrf in self._imports.importers(bundle.attributes.route_targets):
                is_own = bundle.source.origin.is_local and key[:_RD_OCTETS] == vrf.rd.packed
                if vrf.redirect_target is None and not is_own:
                    found.setdefault(vrf, []).append(bundle)
        return {vrf: rank(sorted(bundles, key=content)).ordered[0] for vrf, bundles in found.items()}

    def _decide(self, vrf: Vrf, classifier: Classifier) -> None:
        place = (vrf, classifier)
        flows = self._flows.get(place, {})
        before = self._steered.get(place)
        if not flows:
            self._flows.pop(place, None)
            if before is not None:
                del self._steered[place]
                self._tracker.remove(SteerKey(vrf.number, classifier))
                self._release(before)
            return
        ordered = sorted(flows.items(), key=lambda item: (*content(item[1][0]), item[0][1]))
        target_of = {bundle: target for _, (bundle, target) in reversed(ordered)}
        target = target_of[rank([bundle for _, (bundle, _) in ordered]).ordered[0]]
        if target != before:
            self._users[target] = self._users.get(target, 0) + 1
            self._steered[place] = target
            self._tracker.set(SteerKey(vrf.number, classifier), Steer(self._enter(target).number))
            if before is not None:
                self._release(before)

    def _release(self, target: RouteTarget) -> None:
        self._users[target] -= 1
        if not self._users[target]:
            self._idle[target] = None

    def leave_idle(self) -> bool:
        """Leave the targets that nothing is redirected to any more; whether there were any.

        It is done when all changes are taken in, so that a target that is left and entered in one turn stays.
        """
        idle = [target for target in self._idle if not self._users[target]]
        self._idle.clear()
        for target in idle:
            del self._users[target]
            self._leave(target)
        return bool(idle)

    def steered(self, vrf: Vrf) -> Iterable[tuple[Classifier, RouteTarget]]:
        """What is steered in a VRF, and where to."""
        return [(classifier, target) for (of, classifier), target in self._steered.items() if of is vrf]
