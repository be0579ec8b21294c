"""A compute node whose machines and tunnels are on an Open vSwitch of its own, with the userspace datapath."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tests.system.openvswitch import OpenVSwitch

from .machine import Machine
from .network import Host, batch
from .node import Node
from .waiting import wait_until

UNDERLAY, BRIDGE = "br-under", "br-evpn"


class OvsNode(Node):
    """The underlay's interface and addresses are on one bridge, as native tunnels of that datapath want it; the daemon
    makes another. All hosts of its network have to make checksums in software.
    """

    def __init__(self, host: Host, directory: Path) -> None:
        """Nothing is started."""
        super().__init__(host, directory)
        self.ovs = OpenVSwitch(directory / "ovs", host.namespace)
        self.sections["DATAPLANE_DRIVER_EVPN"] = {
            "dataplane_driver": "ovs",
            "ovs_bridge": BRIDGE,
            "ovsdb_connection": f"unix:{self.ovs.directory}/db.sock",
            "ovs_run_directory": str(self.ovs.directory),
        }

    def start(self) -> Self:
        """Start Open vSwitch, then the daemon."""
        self.ovs.directory.mkdir()
        self.ovs.__enter__()
        self.ovs.add_bridge(UNDERLAY)
        self.ovs.vsctl("add-port", UNDERLAY, "eth0")
        batch(
            self.host.namespace,
            [
                "address flush dev eth0",
                f"address add {self.host.address}/24 dev {UNDERLAY}",
                f"address add {self.host.address6}/64 dev {UNDERLAY} nodad",
                f"link set {UNDERLAY} addrgenmode none up",
            ],
        )
        self.host.sum_in_software(UNDERLAY)
        forwards = f"{UNDERLAY} forwards"
        wait_until(lambda: self.ovs.ofctl("add-flow", UNDERLAY, "actions=NORMAL"), lambda said: said == "", forwards)
        return super().start()

    def stop(self) -> None:
        """End the daemon, then Open vSwitch."""
        super().stop()
        self.ovs.__exit__(None, None, None)

    def port(self, machine: Machine) -> dict[str, object]:
        """The daemon puts it on the bridge."""
        return {"name": machine.port, "plugged": False}

    def house(self, machine: Machine) -> None:
        """Plug a machine in, and run it here."""
        super().house(machine)
        batch(self.host.namespace, [f"link set {machine.port} up"])
