"""Path attributes, checked once per distinct block.

RFC 4271 section 4.3 and 5, RFC 4456 (ORIGINATOR_ID, CLUSTER_LIST), RFC 4360, RFC 6793 section 4.2.3 (AS4_PATH,
AS4_AGGREGATOR), RFC 8092, RFC 6514 section 5, RFC 9012 section 13, with the error handling of RFC 7606 sections 3
and 7. MP_REACH_NLRI and MP_UNREACH_NLRI are taken out before (``wire.update``); what stays is the *block*. Values are
decoded only as far as routing needs them; the rest stays bytes until a person looks (``rib.view``).

It does not read AIGP or ATTR_SET: they are kept as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bagpipe.errors import Outcome, RemoteFault
from bagpipe.wire import as_path, tunnel_encapsulation
from bagpipe.wire.extended_community import route_targets_of
from bagpipe.wire.family import EVPN, FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, RTC, VPNV4, VPNV6, Family

ORIGIN = 1
AS_PATH = 2
NEXT_HOP = 3
MULTI_EXIT_DISC = 4
LOCAL_PREF = 5
ATOMIC_AGGREGATE = 6
AGGREGATOR = 7
COMMUNITIES = 8
ORIGINATOR_ID = 9
CLUSTER_LIST = 10
MP_REACH_NLRI = 14
MP_UNREACH_NLRI = 15
EXTENDED_COMMUNITIES = 16
AS4_PATH = 17
AS4_AGGREGATOR = 18
PMSI_TUNNEL = 22
TUNNEL_ENCAPSULATION = 23
IPV6_EXTENDED_COMMUNITIES = 25
LARGE_COMMUNITIES = 32

OPTIONAL = 0x80
TRANSITIVE = 0x40
PARTIAL = 0x20
EXTENDED_LENGTH = 0x10

DEFAULT_LOCAL_PREF = 100
AS_TRANS = 23456
_UPDATE_ERROR = 3


@dataclass(frozen=True, slots=True)
class Context:
    """What the session tells the reader of attributes."""

    four_octet_as: bool
    is_ibgp: bool


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one attribute must look: its Optional and Transitive flags, and what a wrong one leads to (RFC 7606 7)."""

    name: str
    flags: int
    outcome: Outcome
    fits: Callable[[bytes], bool]
    ibgp_only: bool = False
    kept: bool = True


_WITHDRAW = Outcome.TREAT_AS_WITHDRAW
_DISCARD = Outcome.DISCARD_ATTRIBUTE
_WELL_KNOWN = TRANSITIVE
_OPTIONAL_TRANSITIVE = OPTIONAL | TRANSITIVE


def _exactly(size: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) == size


def _multiple(size: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) >= size and len(value) % size == 0


def _at_least(size: int) -> Callable[[bytes], bool]:
    return lambda value: len(value) >= size


def _tunnels_add_up(value: bytes) -> bool:
    """RFC 9012 section 13: TLVs fill the attribute, and sub-TLVs each TLV."""
    try:
        return bool(tunnel_encapsulation.decode(value))
    except RemoteFault:
        return False


