"""From our OPEN and the peer's to what the session may use: RFC 4271 sections 4.2 and 6.2, RFC 5492 and the documents
of the capabilities, RFC 6286 (identifiers), RFC 6793 (AS numbers), RFC 7607 (AS 0).

A peer that offers families but none of ours is refused with 2/7 and our families as data, as FRR does: a session that
is up and silent would hide the mistake from both operators. A peer that offers no family at all speaks IPv4 unicast
(RFC 4760 section 8): the session comes up with that if it is configured, else with no family.

Not done: roles (RFC 9234), sending several paths (RFC 7911), outbound route filters (RFC 5291).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TypeVar

from bagpipe.errors import RemoteFault
from bagpipe.session.settings import SessionSettings
from bagpipe.wire.capability import (
    ADD_PATH_BOTH,
    ADD_PATH_RECEIVE,
    ADD_PATH_SEND,
    AddPath,
    Capability,
    EnhancedRouteRefresh,
    ExtendedMessage,
    ExtendedNextHop,
    FourOctetAs,
    GracefulRestart,
    LongLivedGracefulRestart,
    Multiprotocol,
    RouteRefreshSupport,
)
from bagpipe.wire.family import IPV4_UNICAST, VPNV4, Family
from bagpipe.wire.message import AS_TRANS, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, ErrorCode, Open, OpenError

_C = TypeVar("_C", bound=Capability)
_AFI_IPV6 = 2
_MAX_2_OCTET_AS = 0xFFFF
_MIN_HOLD_TIME = 3
_WITH_IPV6_NEXT_HOP = (IPV4_UNICAST, VPNV4)


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on. Times are seconds; 0 means no hold time and no keepalives."""

    local_as: int
    peer_as: int
    router_id: IPv4Address
    peer_router_id: IPv4Address
    hold_time: int
    keepalive: float
    families: frozenset[Family]
    four_octet_as: bool
    route_refresh: bool
    enhanced_route_refresh: bool
    extended_message: bool
    extended_next_hop: frozenset[tuple[Family, int]]
    """Families with the AFI of the next hops they may have besides their own (RFC 8950)."""
    add_path_receive: frozenset[Family]
    peer_graceful_restart: GracefulRestart | None
    """The peer's capability if we offered ours too."""
    graceful_notification: bool
    """Both set the N bit: a NOTIFICATION other than Hard Reset is a graceful restart as well (RFC 8538)."""
    peer_long_lived: LongLivedGracefulRestart | None
    """Only beside ``peer_graceful_restart`` (RFC 9494 section 4.1)."""
    peer_capabilities: tuple[Capability, ...]
    """All that the peer sent, in its order, for people."""

    @property
    def is_ibgp(self) -> bool:
        """Whether both are in one AS."""
        return self.local_as == self.peer_as

    @property
    def max_message(self) -> int:
        """Longest message that may be sent, header included: 4096 or 65535 (RFC 8654)."""
        return MAX_EXTENDED_MESSAGE if self.extended_message else MAX_MESSAGE


def make_open(settings: SessionSettings, *, with_capabilities: bool = True) -> Open:
    """The OPEN to send. Without capabilities it is what a speaker from before RFC 5492 understands."""
    my_as = settings.local_as if settings.local_as <= _MAX_2_OCTET_AS else AS_TRANS
    offered = tuple(_offered(settings)) if with_capabilities else ()
    return Open(my_as, settings.hold_time, settings.router_id, offered)


def _offered(settings: SessionSettings) -> Iterable[Capability]:
    for family in settings.families:
        yield Multiprotocol(family)
    yield RouteRefreshSupport()
    yield EnhancedRouteRefresh()
    yield FourOctetAs(settings.local_as)
    if settings.extended_message:
        yield ExtendedMessage()
    if settings.extended_next_hop:
        entries = tuple((one, _AFI_IPV6) for one in settings.families if one in _WITH_IPV6_NEXT_HOP)
        if entries:
            yield ExtendedNextHop(entries)
    if settings.add_path_receive:
        yield AddPath(tuple((family, ADD_PATH_RECEIVE) for family in settings.add_path_receive))
    if settings.graceful_restart_time is not None:
        yield GracefulRestart(settings.graceful_restart_time, notification=True)


