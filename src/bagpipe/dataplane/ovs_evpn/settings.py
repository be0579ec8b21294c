"""What an operator says about the Open vSwitch dataplane of EVPN instances, checked once, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bagpipe.dataplane.model import Address, Capabilities, Direction, Encapsulation
from bagpipe.dataplane.openflow import fields as f
from bagpipe.errors import LocalMisuse

NEUTRON_BRIDGE = "br-tun"
"""The bridge that Neutron's agent keeps its tunnels on."""
CAPABILITIES = Capabilities("ovs", (Encapsulation.VXLAN,), multipath=True, directions=frozenset({Direction.BOTH}))


@dataclass(frozen=True, slots=True)
class OvsEvpnSettings:
    """``database`` is a socket of OVSDB (``unix:PATH`` or ``tcp:ADDRESS:PORT``), ``run_directory`` where
    ``BRIDGE.mgmt`` is. ``mode`` is how the bridge is shared: ``neutron`` beside the flows of Neutron's agent, ``own``
    with all of the bridge ours, ``auto`` the former if it is ``br-tun`` or has Neutron's port ``patch-int``.
    ``unknown_unicast`` and ``broadcast`` tell what becomes of frames to a MAC not known and of those to many; beside
    Neutron, what is not flooded to the nodes of an EVI is left to Neutron's own flows. ``suppress`` has ARP and ND
    answered here for addresses that are known. ``datapath_type`` is that of a bridge that is made here (None: that of
    the others). With ``known_sources_only`` frames are taken from nodes that have a record alone; beside Neutron there
    is a tunnel to just those that frames are sent to, and to those that Neutron knows, in any case.

    Raises LocalMisuse for what can never work.
    """

    local_address: Address
    bridge: str = NEUTRON_BRIDGE
    database: str = "unix:/var/run/openvswitch/db.sock"
    run_directory: str = "/var/run/openvswitch"
    mode: Literal["auto", "neutron", "own"] = "auto"
    unknown_unicast: Literal["flood", "drop"] = "flood"
    broadcast: Literal["flood", "drop"] = "flood"
    suppress: bool = True
    vxlan_port: int = 4789
    known_sources_only: bool = True
    datapath_type: str | None = None

    def __post_init__(self) -> None:
        if not self.bridge or len(self.bridge) > 15 or "/" in self.bridge:
            raise LocalMisuse("ovs_bridge", self.bridge, "expected the name of a bridge, at most 15 characters")
        if not 1 <= self.vxlan_port <= 65535:
            raise LocalMisuse("vxlan_port", self.vxlan_port, "expected 1 to 65535")
        for name, value, known in (
            ("ovs_mode", self.mode, ("auto", "neutron", "own")),
            ("unknown_unicast", self.unknown_unicast, ("flood", "drop")),
            ("broadcast", self.broadcast, ("flood", "drop")),
        ):
            if value not in known:
                raise LocalMisuse(name, value, f"expected {' or '.join(known)}")

    @property
    def capabilities(self) -> Capabilities:
        """What the driver can do."""
        return CAPABILITIES

    @property
    def tunnel_source(self) -> f.Field:
        """The field in which the sender of a tunnelled frame stands."""
        return f.TUN_SRC if self.local_address.version == 4 else f.TUN_IPV6_SRC

    @property
    def tunnel_destination(self) -> f.Field:
        """The field in which the receiver of a frame that is to be tunnelled stands."""
        return f.TUN_DST if self.local_address.version == 4 else f.TUN_IPV6_DST

    @property
    def target(self) -> str:
        """Where the bridge listens for OpenFlow."""
        return f"unix:{self.run_directory}/{self.bridge}.mgmt"
