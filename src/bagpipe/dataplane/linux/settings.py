"""What an operator says about the Linux dataplane of EVPN instances, checked once.

The names are those of ``[DATAPLANE_DRIVER_EVPN]`` in ``bgp.conf``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bagpipe.dataplane.model import Address
from bagpipe.errors import LocalMisuse

Flooding = Literal["flood", "drop"]


@dataclass(frozen=True, slots=True)
class LinuxSettings:
    """``local_address`` is that of this node in tunnels. ``unknown_unicast`` and ``broadcast`` (which is multicast as
    well) say what becomes of frames to a MAC that no record names, and of those to many: sent to every node of the
    instance, or to none. With ``suppress`` ARP and ND for the neighbours of other nodes are answered here.
    ``underlay_mtu`` (octets of an IP packet between nodes) is by default that of the interface that has
    ``local_address``, or 1500 if that is the loopback interface or none has it.

    Raises LocalMisuse for what can never work.
    """

    local_address: Address
    vxlan_port: int = 4789
    unknown_unicast: Flooding = "flood"
    broadcast: Flooding = "flood"
    suppress: bool = True
    underlay_mtu: int | None = None

    def __post_init__(self) -> None:
        if self.local_address.is_unspecified or self.local_address.is_multicast:
            raise LocalMisuse("dataplane_local_address", str(self.local_address), "expected the address of one node")
        if not 1 <= self.vxlan_port <= 65535:
            raise LocalMisuse("vxlan_dst_port", self.vxlan_port, "expected 1 to 65535")
        for name in ("unknown_unicast", "broadcast"):
            if getattr(self, name) not in ("flood", "drop"):
                raise LocalMisuse(name, getattr(self, name), "expected flood or drop")
        if self.underlay_mtu is not None and not 1280 <= self.underlay_mtu <= 65535:
            raise LocalMisuse("underlay_mtu", self.underlay_mtu, "expected 1280 to 65535")

    @property
    def overhead(self) -> int:
        """Octets that VXLAN takes from an IP packet between nodes (RFC 7348 section 5)."""
        return 50 if self.local_address.version == 4 else 70

    @property
    def floods(self) -> bool:
        """Whether any frame goes to every node of an instance."""
        return "flood" in (self.unknown_unicast, self.broadcast)
