"""VXLAN beside that of others: a port for each label, while tunnels of another bridge would take our packets away.

Neutron's tunnel ports of ``br-tun`` name the remote node. Open vSwitch (``tnl_find`` of its ofproto/tunnel.c) hands a
packet to the port that matches it best: one with a fixed key before one that takes any key, and only then one with a
fixed sender before one that takes any. With the same local address and UDP port, our one port, which takes any key of
any sender, comes last. So while there is such a tunnel, each label gets a port with just that key (``in_key``), which
comes first. All of them share one port of the datapath, and they only receive: packets leave by the one port.

A key that is the VNI of a network of Neutron on this host would be taken away from Neutron. Labels and VNIs therefore
have to be apart (``vxlan_label_range``, ml2's ``vni_ranges``); a label that is such a VNI gets no port, and its record
is refused. VNIs are known from what Neutron's agent notes at the ports it has wired.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.errors import DataplaneError
from bagpipe.dataplane.model import Address, DeliveryKey, Key
from bagpipe.dataplane.ovs.ports import BridgePorts, ForeignTunnel
from bagpipe.dataplane.ovs.settings import OvsSettings

_log = logging.getLogger(__name__)
_DEFAULT_UDP_PORT = "4789"
_PREFIX = "vxlan-"
_NAMED = 3
"""Tunnels of others that are named in a log line."""


def port_name(label: int) -> str:
    """The port of a label."""
    return f"{_PREFIX}{label}"


def label_of(name: str) -> int | None:
    """The label whose port has this name; None if it is no such name."""
    number = name.removeprefix(_PREFIX)
    return int(number) if name.startswith(_PREFIX) and number.isdecimal() else None


def rivals(settings: OvsSettings, tunnels: Iterable[ForeignTunnel]) -> list[ForeignTunnel]:
    """The tunnels of other bridges that would take VXLAN packets away from a port that takes any key of any sender."""
    if not settings.vxlan_encap:
        return []
    return [tunnel for tunnel in tunnels if tunnel.kind == "vxlan" and _is_rival(settings, tunnel.options)]


def _is_rival(settings: OvsSettings, options: Mapping[str, str]) -> bool:
    is_named = options.get("remote_ip", "flow") != "flow"
    return is_named and is_here(options, settings.local_address, settings.vxlan_port)


def is_here(options: Mapping[str, str], local: Address, udp_port: int) -> bool:
    """Whether a VXLAN tunnel with these options takes packets to this address and UDP port."""
    own = options.get("local_ip", "flow")
    same_port = options.get("dst_port", _DEFAULT_UDP_PORT) == str(udp_port)
    return same_port and (own == "flow" or _same_address(own, local))


def _same_address(text: str, local: Address) -> bool:
    try:
        return ip_address(text) == local
    except ValueError:
        return False


class LabelPorts:
    """Which labels need a port of their own, and those ports. ``labels`` are those of all deliveries asked for."""

    def __init__(self, settings: OvsSettings, ports: BridgePorts) -> None:
        self.labels: set[int] = set()
        self.rivals: list[ForeignTunnel] = []
        self._vnis: frozenset[int] = frozenset()
        self._settings = settings
        self._ports = ports
        self._made: set[int] = set()

    @property
    def are_needed(self) -> bool:
        """Whether tunnels of others would take our packets."""
        return bool(self.rivals)

    def look(self) -> set[int]:
        """Look at what other bridges have now. Gives the labels whose deliveries have to be programmed again."""
        needed, vnis = self.are_needed, self._vnis
        self.rivals = rivals(self._settings, self._ports.tunnels_elsewhere())
        self._vnis = self._ports.vnis_elsewhere() if self.are_needed else frozenset()
        if needed == self.are_needed:
            return self.labels & (vnis ^ self._vnis)
        if self.are_needed:
            names = ", ".join(f"{one.name} of {one.bridge}" for one in self.rivals[:_NAMED])
            _log.info(
                "VXLAN packets of UDP port %d are also taken by %s: each label gets a port of its own",
                self._settings.vxlan_port,
                names,
            )
        else:
            _log.info("nobody else takes VXLAN packets of UDP port %d now", self._settings.vxlan_port)
        return set(self.labels)

    def conflict(self, label: int) -> str | None:
        """Why a label cannot be carried by VXLAN beside the tunnels of others; None if it can."""
        if label not in self._vnis:
            return None
        return (
            f"label {label} is the VNI of a network on this host, whose packets it would take: vxlan_label_range and"
            " the VNIs of Neutron (vni_ranges) must not overlap"
        )

    def port_of(self, label: int) -> str | None:
        """The name of the port that a label should have now; None if it should have none."""
        return port_name(label) if self.are_needed and self.conflict(label) is None else None

    def broken(self, labels: Iterable[int]) -> list[int]:
        """Those of ``labels`` whose port was made and is gone, so that their deliveries have to be programmed again."""
        return [label for label in labels if label in self._made and self._ports.number(port_name(label)) is None]

    @property
    def warnings(self) -> list[str]:
        """What keeps labels from working, for people."""
        return [text for label in sorted(self.labels & self._vnis) if (text := self.conflict(label)) is not None]

    # ------------------------------------------------------------------ making and removing them

    def adopt(self, changes: Iterable[Change]) -> None:
        """``changes`` are all deliveries that there are."""
        self.labels = {change.key.label for change in changes if isinstance(change.key, DeliveryKey)}
        self._made.clear()

    async def withdraw(self, changes: Iterable[Change]) -> None:
        """Take in which deliveries there are after ``changes``, and remove the ports that are not needed then.

        It is done before the flows go: a packet that finds its port and no flow would meet the flows of others.
        """
        unneeded = []
        for change in changes:
            if isinstance(change.key, DeliveryKey):
                label = change.key.label
                (self.labels.discard if change.new is None else self.labels.add)(label)
                if label in self._made and (change.new is None or self.port_of(label) is None):
                    unneeded.append(label)
        await self._remove(unneeded)

    async def sweep(self) -> None:
        """Remove all ports of labels that should have none, those of an earlier process too."""
        found = [label_of(name) for name in self._ports.names() if self._ports.is_ours(name)]
        labels = [label for label in found if label is not None]
        await self._remove([label for label in labels if label not in self.labels or self.port_of(label) is None])

    async def provide(self, changes: Iterable[Change], refused: Mapping[Key, str]) -> dict[Key, str]:
        """Make the ports that ``changes`` need, all at once. Gives the records whose port does not work, with why."""
        if not self.are_needed:
            return {}
        missing = [
            change.key.label
            for change in changes
            if isinstance(change.key, DeliveryKey)
            and change.new is not None
            and change.key not in refused
            and self.port_of(change.key.label) is not None
            and not (change.key.label in self._made and self._ports.number(port_name(change.key.label)) is not None)
        ]
        if not missing:
            return {}
        try:
            wanted = {port_name(label): self._settings.label_options(label) for label in missing}
            faults = await self._ports.ensure_tunnels("vxlan", wanted)
        except DataplaneError as cause:
            return {DeliveryKey(label): str(cause) for label in missing}
        self._made.update(missing)
        return {DeliveryKey(label): faults[name] for label in missing if (name := port_name(label)) in faults}

    async def _remove(self, labels: list[int]) -> None:
        if not labels:
            return
        try:
            await self._ports.delete_ports(map(port_name, labels))
        except DataplaneError as cause:
            _log.warning("%d ports of labels stay: %s", len(labels), cause)
        else:
            self._made.difference_update(labels)
