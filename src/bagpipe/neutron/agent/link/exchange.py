"""What is sent to a daemon and what its answers mean: v2 for ours, v1 for that of networking-bagpipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from bagpipe.neutron.agent.link import body_v1, body_v2
from bagpipe.neutron.agent.link.attachment import Attachment
from bagpipe.neutron.agent.link.ledger import Batch, Body, Ledger, Standing, Told
from bagpipe.neutron.agent.link.transport import Answer, Transport, Unusable
from bagpipe.neutron.agent.link.wishes import Wishes

V2_TIMEOUT = 10.0
V1_TIMEOUT = 30.0
"""Seconds; the first attach after a start of networking-bagpipe's daemon takes it some."""
WAIT = 0.2
"""Seconds that our daemon waits for its dataplane before it answers; later it tells by an event."""
MOST = 250
"""Entries of one request, well below the octets that our daemon takes."""
OK, BAD_REQUEST, UNAVAILABLE = 200, 400, 503
DETACH_TRIES = 3
"""Answers of 500 to a detach after which an endpoint counts as not there: the reference says so for an unknown one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a daemon did with a batch: it took all (``refused`` None) or nothing, for a reason.

    ``faulty``: the entries that the reason is about; empty if the daemon does not say which.
    """

    told: Mapping[str, Told] = field(default_factory=dict)
    refused: str | None = None
    faulty: frozenset[str] = frozenset()


class Exchange(Protocol):
    """One interface of a daemon. ``send`` and ``read`` raise Unreachable when there is no usable answer."""

    most: int

    def ledger(self, wishes: Wishes) -> Ledger:
        """A new one, empty."""

    def encode(self, attachments: Sequence[Attachment]) -> tuple[Mapping[str, Body], Sequence[str]]:
        """The bodies of a port's attachments by name, and what they cannot say."""

    def send(self, transport: Transport, batch: Batch) -> Verdict:
        """Send a batch of at most ``most`` entries."""

    def read(self, transport: Transport) -> Mapping[str, Told]:
        """All that the daemon holds."""


class ExchangeV2:
    """``PATCH`` and ``GET /v2/owners/OWNER/attachments``."""

    most = MOST

    def __init__(self, owner: str) -> None:
        self._path = f"/v2/owners/{quote(owner, safe='')}/attachments"

    def ledger(self, wishes: Wishes) -> Ledger:
        """See Exchange."""
        return Ledger(wishes, body_v2.replaces)

    def encode(self, attachments: Sequence[Attachment]) -> tuple[Mapping[str, Body], Sequence[str]]:
        """See Exchange."""
        return body_v2.bodies(attachments), ()

    def send(self, transport: Transport, batch: Batch) -> Verdict:
        """See Exchange."""
        body = {"attachments": {**dict.fromkeys(batch.removals), **batch.puts}}
        answer = transport.ask("PATCH", f"{self._path}?wait={WAIT}", body, timeout=V2_TIMEOUT)
        if answer.status == OK:
            views = _views(answer)
            return Verdict({name: told_of(view) for name, view in views.items() if isinstance(view, dict)})
        if answer.status in (404, 405):
            raise Unusable(f"{self._path}: {answer.fault}")
        told = answer.field.removeprefix("attachments.")
        faulty = frozenset(name for name in batch.names if told == name or told.startswith(f"{name}."))
        return Verdict({}, answer.fault, faulty)

    def read(self, transport: Transport) -> Mapping[str, Told]:
        """See Exchange."""
        answer = transport.ask("GET", self._path, timeout=V2_TIMEOUT)
        if answer.status != OK:
            raise Unusable(f"{self._path}: {answer.fault}")
        return {name: told_of(view) for name, view in _views(answer).items() if isinstance(view, dict)}


def _views(answer: Answer) -> Mapping[str, Any]:
    views = answer.value.get("attachments") if isinstance(answer.value, dict) else None
    if not isinstance(views, dict):
        raise Unusable("an answer without attachments")
    return views


def told_of(view: Mapping[str, Any]) -> Told:
    """What our daemon tells of an attachment: in an answer with its body, in an event without."""
    try:
        standing = Standing(view.get("state"))
    except ValueError:
        standing = Standing.PENDING
    stated = view.get("stated")
    body = {name: value for name, value in stated.items() if name != "owner"} if isinstance(stated, dict) else None
    return Told(standing, str(view.get("reason") or ""), body)


class ExchangeV1:
    """``POST /attach_localport`` and ``/detach_localport``, one endpoint at a time.

    One after the other: networking-bagpipe's daemon answers parallel calls with faults.
    """

    most = 1

    def __init__(self, *, has_ipv6: bool) -> None:
        self._has_ipv6 = has_ipv6
        self._faults: dict[str, int] = {}

    def ledger(self, wishes: Wishes) -> Ledger:
        """See Exchange."""
        return Ledger(wishes, body_v1.replaces, body_v1.rank, can_be_read=False)

    def encode(self, attachments: Sequence[Attachment]) -> tuple[Mapping[str, Body], Sequence[str]]:
        """See Exchange."""
        encoded = body_v1.encode(attachments, has_ipv6=self._has_ipv6)
        return encoded.bodies, encoded.losses

    def send(self, transport: Transport, batch: Batch) -> Verdict:
        """See Exchange."""
        for name, attach in batch.removals.items():
            body = body_v1.detachment(attach)
            return self._detached(name, transport.ask("POST", "/detach_localport", body, timeout=V1_TIMEOUT))
        for name, attach in batch.puts.items():
            answer = transport.ask("POST", "/attach_localport", attach, timeout=V1_TIMEOUT)
            if answer.status == OK:
                return Verdict()
            if answer.status == UNAVAILABLE:  # our daemon: it is attached and tried again
                return Verdict({name: Told(Standing.PENDING, answer.fault)})
            return Verdict({}, answer.fault, frozenset((name,)))
        return Verdict()

    def _detached(self, name: str, answer: Answer) -> Verdict:
        tries = self._faults.pop(name, 0) + 1
        # 400: there is no such instance or endpoint. 503: our daemon, which removes it as soon as it can.
        if answer.status in (OK, BAD_REQUEST, UNAVAILABLE) or tries >= DETACH_TRIES:
            return Verdict()
        self._faults[name] = tries
        return Verdict({}, answer.fault, frozenset((name,)))

    def read(self, transport: Transport) -> Mapping[str, Told]:
        """See Exchange."""
        raise Unusable("a daemon of v1 does not tell what it holds")
