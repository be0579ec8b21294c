"""Records to flows: access, delivery, senders, fallback and steering. Routes are in ``routes``.

ARP of RFC 826, neighbour discovery of RFC 4861 (solicitations without a link-layer address option, such as those of
duplicate address detection, are not answered), flow specifications of RFC 8955 section 5.1 for their precedence.
"""

from __future__ import annotations

from collections.abc import Iterator

from bagpipe.dataplane.model import (
    GATEWAY_MAC,
    Access,
    AccessKey,
    Classifier,
    Delivery,
    DeliveryKey,
    Encapsulation,
    Fallback,
    FallbackKey,
    Ports,
    Prefix,
    SourceKey,
    Steer,
    SteerKey,
)
from bagpipe.dataplane.openflow import FlowMod, Match, apply
from bagpipe.dataplane.openflow import fields as f
from bagpipe.dataplane.openflow.actions import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    POP_VLAN,
    Action,
    CopyField,
    Output,
    Pop,
    PopMpls,
    Push,
    Resubmit,
    SetField,
)
from bagpipe.dataplane.openflow.fields import Criterion
from bagpipe.dataplane.ovs import pipeline
from bagpipe.dataplane.ovs.ground import Ground, Missing
from bagpipe.dataplane.ovs.next_hops import tagged, to_endpoint
from bagpipe.dataplane.ovs.pipeline import BACK, COOKIE, ICMPV6, IP, NEIGHBOUR_SOLICITATION, Priority, cookie

_ARP = f.ETH_TYPE(ETH_ARP)
_ARP_REQUEST = (_ARP, f.ARP_OP(1))
_SOLICITATION = (IP[6], f.IP_PROTO(ICMPV6), f.ICMPV6_TYPE(NEIGHBOUR_SOLICITATION), f.ICMPV6_CODE(0))
_TARGET_LINK_LAYER = 2
_ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29
_WITH_PORTS = {6: (f.TCP_SRC, f.TCP_DST), 17: (f.UDP_SRC, f.UDP_DST), 132: (f.SCTP_SRC, f.SCTP_DST)}


def copied(source: f.Field, destination: f.Field) -> CopyField:
    """Copy all of a field."""
    return CopyField(source, destination, source.bits)


_ANSWER_ARP: tuple[Action, ...] = (
    copied(f.ETH_SRC, f.ETH_DST),
    SetField(f.ETH_SRC(GATEWAY_MAC)),
    SetField(f.ARP_OP(2)),
    copied(f.ARP_SHA, f.ARP_THA),
    SetField(f.ARP_SHA(GATEWAY_MAC)),
    copied(f.ARP_TPA, f.REG[1]),
    copied(f.ARP_SPA, f.ARP_TPA),
    copied(f.REG[1], f.ARP_SPA),
    BACK,
)


def put(field: f.Field, value: int) -> tuple[Action, ...]:
    """Give a field a value by way of the stack.

    The kernel datapath has no way to set the flags and the option's type of ND. Open vSwitch therefore refuses a flow
    that sets or copies them, though it could do it: what answers a solicitation is done by vswitchd in any case. It
    takes one that pops them.
    """
    return SetField(f.REG[1](value)), Push(f.REG[1], field.bits), Pop(field, field.bits)


def _advertise(flags: int, table: int) -> tuple[Action, ...]:
    return (
        copied(f.ETH_SRC, f.ETH_DST),
        SetField(f.ETH_SRC(GATEWAY_MAC)),
        copied(f.IPV6_SRC, f.IPV6_DST),
        copied(f.ND_TARGET, f.IPV6_SRC),
        SetField(f.ICMPV6_TYPE(pipeline.NEIGHBOUR_ADVERTISEMENT)),
        *put(f.ND_OPTIONS_TYPE, _TARGET_LINK_LAYER),
        *put(f.ND_RESERVED, flags),
        Resubmit(table),
    )