_RULES: dict[int, _Rule] = {
    ORIGIN: _Rule("ORIGIN", _WELL_KNOWN, _WITHDRAW, lambda v: len(v) == 1 and v[0] <= 2),
    AS_PATH: _Rule("AS_PATH", _WELL_KNOWN, _WITHDRAW, _at_least(0), kept=False),
    NEXT_HOP: _Rule("NEXT_HOP", _WELL_KNOWN, _WITHDRAW, _exactly(4)),
    MULTI_EXIT_DISC: _Rule("MULTI_EXIT_DISC", OPTIONAL, _WITHDRAW, _exactly(4)),
    LOCAL_PREF: _Rule("LOCAL_PREF", _WELL_KNOWN, _WITHDRAW, _exactly(4), ibgp_only=True),
    ATOMIC_AGGREGATE: _Rule("ATOMIC_AGGREGATE", _WELL_KNOWN, _DISCARD, _exactly(0)),
    AGGREGATOR: _Rule("AGGREGATOR", _OPTIONAL_TRANSITIVE, _DISCARD, lambda v: len(v) in (6, 8), kept=False),
    COMMUNITIES: _Rule("COMMUNITIES", _OPTIONAL_TRANSITIVE, _WITHDRAW, _multiple(4)),
    ORIGINATOR_ID: _Rule("ORIGINATOR_ID", OPTIONAL, _WITHDRAW, _exactly(4), ibgp_only=True),
    CLUSTER_LIST: _Rule("CLUSTER_LIST", OPTIONAL, _WITHDRAW, _multiple(4), ibgp_only=True),
    EXTENDED_COMMUNITIES: _Rule("EXTENDED_COMMUNITIES", _OPTIONAL_TRANSITIVE, _WITHDRAW, _multiple(8)),
    AS4_PATH: _Rule("AS4_PATH", _OPTIONAL_TRANSITIVE, _DISCARD, _at_least(6), kept=False),
    AS4_AGGREGATOR: _Rule("AS4_AGGREGATOR", _OPTIONAL_TRANSITIVE, _DISCARD, _exactly(8), kept=False),
    PMSI_TUNNEL: _Rule("PMSI_TUNNEL", _OPTIONAL_TRANSITIVE, _WITHDRAW, _at_least(5)),
    TUNNEL_ENCAPSULATION: _Rule("TUNNEL_ENCAPSULATION", _OPTIONAL_TRANSITIVE, _WITHDRAW, _tunnels_add_up),
    IPV6_EXTENDED_COMMUNITIES: _Rule("IPV6_EXTENDED_COMMUNITIES", _OPTIONAL_TRANSITIVE, _WITHDRAW, _multiple(20)),
    LARGE_COMMUNITIES: _Rule("LARGE_COMMUNITIES", _OPTIONAL_TRANSITIVE, _WITHDRAW, _multiple(12)),
}

_NEXT_HOP_LENGTHS: dict[Family, tuple[int, ...]] = {
    VPNV4: (12, 24, 48),
    VPNV6: (12, 24, 48),
    RTC: (4, 16, 32),
    EVPN: (4, 16, 32),
    FLOWSPEC_VPNV4: (0, 4, 12, 16, 24),
    FLOWSPEC_VPNV6: (0, 4, 12, 16, 24),
}


def name_of(code: int) -> str:
    """The registered name of an attribute, or ``attribute N``."""
    rule = _RULES.get(code)
    return rule.name if rule else f"attribute {code}"


