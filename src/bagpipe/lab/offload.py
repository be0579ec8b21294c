"""Checksums of the lab's interfaces."""

from __future__ import annotations

from bagpipe.lab.hosts import Host, LabFault
from bagpipe.lab.programs import succeeds


def checksums_in_software(host: Host, interface: str) -> None:
    """Without this the userspace datapath passes packets on whose checksums nobody has computed. Raises LabFault."""
    if not succeeds(host, ["ethtool", "-K", interface, "tx", "off"]):
        raise LabFault(f"{host.name}: ethtool cannot turn off checksum offload of {interface}")
