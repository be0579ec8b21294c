"""What the records of EVIs stand on: the ports of the bridge, tunnel ports made for them, and VNIs that are free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from bagpipe.dataplane.ovs.ground import Missing, Numbers, PortGround
from bagpipe.dataplane.ovs.label_ports import is_here
from bagpipe.dataplane.ovs.ports import ForeignTunnel
from bagpipe.dataplane.ovs_evpn.settings import OvsEvpnSettings


class Ports(Numbers, Protocol):
    """Who knows ports: :class:`bagpipe.dataplane.ovs.ports.BridgePorts`."""

    def error(self, name: str) -> str | None:
        """Why a port does not work; None if it works or is not there."""
        ...


class Elsewhere(Protocol):
    """Who knows other bridges: :class:`bagpipe.dataplane.ovs.ports.BridgePorts`."""

    def tunnels_elsewhere(self) -> list[ForeignTunnel]:
        """Their tunnel ports."""
        ...

    def vnis_elsewhere(self) -> frozenset[int]:
        """The VNIs of their networks."""
        ...


class TunnelGround(PortGround):
    """The ports of a bridge, tunnel ports among them. ``is_own`` says that the bridge is not Neutron's."""

    def __init__(self, settings: OvsEvpnSettings, ports: Ports) -> None:
        super().__init__(settings.bridge, ports)
        self.is_own = False
        self._settings = settings
        self._ports = ports
        self._taken: dict[int, str] = {}
        self._networks: frozenset[int] = frozenset()

    def tunnel(self, name: str) -> int:
        """The OpenFlow port of a tunnel. Raises Missing."""
        self.asked.add(name)
        number = self._ports.number(name)
        if number is None:
            why = self._ports.error(name) or "it is not there"
            raise Missing(f"tunnel port {name} of bridge {self._bridge}: {why}")
        return number

    def check_vni(self, vni: int) -> None:
        """Raises Missing if frames with this VNI go to others on this host, or would be taken from them."""
        if vni in self._taken:
            raise Missing(f"VNI {vni} is taken away by {self._taken[vni]}")
        if self.is_own and vni in self._networks:
            raise Missing(f"VNI {vni} is that of a network of Neutron on this host, whose frames it would take")

    @property
    def warnings(self) -> list[str]:
        """What keeps VNIs from being used, for people."""
        return [f"VNI {vni} is taken away by {by}" for vni, by in sorted(self._taken.items())]

    def look(self, others: Elsewhere) -> set[int]:
        """Look at what other bridges have now. Gives the VNIs for which that matters."""
        before = {**self._taken, **dict.fromkeys(self._networks)}
        self._taken = dict(self._keyed(others.tunnels_elsewhere()))
        self._networks = others.vnis_elsewhere()
        return before.keys() ^ {**self._taken, **dict.fromkeys(self._networks)}.keys()

    def _keyed(self, tunnels: Iterable[ForeignTunnel]) -> Iterable[tuple[int, str]]:
        """The keys of tunnels that take just one, and so come before all others."""
        for tunnel in tunnels:
            key = tunnel.options.get("in_key", tunnel.options.get("key", ""))
            if tunnel.kind == "vxlan" and key.isdecimal() and self._is_rival(tunnel):
                yield int(key), f"{tunnel.name} of {tunnel.bridge}"

    def _is_rival(self, tunnel: ForeignTunnel) -> bool:
        return is_here(tunnel.options, self._settings.local_address, self._settings.vxlan_port)
