"""Finding out what answers at the daemon's place: which interface it has, and which process it is."""

from __future__ import annotations

import http.client
from dataclasses import dataclass

from bagpipe.neutron.agent.link.exchange import Exchange, ExchangeV1, ExchangeV2
from bagpipe.neutron.agent.link.settings import Interface, LinkSettings
from bagpipe.neutron.agent.link.transport import Transport, Unreachable

TIMEOUT = 5.0
"""Seconds for an answer to a question that costs the daemon nothing."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """``process``: the number of ``/ping``. ``is_ours``: whether the daemon is one that has v2, used or not."""

    interface: Interface
    process: int
    is_ours: bool

    @property
    def kind(self) -> tuple[Interface, bool]:
        """What has to be the same for the daemon to be spoken to in the same way."""
        return self.interface, self.is_ours

    def exchange(self, settings: LinkSettings) -> Exchange:
        """How to speak to it."""
        if self.interface is Interface.V2:
            return ExchangeV2(settings.owner)
        return ExchangeV1(has_ipv6=self.is_ours)


def meet(transport: Transport, settings: LinkSettings) -> Meeting:
    """Ask. Raises Unreachable if nobody answers, or somebody else."""
    health = transport.ask("GET", "/v2/health", timeout=TIMEOUT)
    is_ours = health.status == http.client.OK and isinstance(health.value, dict) and "status" in health.value
    if not is_ours and health.status != http.client.NOT_FOUND:
        raise Unreachable(f"whoever answers is no bagpipe-bgp (/v2/health: {health.status} {health.reason})")
    if settings.interface is Interface.V2 and not is_ours:
        raise Unreachable("the daemon has no v2")
    process = ping(transport)
    if settings.interface is Interface.AUTO:
        return Meeting(Interface.V2 if is_ours else Interface.V1, process, is_ours)
    return Meeting(settings.interface, process, is_ours)


def ping(transport: Transport) -> int:
    """The number of the daemon's process. Raises Unreachable."""
    answer = transport.ask("GET", "/ping", timeout=TIMEOUT)
    if answer.status != http.client.OK or isinstance(answer.value, bool) or not isinstance(answer.value, int):
        raise Unreachable(f"/ping: {answer.fault if answer.status != http.client.OK else 'no number'}")
    return answer.value
