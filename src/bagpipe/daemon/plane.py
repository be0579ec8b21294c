"""A forwarding plane: what the VPN instances of one type ask for, the driver that programs it, what is in effect."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from bagpipe.dataplane.delta import Tracker
from bagpipe.dataplane.driver import Dataplane
from bagpipe.dataplane.model import Key
from bagpipe.dataplane.programmer import Programmer, Settled
from bagpipe.vpn.attachment import InstanceType

CLOSE_AFTER = 1.0
"""Seconds that a dataplane has to close."""


class _Instances(Protocol):
    tracker: Tracker

    def dataplane_settled(self, confirmed: Iterable[Key], refused: Mapping[Key, str]) -> None: ...

    def dataplane_lost(self) -> None: ...


class Plane:
    """The plane of the instances of ``type``. ``settled`` is told of what came into effect or was refused, after the
    instances know.
    """

    def __init__(self, type_: InstanceType, instances: _Instances, driver: Dataplane, settled: Settled) -> None:
        self.type = type_
        self.driver = driver
        self.tracker = instances.tracker
        self._instances = instances
        self._told = settled
        self.programmer = Programmer(self.tracker, driver, self._settled, instances.dataplane_lost)

    def _settled(self, confirmed: Sequence[Key], refused: Mapping[Key, str]) -> None:
        self._instances.dataplane_settled(confirmed, refused)
        self._told(confirmed, refused)
        if self.tracker.has_changes:
            self.programmer.wake()

    @property
    def name(self) -> str:
        """``ipvpn`` or ``evpn``."""
        return self.type.value

    @property
    def is_well(self) -> bool:
        """Whether it can be programmed and nothing is refused."""
        return self.programmer.connected and not self.tracker.refused

    @property
    def waiting_for(self) -> str:
        """Why a record that is pending is not in effect."""
        return "not confirmed yet" if self.programmer.connected else f"no dataplane: {self.programmer.why}"

    async def close(self) -> None:
        """Let go of the dataplane: what is programmed stays."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.programmer.close(), CLOSE_AFTER)