def negotiate(settings: SessionSettings, ours: Open, theirs: Open) -> Negotiated:
    """What ``ours`` and ``theirs`` have in common.

    Raises :class:`RemoteFault` of code 2 if the session cannot be: bad peer AS (2), bad BGP identifier (3),
    unacceptable hold time (6), no common family (7).
    """
    peer_as = _peer_as(settings, theirs)
    _check_identifier(settings, theirs, peer_as)
    if 0 < theirs.hold_time < _MIN_HOLD_TIME:
        raise _fault(f"hold time {theirs.hold_time} s", OpenError.UNACCEPTABLE_HOLD_TIME)
    hold_time = min(ours.hold_time, theirs.hold_time)
    families = _common_families(ours, theirs)
    graceful, own_graceful = _last(GracefulRestart, theirs), _last(GracefulRestart, ours)
    both_graceful = graceful if own_graceful is not None else None
    return Negotiated(
        local_as=settings.local_as,
        peer_as=peer_as,
        router_id=settings.router_id,
        peer_router_id=theirs.router_id,
        hold_time=hold_time,
        keepalive=hold_time / 3,
        families=families,
        four_octet_as=_both(FourOctetAs, ours, theirs),
        route_refresh=_both(RouteRefreshSupport, ours, theirs),
        enhanced_route_refresh=_both(EnhancedRouteRefresh, ours, theirs),
        extended_message=_both(ExtendedMessage, ours, theirs),
        extended_next_hop=frozenset(entry for entry in _next_hops(ours) & _next_hops(theirs) if entry[0] in families),
        add_path_receive=_add_path_receive(ours, theirs) & families,
        peer_graceful_restart=both_graceful,
        graceful_notification=bool(
            both_graceful and both_graceful.notification and own_graceful and own_graceful.notification
        ),
        peer_long_lived=_last(LongLivedGracefulRestart, theirs) if both_graceful is not None else None,
        peer_capabilities=theirs.capabilities,
    )


def _peer_as(settings: SessionSettings, theirs: Open) -> int:
    """The peer's AS; from the capability if it has it (RFC 6793 section 4.1)."""
    capability = _last(FourOctetAs, theirs)
    peer_as = theirs.my_as if capability is None else capability.asn
    if peer_as in (0, AS_TRANS):
        raise _fault(f"AS {peer_as} is reserved", OpenError.BAD_PEER_AS)
    if theirs.my_as not in (peer_as, AS_TRANS):
        raise _fault(f"says both AS {theirs.my_as} and AS {peer_as}", OpenError.BAD_PEER_AS)
    if settings.peer_as is not None and peer_as != settings.peer_as:
        raise _fault(f"AS {peer_as}, expected {settings.peer_as}", OpenError.BAD_PEER_AS)
    return peer_as


def _check_identifier(settings: SessionSettings, theirs: Open, peer_as: int) -> None:
    """RFC 6286 section 2.2: not zero, and within one AS not our own."""
    if int(theirs.router_id) == 0:
        raise _fault("BGP identifier is zero", OpenError.BAD_BGP_IDENTIFIER)
    if theirs.router_id == settings.router_id and peer_as == settings.local_as:
        raise _fault(f"BGP identifier {theirs.router_id} is our own", OpenError.BAD_BGP_IDENTIFIER)


def _common_families(ours: Open, theirs: Open) -> frozenset[Family]:
    offered, wanted = _families(theirs), _families(ours)
    common = offered & wanted
    if not common and wanted and any(isinstance(one, Multiprotocol) for one in theirs.capabilities):
        raise RemoteFault(
            f"OPEN: no family in common (theirs: {', '.join(sorted(map(str, offered)))})",
            code=ErrorCode.OPEN_MESSAGE_ERROR,
            subcode=OpenError.UNSUPPORTED_CAPABILITY,
            data=b"".join(one.encode() for one in ours.capabilities if isinstance(one, Multiprotocol)),
        )
    return common


def _families(message: Open) -> frozenset[Family]:
    offered = frozenset(one.family for one in message.capabilities if isinstance(one, Multiprotocol))
    return offered or frozenset((IPV4_UNICAST,))


def _next_hops(message: Open) -> frozenset[tuple[Family, int]]:
    return frozenset(entry for one in message.capabilities if isinstance(one, ExtendedNextHop) for entry in one.entries)


def _add_path_receive(ours: Open, theirs: Open) -> frozenset[Family]:
    """Families we receive and the peer sends; of several entries for a family the last counts, an unknown mode not."""
    receive = {family for one in ours.capabilities if isinstance(one, AddPath) for family, _ in one.entries}
    modes = {
        family: mode
        for one in theirs.capabilities
        if isinstance(one, AddPath)
        for family, mode in one.entries
        if mode in (ADD_PATH_RECEIVE, ADD_PATH_SEND, ADD_PATH_BOTH)
    }
    return frozenset(family for family in receive if modes.get(family) in (ADD_PATH_SEND, ADD_PATH_BOTH))


def _both(kind: type[Capability], ours: Open, theirs: Open) -> bool:
    return _last(kind, ours) is not None and _last(kind, theirs) is not None


def _last(kind: type[_C], message: Open) -> _C | None:
    """The capability of a kind; of several the last, as RFC 4724 section 3 has it for its own."""
    return next((one for one in reversed(message.capabilities) if isinstance(one, kind)), None)


def _fault(text: str, subcode: OpenError) -> RemoteFault:
    return RemoteFault(f"OPEN: {text}", code=ErrorCode.OPEN_MESSAGE_ERROR, subcode=subcode)