class Records:
    """Compiles records on one ground. Every method raises Missing if the record cannot be programmed now."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._settings = ground.settings
        self._tables = ground.settings.tables

    def flows(self, key: object, value: object) -> tuple[FlowMod, ...]:
        """The flows of any record but a route."""
        if isinstance(key, AccessKey) and isinstance(value, Access):
            return tuple(self._access(key, value))
        if isinstance(key, DeliveryKey) and isinstance(value, Delivery):
            return tuple(self._delivery(key, value))
        if isinstance(key, SourceKey):
            return tuple(self._sender(key))
        if isinstance(key, FallbackKey) and isinstance(value, Fallback):
            return tuple(self._fallback(key, value))
        if isinstance(key, SteerKey) and isinstance(value, Steer):
            return tuple(self._steering(key, value))
        raise Missing(f"{key}: {value!r} is not known to this dataplane")

    def _access(self, key: AccessKey, value: Access) -> Iterator[FlowMod]:
        vlan, source = key.port.vlan, key.port.source
        where = [f.IN_PORT(self._ground.port(key.port)), f.UNTAGGED if vlan is None else f.vlan(vlan)]
        if source is not None:
            where.append(f.ETH_SRC(source))
        priority = Priority.ACCESS if source is None else Priority.ACCESS_OF_SOURCE
        of = cookie(value.instance)
        untag = () if vlan is None else (POP_VLAN,)
        into = apply(*untag, *pipeline.into_vrf(self._settings, value.instance))
        yield FlowMod(self._tables.input, priority, Match.of(*where), into, of)
        for priority, match, actions in self._answers(value):
            yield FlowMod(self._tables.input, priority, Match.of(*where, *match), apply(*actions), of)

    def _answers(self, value: Access) -> Iterator[tuple[int, tuple[Criterion, ...], tuple[Action, ...]]]:
        """Priority, match and actions of what answers ARP and neighbour solicitations."""
        # Not told apart by the option's type: the kernel datapath does not see it, and would treat all solicitations
        # like the first.
        unanswerable = (*_SOLICITATION, f.ND_SLL(bytes(6)))
        answer = self._tables.answer
        if self._settings.proxy_arp:
            # An answer to a probe (RFC 5227) would keep the endpoint from taking its own address.
            yield Priority.NOT_ANSWERED, (*_ARP_REQUEST, f.ARP_SPA(bytes(4))), ()
            yield Priority.ANSWER, _ARP_REQUEST, _ANSWER_ARP
            yield Priority.NOT_ANSWERED, unanswerable, ()
            yield Priority.ANSWER - 1, _SOLICITATION, _advertise(_SOLICITED, answer)
        for gateway in value.gateways:
            if gateway.version == 6:
                flags = _ROUTER | _SOLICITED | _OVERRIDE
                target = f.ND_TARGET(gateway)
                if not self._settings.proxy_arp:
                    yield Priority.NOT_ANSWERED, (*unanswerable, target), ()
                yield Priority.ANSWER, (*_SOLICITATION, target), _advertise(flags, answer)
            elif self._settings.arp_responder and not self._settings.proxy_arp:
                yield Priority.ANSWER, (*_ARP_REQUEST, f.ARP_TPA(gateway)), _ANSWER_ARP

    def _delivery(self, key: DeliveryKey, value: Delivery) -> Iterator[FlowMod]:
        if value.port is None or value.mac is None:
            deliver = pipeline.into_vrf(self._settings, value.instance)
        else:
            deliver = to_endpoint(self._ground, value.port, value.mac)
        table, of = self._tables.tunnelled, cookie(value.instance)
        addressed = (f.ETH_DST(value.mac),) if value.port is None and value.mac is not None else ()
        for encapsulation in self._settings.encapsulations:
            number = self._ground.exit(encapsulation)
            if encapsulation is Encapsulation.VXLAN:
                yield from self._of_label_port(key.label, number, of)
                for version in (4, 6) if value.version is None else (value.version,):
                    match = Match.of(f.IN_PORT(number), *addressed, f.TUNNEL_ID(key.label), IP[version])
                    yield FlowMod(table, Priority.DELIVERY, match, apply(*deliver), of)
            elif value.version is not None:
                label = (pipeline.MPLS, f.MPLS_LABEL(key.label), f.MPLS_BOS(1))
                pop = PopMpls(ETH_IPV4 if value.version == 4 else ETH_IPV6)
                match = Match.of(f.IN_PORT(number), *label)
                yield FlowMod(table, Priority.DELIVERY, match, apply(pop, *deliver), of)

    def _of_label_port(self, label: int, number: int, of: int) -> Iterator[FlowMod]:
        """What comes by the label's own port, if it has one. It does not match the port: it is there before that is,
        and after.
        """
        if self._ground.has_label_port(label):
            ours = self._settings.tunnel_destination(self._settings.local_address)
            match = Match.of(f.TUNNEL_ID(label), ours)
            actions = apply(SetField(f.NXM_IN_PORT(number)), Resubmit(self._tables.input))
            yield FlowMod(self._tables.input, Priority.LABEL_PORT, match, actions, of)

    def _sender(self, key: SourceKey) -> Iterator[FlowMod]:
        """Nothing where the sender is not looked at, or could not send to the address of this node's tunnels."""
        field = self._settings.tunnel_source
        if not self._settings.known_sources_only or len(key.address) != field.size:
            return
        for number in self._ground.underlay.tunnels:
            match = Match.of(f.IN_PORT(number), field(key.address))
            inward = apply(Resubmit(self._tables.tunnelled))
            yield FlowMod(self._tables.input, Priority.KNOWN_SENDER, match, inward, COOKIE)

    def _fallback(self, key: FallbackKey, value: Fallback) -> Iterator[FlowMod]:
        frame = (SetField(f.ETH_SRC(value.source)), SetField(f.ETH_DST(value.destination)))
        actions = apply(*frame, *tagged(value.vlan), Output(value.port_number))
        match = Match.of(f.REG[0](key.instance))
        yield FlowMod(self._tables.vrf, Priority.FALLBACK, match, actions, cookie(key.instance))

    def _steering(self, key: SteerKey, value: Steer) -> Iterator[FlowMod]:
        classifier = key.classifier
        fixed = [f.REG[0](key.instance), IP[classifier.version]]
        if classifier.protocol is not None:
            fixed.append(f.IP_PROTO(classifier.protocol))
        for fields, prefix in (
            (pipeline.SOURCE, classifier.source),
            (pipeline.DESTINATION, classifier.destination),
        ):
            if prefix is not None and prefix.length:
                fixed.append(fields[classifier.version].prefix(prefix.address, prefix.length))
        actions = apply(*pipeline.into_vrf(self._settings, value.instance))
        priority = steering_priority(classifier)
        for ports in _port_matches(classifier):
            match = Match.of(*fixed, *ports)
            yield FlowMod(self._tables.vrf, priority, match, actions, cookie(key.instance))


