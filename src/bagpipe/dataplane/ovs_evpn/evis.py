"""The EVIs of this node, as far as several records make one flow: bridge, plugs and flooding. No I/O."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from typing import Self

from bagpipe.dataplane.model import Bridge, BridgeKey, FloodKey, Key, Plug, PlugKey, Remote, Value


@dataclass(slots=True)
class Evi:
    """What is known of an EVI. ``vlan`` is that of its network on this node, beside Neutron."""

    instance: int
    bridge: Bridge | None = None
    plugs: dict[PlugKey, Plug] = field(default_factory=dict)
    floods: dict[FloodKey, Remote] = field(default_factory=dict)
    vlan: int | None = None

    def copy(self) -> Self:
        """One that can be changed."""
        return type(self)(self.instance, self.bridge, dict(self.plugs), dict(self.floods), self.vlan)

    @property
    def is_empty(self) -> bool:
        """Whether there is no record of it."""
        return self.bridge is None and not self.plugs and not self.floods

    @property
    def vni(self) -> int | None:
        """What others put on frames for it."""
        return None if self.bridge is None else self.bridge.vni

    @property
    def keys(self) -> tuple[Key, ...]:
        """The records of bridge and plugs, which flows of the EVI as a whole are made of."""
        return *(() if self.bridge is None else (BridgeKey(self.instance),)), *self.plugs

    def flood_order(self) -> list[tuple[FloodKey, Remote]]:
        """The nodes that frames are flooded to: those that want the same VNI come together."""
        return sorted(self.floods.items(), key=lambda item: (item[1].label, item[0]))

    def take(self, key: Key, value: Value | None) -> None:
        """A record has this value now, or is gone."""
        if isinstance(key, BridgeKey):
            self.bridge = value if isinstance(value, Bridge) else None
        elif isinstance(key, PlugKey):
            self.plugs.pop(key, None)
            if isinstance(value, Plug):
                self.plugs[key] = value
        elif isinstance(key, FloodKey):
            self.floods.pop(key, None)
            if isinstance(value, tuple) and isinstance(value[0], Remote):
                self.floods[key] = value[0]

    def choose_vlan(self, taken: Set[int]) -> None:
        """The VLAN is that of the plugs; where they disagree, the one that it was, else the lowest of them. Those that
        other EVIs have are ``taken``.
        """
        found = {key.port.vlan for key in self.plugs if key.port.vlan is not None} - taken
        if self.vlan not in found:
            self.vlan = min(found, default=None)
