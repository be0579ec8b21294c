"""Which of several routes to one destination is best, and why.

RFC 4271 section 9.1.2.2 and 9.1.2 (degree of preference), RFC 4456 section 9 (ORIGINATOR_ID in place of the BGP
identifier, shorter CLUSTER_LIST), RFC 4724 section 4.2 (a stale route is used like any other). MED is compared only
among routes of one neighbouring AS, group by group, so that the outcome does not depend on the order of arrival. The
IGP cost to the next hop is not known here and counts as equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

from bagpipe.wire.attributes import Attributes


class _Origin(Protocol):
    @property
    def is_local(self) -> bool: ...
    @property
    def is_ibgp(self) -> bool: ...
    @property
    def router_id(self) -> bytes: ...
    @property
    def address(self) -> bytes: ...


class _Source(Protocol):
    @property
    def origin(self) -> _Origin: ...
    @property
    def path_id(self) -> int: ...


class Candidate(Protocol):
    """What the decision looks at: attributes and source."""

    @property
    def attributes(self) -> Attributes:
        """The attribute block."""
        ...

    @property
    def source(self) -> _Source:
        """Who sent it."""
        ...


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True, slots=True)
class Ranking(Generic[C]):
    """Candidates from best to worst.

    ``reasons[i]`` says why ``ordered[i]`` is preferred to ``ordered[i + 1]``; ``multipath`` are those that may share
    the traffic with the best.
    """

    ordered: tuple[C, ...]
    reasons: tuple[str, ...]
    multipath: tuple[C, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    """One comparison: the lower value of ``cost`` wins; ``shown`` makes it readable; ``ties`` only break ties."""

    name: str
    cost: Callable[[Candidate], object]
    shown: Callable[[Candidate], object]
    ties: bool = False


def _router_id(c: Candidate) -> bytes:
    return c.attributes.originator_id or c.source.origin.router_id


def _dotted(octets: bytes) -> str:
    if len(octets) == 4:
        return ".".join(map(str, octets))
    return octets.hex()


_ORIGINS = ("IGP", "EGP", "incomplete")

_MED = _Step("lower MED", lambda c: c.attributes.med, lambda c: c.attributes.med)
STEPS: tuple[_Step, ...] = (
    _Step("higher LOCAL_PREF", lambda c: -c.attributes.local_pref, lambda c: c.attributes.local_pref),
    _Step(
        "originated here",
        lambda c: not c.source.origin.is_local,
        lambda c: "here" if c.source.origin.is_local else "learned",
    ),
    _Step("shorter AS_PATH", lambda c: c.attributes.as_path_length, lambda c: c.attributes.as_path_length),
    _Step("lower ORIGIN", lambda c: c.attributes.origin, lambda c: _ORIGINS[c.attributes.origin]),
    _MED,
    _Step(
        "eBGP over iBGP",
        lambda c: c.source.origin.is_ibgp,
        lambda c: "iBGP" if c.source.origin.is_ibgp else "eBGP",
    ),
    _Step("lower router ID", _router_id, lambda c: _dotted(_router_id(c)), ties=True),
    _Step(
        "shorter CLUSTER_LIST",
        lambda c: len(c.attributes.cluster_list),
        lambda c: len(c.attributes.cluster_list) // 4,
        ties=True,
    ),
    _Step(
        "lower neighbour address",
        lambda c: (len(c.source.origin.address), c.source.origin.address),
        lambda c: _dotted(c.source.origin.address),
        ties=True,
    ),
    _Step("lower path identifier", lambda c: c.source.path_id, lambda c: c.source.path_id, ties=True),
)


def _first_difference(a: Candidate, b: Candidate) -> _Step | None:
    for step in STEPS:
        if step is _MED and a.attributes.first_as != b.attributes.first_as:
            continue
        if step.cost(a) != step.cost(b):
            return step
    return None


def _compare(a: Candidate, b: Candidate) -> int:
    step = _first_difference(a, b)
    if step is None:
        return 0
    return -1 if step.cost(a) < step.cost(b) else 1  # type: ignore[operator]


_ORDER = cmp_to_key(_compare)


def _reason(better: Candidate, worse: Candidate) -> str:
    step = _first_difference(better, worse)
    if step is None:
        return "equal"
    if step.cost(better) > step.cost(worse):  # type: ignore[operator]
        return "MED within its neighbouring AS"
    return f"{step.name} ({step.shown(better)} against {step.shown(worse)})"


def rank(candidates: Iterable[C]) -> Ranking[C]:
    """Order candidates from best to worst.

    The order is the same for any order of arrival: routes are first ordered within their neighbouring AS, where MED
    makes a total order, then the head of each group is compared (RFC 4271 section 9.1.2.2 c).
    """
    groups: dict[int | None, list[C]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.attributes.first_as, []).append(candidate)
    for group in groups.values():
        group.sort(key=_ORDER, reverse=False)
    ordered: list[C] = []
    heads = [group for _, group in sorted(groups.items(), key=lambda item: item[0] or 0)]
    while heads:
        first = min(heads, key=lambda group: _ORDER(group[0]))
        ordered.append(first.pop(0))
        heads = [group for group in heads if group]
    reasons = tuple(_reason(a, b) for a, b in pairwise(ordered))
    best = ordered[0]
    return Ranking(tuple(ordered), reasons, tuple(c for c in ordered if _equal_cost(best, c)))


def _equal_cost(best: Candidate, other: Candidate) -> bool:
    step = _first_difference(best, other)
    return step is None or step.ties
