"""What a packet must have to meet a flow: a set of criteria.

OpenFlow Switch Specification 1.5.1 section 7.2.3. The order in which criteria are given does not matter. Does not
check prerequisites: a switch refuses what lacks them (OFPBMC_BAD_PREREQ), and the refusal is owned by its message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, pairwise
from operator import attrgetter
from typing import Self

from bagpipe.dataplane.openflow.fields import PACKET_REGISTERS, REG, XREG, Criterion, Field, read_criterion
from bagpipe.dataplane.openflow.octets import Octets, padding
from bagpipe.errors import LocalMisuse

_OXM = 1
_ALL_BITS = b"\xff" * 8
_order = attrgetter("field.order")


def in_order(criteria: Iterable[Criterion]) -> tuple[Criterion, ...]:
    """Criteria in the order in which they are sent. Raises LocalMisuse if a field stands there twice."""
    made = tuple(sorted(criteria, key=_order))
    for one, other in pairwise(made):
        if one.field == other.field:
            raise LocalMisuse("match", one.field.name, "given twice")
    return made


def _singly(criterion: Criterion) -> tuple[Criterion, ...]:
    if criterion.field.oxm_class != PACKET_REGISTERS or criterion.field not in XREG:
        return (criterion,)
    first = 2 * criterion.field.number
    mask = criterion.mask or _ALL_BITS
    return (
        REG[first].masked(criterion.value[:4], mask[:4]),
        REG[first + 1].masked(criterion.value[4:], mask[4:]),
    )


@dataclass(frozen=True, slots=True)
class Match:
    """Criteria that a packet must all meet, each field once, in the order of sending. None of them: every packet.

    Built with :meth:`of`, which brings them into order.
    """

    criteria: tuple[Criterion, ...] = ()

    @classmethod
    def of(cls, *criteria: Criterion) -> Self:
        """A match of ``criteria`` in any order; those that anything meets are left out.

        A pair of registers (XREG) becomes two registers: OVS shows in pairs what was given singly.

        Raises LocalMisuse if a field is given twice.
        """
        single = chain.from_iterable(map(_singly, criteria))
        return cls(in_order(criterion for criterion in single if not criterion.is_anything))

    def get(self, field: Field) -> Criterion | None:
        """What the match asks of ``field``; None if nothing."""
        return next((criterion for criterion in self.criteria if criterion.field == field), None)

    @property
    def packed(self) -> bytes:
        """The ofp_match structure with its padding."""
        criteria = b"".join([criterion.packed for criterion in self.criteria])
        size = 4 + len(criteria)
        return _OXM.to_bytes(2) + size.to_bytes(2) + criteria + padding(size)

    def __str__(self) -> str:
        return ",".join(map(str, self.criteria)) or "any"


ANYTHING = Match()


def read_match(data: Octets) -> Match:
    """An ofp_match structure. Raises MalformedMessage, and LocalMisuse for a field that stands there twice."""
    kind, size = data.u16(), data.u16()
    if kind != _OXM or size < 4:
        raise data.fault(f"match of type {kind} and length {size}")
    body = data.sub(size - 4, "match")
    criteria = []
    while body.remaining:
        criteria.append(read_criterion(body))
    data.skip_padding(size)
    return Match.of(*criteria)