def steering_priority(classifier: Classifier) -> int:
    """Above all routes, and in the order of RFC 8955 section 5.1: longer destinations first, then longer sources, then
    those with more components. Of IPv6 sources two lengths share a priority: there are not enough priorities.
    """

    def rank(prefix: Prefix | None) -> int:
        return 0 if prefix is None else prefix.length + 1

    destination, source = rank(classifier.destination), rank(classifier.source)
    ports = classifier.source_ports, classifier.destination_ports
    more = 0 if classifier.protocol is None else 1 + any(ports)
    if classifier.version == 4:
        return Priority.STEER + (destination * 34 + source) * 3 + more
    return Priority.STEER + (destination * 66 + (source + 1) // 2) * 3 + more


def masks(ports: Ports) -> Iterator[tuple[int, int]]:
    """Values and masks of 16 bits that together cover the range and nothing else, at most 30."""
    low = ports.low
    while low <= ports.high:
        size = low & -low if low else 1 << 16
        while low + size - 1 > ports.high:
            size >>= 1
        yield low, 0xFFFF ^ (size - 1)
        low += size


def _port_matches(classifier: Classifier) -> Iterator[tuple[Criterion, ...]]:
    wanted = (classifier.source_ports, classifier.destination_ports)
    if wanted == (None, None):
        yield ()
        return
    fields = _WITH_PORTS.get(-1 if classifier.protocol is None else classifier.protocol)
    if fields is None:
        raise Missing(f"ports need TCP, UDP or SCTP, not protocol {classifier.protocol}")
    source, destination = (
        [()] if ports is None else [(field.masked(*one),) for one in masks(ports)]
        for field, ports in zip(fields, wanted, strict=True)
    )
    yield from ((*one, *other) for one in source for other in destination)
