"""What the agent wants a daemon to hold: one attachment for each Neutron port, VPN instance and MAC.

Plain values, independent of the daemon's interface; :mod:`bagpipe.neutron.agent.link.body_v2` and ``body_v1`` turn them
into what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fallback:
    """Where packets leave that no route of the instance covers: rewritten to these MACs, out of an OpenFlow port."""

    source_mac: str
    destination_mac: str
    port_number: int
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class Readvertise:
    """Routes with a target of ``from_rts`` are announced again with ``to_rts``, through this node."""

    from_rts: frozenset[str]
    to_rts: frozenset[str]


@dataclass(frozen=True, slots=True)
class LocalPort:
    """Where the port is reached.

    ``linuxif`` is the key that all ports behind the same place share, ``patch2tun:<vlan>`` on Open vSwitch. ``number``
    is the OpenFlow port of the daemon's bridge (None: the daemon finds it by the name), ``vlan`` the local VLAN there.
    ``source_mac``: only frames from this MAC belong to the instance, so that several instances share one place.
    ``linuxbr``: the Linux bridge of an EVPN instance.
    """

    linuxif: str
    number: int | None = None
    vlan: int | None = None
    source_mac: str | None = None
    linuxbr: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """One MAC of one Neutron port in one VPN instance, with all its addresses there.

    ``instance_id`` is ``ipvpn_<network>`` and the like. ``addresses`` are "10.0.0.2/32", "2001:db8::2/128", or a prefix
    "40.0.0.0/24" together with ``advertise_subnet``. ``gateways``: addresses of the subnets' gateways, IPv4 first.
    ``direction``: "both", "to-port" or "from-port". ``local_pref`` None: what the daemon takes by default.
    Route targets, fallback, readvertise and the instance's description hold for the whole instance; of an EVPN instance
    ``own_export_rts`` (None: those of the instance) are what this MAC is announced with.

    ``shared_instance_id``: for an instance of one port alone (``local_port.source_mac``), what a daemon has in its
    place that cannot tell the ports of a VLAN apart, ``ipvpn_<network>``. None: what ``instance_id`` begins with, up
    to and with its first UUID.
    ``route_distinguisher`` ("64512:7"): that of the instance; None: the daemon chooses one.
    """

    port_id: str
    instance_id: str
    type: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    import_rts: frozenset[str]
    export_rts: frozenset[str]
    local_port: LocalPort
    advertise_subnet: bool = False
    direction: str = "both"
    local_pref: int | None = None
    fallback: Fallback | None = None
    readvertise: Readvertise | None = None
    vni: int | None = None
    description: Mapping[str, str] = field(default_factory=dict, hash=False)
    instance_description: str = ""
    shared_instance_id: str | None = None
    route_distinguisher: str | None = None
    own_export_rts: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """The name under which a daemon holds it: port, instance and MAC."""
        return f"{self.port_id}/{self.instance_id}/{self.mac.lower()}"
