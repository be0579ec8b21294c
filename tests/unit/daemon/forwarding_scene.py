"""VPN instances on a real speaker, with a dataplane in memory that fails when told to; on a loop of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

from bagpipe.daemon.attach_v1 import read_attach
from bagpipe.daemon.forwarding import Carrier, Forwarding
from bagpipe.daemon.journal import Journal
from bagpipe.daemon.statements import Statement, statement_v1, statement_v2
from bagpipe.dataplane.memory import MemoryDataplane
from bagpipe.speaker import Speaker, SpeakerSettings
from bagpipe.vpn.settings import VpnSettings
from tests.unit.vpn.any_node import neighbour, tell

T = TypeVar("T")
OWN = IPv4Address("192.0.2.11")


def body_v1(number: int = 2, instance: str = "net1", port: str = "", **more: Any) -> dict[str, Any]:
    """A v1 body of the endpoint 10.0.0.``number``."""
    return {
        "vpn_instance_id": instance,
        "vpn_type": "ipvpn",
        "import_rt": ["64512:1"],
        "export_rt": ["64512:1"],
        "mac_address": f"fa:16:3e:00:00:{number:02x}",
        "ip_address": f"10.0.0.{number}",
        "gateway_ip": "10.0.0.1",
        "local_port": {"linuxif": port or f"tap{number}-{instance}"},
        **more,
    }


def body_v2(number: int = 2, instance: str = "net1", port: str = "", **more: Any) -> dict[str, Any]:
    """A v2 body of the endpoint 10.0.0.``number``."""
    return {
        "instance": {"id": instance, "import_rts": ["64512:1"], "export_rts": ["64512:1"]},
        "port": {"name": port or f"tap{number}-{instance}"},
        "mac": f"fa:16:3e:00:00:{number:02x}",
        "addresses": [f"10.0.0.{number}"],
        **more,
    }


def first(number: int = 2, instance: str = "net1", port: str = "", **more: Any) -> Statement:
    """The statement of a v1 body."""
    body = body_v1(number, instance, port, **more)
    return statement_v1(read_attach(body), body)


def second(name: str, number: int = 2, instance: str = "net1", port: str = "", **more: Any) -> Statement:
    """The statement of a v2 body."""
    return statement_v2(name, body_v2(number, instance, port, **more))


class Scene:
    """A node that runs."""

    def __init__(self, state: Path | None, driver: MemoryDataplane | None, reattach_timeout: float) -> None:
        self.driver = driver or MemoryDataplane()
        self.speaker = Speaker(SpeakerSettings(64512, OWN), jitter=lambda: 1.0)
        self.evpn_driver = MemoryDataplane()
        ipvpn, evpn = (
            Carrier(each, VpnSettings(64512, OWN, OWN, each.capabilities)) for each in (self.driver, self.evpn_driver)
        )
        journal = None if state is None else Journal.open(state)
        self.forwarding = Forwarding(self.speaker, ipvpn, evpn, journal, reattach_timeout=reattach_timeout)
        self.attachments = self.forwarding.attachments
        self.told: list[tuple[str, dict[str, object]]] = []
        self.forwarding.happenings.watchers.add(lambda kind, value: self.told.append((kind, value)))

    async def put(self, *statements: Statement) -> dict[str, str]:
        """State them and wait; what is not in effect, with the reason."""
        left = await self.forwarding.settle(self.attachments.change(statements), 2)
        return {str(key): reason for key, reason in left.items()}

    async def remove(self, *names: str) -> None:
        """Remove them and wait."""
        await self.forwarding.settle(self.attachments.change((), names), 2)

    def learn(self, *bodies: bytes) -> None:
        """A neighbour sends UPDATE bodies."""
        tell(self.speaker, neighbour(self.speaker), bodies)

    def announced(self) -> set[str]:
        """The VPN routes of this node."""
        return {row.nlri for row in self.speaker.routes() if row.family.startswith("vpn") and row.peer == "local"}

    def outline(self) -> tuple[object, ...]:
        """All that a change could have touched."""
        instances = self.forwarding.vpns.ipvpn.instances
        return (
            sorted(self.attachments.stated),
            sorted(map(str, self.attachments.reserved.values())),
            sorted((str(key), str(value)) for key, value in self.forwarding.ipvpn.tracker.desired.items()),
            sorted(
                (name, vrf.number, sorted(map(str, vrf.import_rts | vrf.export_rts))) for name, vrf in instances.items()
            ),
            sorted(self.announced()),
            sorted(map(str, self.speaker.routes())),
        )


def play(
    story: Callable[[Scene], Awaitable[T]],
    *,
    state: Path | None = None,
    driver: MemoryDataplane | None = None,
    reattach_timeout: float = 120.0,
) -> T:
    """Run a story on a node that has started, and stop it."""

    async def run() -> T:
        scene = Scene(state, driver, reattach_timeout)
        scene.forwarding.replay()
        await scene.forwarding.start()
        try:
            return await story(scene)
        finally:
            await scene.forwarding.close()

    return asyncio.run(run())


async def until(look: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until ``look`` gives something true."""
    end = asyncio.get_running_loop().time() + seconds
    while not look():
        assert asyncio.get_running_loop().time() < end, "it did not come to pass"
        await asyncio.sleep(0.01)