def walk(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(flags, code, value) of each attribute in a block.

    Raises RemoteFault (treat as withdraw, RFC 7606 section 4) when an attribute overruns the block.
    """
    position = 0
    end = len(block)
    while position < end:
        if position + 3 > end:
            raise _overrun()
        flags = block[position]
        if flags & EXTENDED_LENGTH:
            start = position + 4
            following = start + int.from_bytes(block[position + 2 : start])
        else:
            start = position + 3
            following = start + block[position + 2]
        if following > end or start > end:
            raise _overrun()
        yield flags, block[position + 1], block[start:following]
        position = following


def _overrun() -> RemoteFault:
    return RemoteFault("an attribute overruns the attribute field", outcome=_WITHDRAW, code=_UPDATE_ERROR, subcode=1)


def pack(flags: int, code: int, value: bytes) -> bytes:
    """One attribute as it goes on the wire, with a two-octet length only where it needs one."""
    if len(value) > 255:
        return bytes((flags | EXTENDED_LENGTH, code)) + len(value).to_bytes(2) + value
    return bytes((flags & ~EXTENDED_LENGTH, code, len(value))) + value


class Attributes:
    """One checked attribute block with its next hop.

    ``block`` is the attribute bytes without MP_REACH_NLRI and MP_UNREACH_NLRI, with AS numbers of four octets, and
    without what RFC 7606 or RFC 6793 told to discard (named in ``discarded``). ``next_hop`` is the next hop field of
    MP_REACH_NLRI as it came. Everything a decision needs is a slot.
    """

    __slots__ = (
        "as_path",
        "as_path_length",
        "block",
        "cluster_list",
        "discarded",
        "family",
        "first_as",
        "local_pref",
        "med",
        "next_hop",
        "origin",
        "originator_id",
        "route_targets",
    )

    def __init__(self, family: Family, next_hop: bytes, block: bytes) -> None:
        self.family = family
        self.next_hop = next_hop
        self.block = block
        self.origin = 2
        self.as_path = b""
        self.as_path_length = 0
        self.first_as: int | None = None
        self.med = 0
        self.local_pref = DEFAULT_LOCAL_PREF
        self.originator_id: bytes | None = None
        self.cluster_list = b""
        self.route_targets: tuple[bytes, ...] = ()
        self.discarded: tuple[str, ...] = ()

    @property
    def next_hop_address(self) -> bytes:
        """The 4 or 16 octets of the (global) next hop address, without a route distinguisher; empty for none."""
        return next_hop_address(self.family, self.next_hop)


def next_hop_address(family: Family, field: bytes) -> bytes:
    """The address within the next hop field of ``family`` (RFC 4364 4.3.4, RFC 4659 3.2.1, RFC 8950 section 4)."""
    if family.safi == VPNV4.safi or len(field) in (12, 24, 48):
        return field[8 : 12 if len(field) == 12 else 24]
    return field[:16]


def parse(family: Family, next_hop: bytes, block: bytes, context: Context) -> Attributes:
    """Check a block and read what routing needs.

    Raises RemoteFault with the outcome that RFC 7606 gives to the worst thing found.
    """
    lengths = _NEXT_HOP_LENGTHS.get(family)
    if lengths is not None and len(next_hop) not in lengths:
        raise RemoteFault(f"{family}: a next hop of {len(next_hop)} octets", code=_UPDATE_ERROR, subcode=8)
    kept: list[bytes] = []
    path_at = 0
    discarded: list[str] = []
    values: dict[int, bytes] = {}
    worst: RemoteFault | None = None
    for flags, code, value in walk(block):
        if code in values:
            discarded.append(f"{name_of(code)} given twice")
            continue
        fault = _check(flags, code, value, context)
        if fault is not None:
            if fault.outcome is _DISCARD:
                discarded.append(fault.text)
            elif worst is None or fault.outcome.value > worst.outcome.value:
                worst = fault
            continue
        values[code] = value
        if code == AS_PATH:
            path_at = len(kept)
        rule = _RULES.get(code)
        if rule is None:
            if flags & TRANSITIVE:
                kept.append(pack(_OPTIONAL_TRANSITIVE | PARTIAL, code, value))
        elif rule.kept:
            partial = flags & PARTIAL if rule.flags == _OPTIONAL_TRANSITIVE else 0
            kept.append(pack(rule.flags | partial, code, value))
    if worst is not None:
        raise worst
    _demand(values, context)
    attributes = Attributes(family, next_hop, b"")
    path = _whole_path(values, context, discarded)
    kept.insert(path_at, pack(TRANSITIVE, AS_PATH, path))
    if AGGREGATOR in values:
        kept.append(pack(_OPTIONAL_TRANSITIVE, AGGREGATOR, _whole_aggregator(values, context)))
    attributes.block = b"".join(kept)
    attributes.as_path = path
    if path:
        attributes.as_path_length = as_path.length(path)
        attributes.first_as = as_path.first_as(path)
    attributes.discarded = tuple(discarded)
    return fill(attributes, values)


def fill(attributes: Attributes, values: dict[int, bytes]) -> Attributes:
    """Set the slots that a decision reads from attribute values by code."""
    attributes.origin = values[ORIGIN][0]
    if EXTENDED_COMMUNITIES in values:
        attributes.route_targets = route_targets_of(values[EXTENDED_COMMUNITIES])
    if LOCAL_PREF in values:
        attributes.local_pref = int.from_bytes(values[LOCAL_PREF])
    if MULTI_EXIT_DISC in values:
        attributes.med = int.from_bytes(values[MULTI_EXIT_DISC])
    attributes.originator_id = values.get(ORIGINATOR_ID)
    attributes.cluster_list = values.get(CLUSTER_LIST, b"")
    return attributes


def _check(flags: int, code: int, value: bytes, context: Context) -> RemoteFault | None:
    """The fault of one attribute, or None."""
    rule = _RULES.get(code)
    if rule is None:
        if flags & OPTIONAL:
            return None
        data = pack(flags, code, value)
        return RemoteFault(f"unknown well-known attribute {code}", code=_UPDATE_ERROR, subcode=2, data=data)
    if rule.ibgp_only and not context.is_ibgp:
        return RemoteFault(f"{rule.name} from an external peer", outcome=_DISCARD, code=_UPDATE_ERROR)
    if flags & (OPTIONAL | TRANSITIVE) != rule.flags:
        return _wrong(rule, 4, f"flags 0x{flags:02x}", flags, code, value)
    if not rule.fits(value) or (code == AGGREGATOR and len(value) != (8 if context.four_octet_as else 6)):
        return _wrong(rule, 5, f"a value of {len(value)} octets that does not fit", flags, code, value)
    return None


def _wrong(rule: _Rule, subcode: int, text: str, flags: int, code: int, value: bytes) -> RemoteFault:
    return RemoteFault(
        f"{rule.name}: {text}",
        outcome=rule.outcome,
        code=_UPDATE_ERROR,
        subcode=subcode,
        data=pack(flags, code, value),
    )


def _demand(values: dict[int, bytes], context: Context) -> None:
    """RFC 4271 section 5 and RFC 7606 section 3 d: the mandatory attributes are there."""
    wanted = (ORIGIN, AS_PATH, LOCAL_PREF) if context.is_ibgp else (ORIGIN, AS_PATH)
    for code in wanted:
        if code not in values:
            raise RemoteFault(
                f"{name_of(code)} is missing",
                outcome=_WITHDRAW,
                code=_UPDATE_ERROR,
                subcode=3,
                data=bytes((code,)),
            )


def _whole_path(values: dict[int, bytes], context: Context, discarded: list[str]) -> bytes:
    """AS_PATH in four-octet form, joined with AS4_PATH when the peer is an old one (RFC 6793 section 4.2.3)."""
    path = values[AS_PATH]
    if context.four_octet_as:
        if AS4_PATH in values:
            discarded.append("AS4_PATH from a four-octet AS speaker")
        if path:
            as_path.check(path, 4)
        return path
    if not path:
        return path
    wide = as_path.widen(path)
    if AS4_PATH not in values or not _aggregated_by_old(values):
        return wide
    try:
        as_path.check(values[AS4_PATH], 4)
    except RemoteFault as fault:
        discarded.append(fault.text)
        return wide
    return as_path.merge(wide, values[AS4_PATH])


def _aggregated_by_old(values: dict[int, bytes]) -> bool:
    """Whether AS4_PATH and AS4_AGGREGATOR of an old speaker count: not if AGGREGATOR names a real two-octet AS, which
    was put there by a speaker that did not know them (RFC 6793 section 4.2.3)."""
    return AGGREGATOR not in values or int.from_bytes(values[AGGREGATOR][:2]) == AS_TRANS


def _whole_aggregator(values: dict[int, bytes], context: Context) -> bytes:
    """AGGREGATOR with an AS number of four octets."""
    value = values[AGGREGATOR]
    if context.four_octet_as:
        return value
    if AS4_AGGREGATOR in values and _aggregated_by_old(values):
        return values[AS4_AGGREGATOR]
    return bytes(2) + value
