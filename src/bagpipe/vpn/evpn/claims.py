"""Who a MAC belongs to: the claims to it, in the order of preference, and why.

RFC 7432 section 15. A claim that does not move (sticky, section 15.2, or a default gateway, section 10.1) comes before
one that does, then the higher sequence number, then the lower address of the node. Claims of one Ethernet segment are
claims to one place: the first of them stands for all. What then still differs is one node's own contradiction; it is
settled by LOCAL_PREF and by the octets of the routes, so that the outcome never depends on the order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bagpipe.dataplane.model import Forward, Local
from bagpipe.rib.bundle import Bundle
from bagpipe.vpn.evpn.route_keys import NO_SEGMENTS, place

MAXIMUM_SEQUENCE = 0xFFFFFFFF

Place = bytes
"""Where a MAC is: an ESI (10 octets), or a node's address (4 or 16)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim to a MAC. ``key`` and ``bundle`` are those of its route; none for what is attached here.

    ``address`` is the node's, ``segment`` the ESI, ``hops`` where frames go if it is the best; none if it cannot be
    used, for ``reason``. ``gateway`` and ``sticky`` MACs do not move.
    """

    key: bytes
    bundle: Bundle | None
    address: bytes
    segment: bytes
    sequence: int
    gateway: bool
    sticky: bool
    hops: Forward
    reason: str = ""

    @property
    def is_own(self) -> bool:
        """Whether it is attached here."""
        return self.bundle is None

    @property
    def is_static(self) -> bool:
        """Whether it does not move."""
        return self.gateway or self.sticky

    @property
    def place(self) -> Place:
        """Where the MAC is by this claim."""
        return self.address if self.segment in NO_SEGMENTS else self.segment

    @property
    def order(self) -> tuple[object, ...]:
        """The lower, the better."""
        sequence = 0 if self.gateway else self.sequence
        preference = -self.bundle.attributes.local_pref if self.bundle is not None else 0
        return not self.is_static, -sequence, len(self.address), self.address, preference, self.key, self.segment

    def beats(self, other: Claim) -> str:
        """Why it comes before ``other``."""
        if self.is_static != other.is_static:
            return "it is the default gateway's" if self.gateway else "it is sticky"
        if self.sequence != other.sequence and not (self.gateway or other.gateway):
            return f"higher sequence number ({self.sequence} against {other.sequence})"
        if self.address != other.address:
            return f"lower address ({place(self.address)} against {place(other.address)})"
        return "the same node says so, too"

    @property
    def described(self) -> str:
        """How strong it is, for people."""
        if self.gateway:
            return "default gateway"
        return f"sequence {self.sequence}" + (", sticky" if self.sticky else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The usable claims, best first, and where frames go (nowhere if there is none). ``frozen`` is the place where the
    MAC is held, though another has a better claim by now.
    """

    ordered: tuple[Claim, ...]
    hops: Forward
    frozen: Place | None = None

    @property
    def winner(self) -> Claim | None:
        """Who has the MAC."""
        return self.ordered[0] if self.ordered else None


def settle(claims: Sequence[Claim], frozen: Place | None) -> Verdict:
    """Who of these has a MAC. If it is ``frozen`` at a place, it is there as long as somebody claims it from there."""
    ordered = sorted([claim for claim in claims if claim.hops], key=_order)
    if not ordered:
        return Verdict((), ())
    held = None
    if frozen is not None:
        there = [claim for claim in ordered if claim.place == frozen]
        if there and there[0] is not ordered[0]:
            held = frozen
            ordered = [*there, *[claim for claim in ordered if claim.place != frozen]]
    return Verdict(tuple(ordered), ordered[0].hops, held)


def _order(claim: Claim) -> tuple[object, ...]:
    return claim.order


def raised(claims: Sequence[Claim], sequence: int) -> int:
    """The sequence number of a MAC that is attached here with ``sequence``, while others claim it: RFC 7432 section 15.

    It is higher than that of every claim that can move and would win or tie; one that does not move is not outbid.
    """
    usable = [claim for claim in claims if claim.hops and not claim.is_own]
    if any(claim.is_static for claim in usable):
        return sequence
    highest = max((claim.sequence for claim in usable), default=-1)
    return sequence if highest < sequence else min(highest + 1, MAXIMUM_SEQUENCE)


def own_hop(claim: Claim) -> Local | None:
    """The endpoint of this node that a claim leads to."""
    hop = claim.hops[0] if claim.hops else None
    return hop if isinstance(hop, Local) else None
