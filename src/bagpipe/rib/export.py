"""How a route looks when it is told on: who may hear it, and with which attributes.

RFC 4456 sections 8 and 10 (reflection), RFC 4271 sections 5.1 and 9.2 (external peers), RFC 4684 section 3.2 (RTC
routes told to clients), RFC 6793 section 4.2.2 (neighbours without four-octet AS numbers). The next hop stays as it is:
a VPN label belongs to the node that is the next hop (RFC 4364 section 4.3.2, and section 10 c for external peers).
"""

from __future__ import annotations

from dataclasses import dataclass

from bagpipe.rib.bundle import Bundle, Origin
from bagpipe.wire import as_path
from bagpipe.wire.attributes import (
    AGGREGATOR,
    AS4_AGGREGATOR,
    AS4_PATH,
    AS_PATH,
    AS_TRANS,
    CLUSTER_LIST,
    LOCAL_PREF,
    MULTI_EXIT_DISC,
    OPTIONAL,
    ORIGINATOR_ID,
    TRANSITIVE,
    pack,
    walk,
)
from bagpipe.wire.family import RTC


@dataclass(frozen=True, slots=True)
class Profile:
    """All that makes two neighbours hear the same bytes. Identifiers are 4 octets."""

    is_ibgp: bool
    is_client: bool
    four_octet_as: bool
    maximum_message: int
    reflector: bool
    local_as: int
    router_id: bytes
    cluster_id: bytes

    def may_hear(self, origin: Origin) -> bool:
        """Whether routes of ``origin`` are told to such a neighbour at all (RFC 4456 section 6)."""
        if origin.is_local:
            return True
        if not self.reflector:
            return False
        if self.is_ibgp and origin.is_ibgp:
            return self.is_client or origin.is_client
        return True

    def attributes_for(self, bundle: Bundle) -> tuple[bytes, bytes]:
        """Next hop field and attribute block for the routes of ``bundle``."""
        attributes = bundle.attributes
        origin = bundle.source.origin
        changes: dict[int, bytes | None] = {}
        next_hop = attributes.next_hop
        if self.is_ibgp:
            if not origin.is_local and origin.is_ibgp:
                originator = attributes.originator_id or origin.router_id
                if attributes.family == RTC and self.is_client:
                    originator = next_hop = self.router_id
                changes[ORIGINATOR_ID] = pack(OPTIONAL, ORIGINATOR_ID, originator)
                changes[CLUSTER_LIST] = pack(OPTIONAL, CLUSTER_LIST, self.cluster_id + attributes.cluster_list)
            elif not origin.is_local:
                changes[LOCAL_PREF] = pack(TRANSITIVE, LOCAL_PREF, attributes.local_pref.to_bytes(4))
        else:
            for code in (ORIGINATOR_ID, CLUSTER_LIST, LOCAL_PREF):
                changes[code] = None
            if not origin.is_local:
                changes[MULTI_EXIT_DISC] = None
        path = attributes.as_path if self.is_ibgp else as_path.prepend(attributes.as_path, self.local_as)
        if self.four_octet_as:
            if not self.is_ibgp:
                changes[AS_PATH] = pack(TRANSITIVE, AS_PATH, path)
            return next_hop, _changed(attributes.block, changes) if changes else attributes.block
        if path:
            changes[AS_PATH] = pack(TRANSITIVE, AS_PATH, as_path.narrow(path))
            if as_path.needs_four_octets(path):
                wide = as_path.without_confederations(path)
                changes[AS4_PATH] = pack(OPTIONAL | TRANSITIVE, AS4_PATH, wide)
        return next_hop, _with_old_aggregator(_changed(attributes.block, changes))


def _with_old_aggregator(block: bytes) -> bytes:
    """The block with AGGREGATOR as old speakers read it (RFC 6793 section 4.2.2)."""
    value = next((value for _, code, value in walk(block) if code == AGGREGATOR), None)
    if value is None:
        return block
    flags = OPTIONAL | TRANSITIVE
    if value[:2] == b"\0\0":
        return _changed(block, {AGGREGATOR: pack(flags, AGGREGATOR, value[2:])})
    narrow = pack(flags, AGGREGATOR, AS_TRANS.to_bytes(2) + value[4:])
    return _changed(block, {AGGREGATOR: narrow, AS4_AGGREGATOR: pack(flags, AS4_AGGREGATOR, value)})


def _changed(block: bytes, changes: dict[int, bytes | None]) -> bytes:
    """The block with some attributes replaced, added or (None) left out, in ascending order of their codes."""
    pieces = {code: pack(flags, code, value) for flags, code, value in walk(block)}
    for code, piece in changes.items():
        if piece is None:
            pieces.pop(code, None)
        else:
            pieces[code] = piece
    return b"".join([pieces[code] for code in sorted(pieces)])
