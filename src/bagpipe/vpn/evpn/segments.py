"""Where frames to a MAC on an Ethernet segment go: RFC 7432 sections 8.2 to 8.4 and 14.1, RFC 8365 section 8.

A node is used for a segment only while its route for the segment as a whole (Ethernet tag 0xffffffff) is there, so that
its withdrawal takes all of its MACs away at once. Of an all-active segment every such node is used that has announced
the MAC or, for aliasing, the segment within the EVI. Of a single-active one only those are used that have announced the
MAC; if they are gone, the one node that is left of the segment in the EVI, if it is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bagpipe.dataplane.model import Forward, Remote


@dataclass(slots=True)
class Attached:
    """Who is attached to a segment. ``present`` are the nodes that have announced it as a whole, ``aliases`` the next
    hops to those that have announced it within the EVI. ``single``: one of them says that it is single-active.
    """

    present: set[bytes] = field(default_factory=set)
    aliases: dict[bytes, Remote] = field(default_factory=dict)
    single: bool = False


def hops(attached: Attached, advertisers: Mapping[bytes, Remote], *, multipath: bool) -> Forward:
    """The next hops to a MAC that ``advertisers`` have announced on the segment, none if nobody can be used."""
    present = attached.present
    used = {address: hop for address, hop in advertisers.items() if address in present}
    others = {address: hop for address, hop in attached.aliases.items() if address in present and address not in used}
    if not attached.single:
        used |= others
    elif not used and len(others) == 1:
        used = others
    ordered = _in_order(used.values())
    return ordered if multipath else ordered[:1]


def _in_order(found: Iterable[Remote]) -> Forward:
    return tuple(sorted(found, key=lambda hop: (hop.order, len(hop.address), hop.address, hop.label)))


def fault(attached: Attached) -> str:
    """Why nobody can be used."""
    if not attached.present:
        return "nobody announces its Ethernet segment as a whole"
    if attached.single:
        return "who announced it has left its single-active segment, and which of the others is in charge is not known"
    return "nobody who announces its Ethernet segment as a whole announces it within the EVI"
