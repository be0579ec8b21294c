"""FRR as a VXLAN edge: zebra and bgpd with a bridge and a VXLAN device for each VNI, and machines behind them.

Each bridge has addresses, as the gateway of a subnet: zebra has what it announces of the machines' addresses from the
kernel's neighbours there.
"""

from __future__ import annotations

import json
from typing import Any

from .frr import Frr
from .machine import Machine, addresses_in
from .network import batch
from .waiting import wait_until

GATEWAY = 254
"""The number of the gateway in each subnet."""


class Vtep(Frr):
    """Networks can be added while it runs; zebra hears of them from the kernel."""

    with_zebra = True

    def add_network(self, vni: int, subnet: int) -> None:
        """Make bridge and VXLAN device of a VNI, as FRR's documentation has it."""
        gateway, gateway6 = addresses_in(subnet, GATEWAY)
        batch(
            self.host.namespace,
            [
                # An address of its own: with that of a port the kernel forgets all neighbours when the port changes.
                f"link add br{vni} address 02:00:00:00:{subnet:02x}:{GATEWAY:02x} type bridge mcast_snooping 0",
                f"link set br{vni} addrgenmode none mtu 1450 up",
                f"link add vx{vni} type vxlan id {vni} dstport 4789 local {self.address} nolearning",
                f"link set vx{vni} master br{vni} addrgenmode none",
                f"link set vx{vni} mtu 1450 type bridge_slave learning off neigh_suppress on",
                f"link set vx{vni} up",
                f"address add {gateway}/24 dev br{vni}",
                f"address add {gateway6}/64 dev br{vni} nodad",
                # Without one the kernel cannot ask whether a neighbour is still there, and drops it.
                f"address add fe80::{GATEWAY:x}/64 dev br{vni} nodad",
            ],
        )

    def add_station(self, vni: int, mac: str) -> None:
        """Have a MAC behind a port of a network, and no machine."""
        port, other = f"port{vni}", f"station{vni}"
        batch(
            self.host.namespace,
            [
                f"link add {port} type veth peer name {other}",
                f"link set {port} master br{vni} addrgenmode none up",
                f"link set {other} addrgenmode none up",
            ],
        )
        self.host.run("bridge", "fdb", "replace", mac, "dev", port, "master", "static")

    def plug(self, machine: Machine, vni: int) -> None:
        """Plug a machine into the network of a VNI."""
        machine.plug(self.host)
        batch(self.host.namespace, [f"link set {machine.port} master br{vni}"])

    def house(self, machine: Machine, vni: int, subnet: int) -> None:
        """Plug a machine in, and run it here, until zebra has both of its addresses."""
        self.plug(machine, vni)
        machine.live(self.host)
        machine.reaches(*addresses_in(subnet, GATEWAY))
        addresses = {machine.address, machine.address6}

        def heard() -> set[str]:
            active = self.addresses(vni, machine.mac)
            if active != addresses:
                # zebra drops what it hears of an address too early: have the kernel tell it once more.
                self.host.run("ip", "neigh", "flush", "dev", f"br{vni}")
                for gateway in addresses_in(subnet, GATEWAY):
                    machine.ping(gateway, wait=0.3)
            return active

        wait_until(heard, lambda active: active == addresses, f"zebra has {machine.name} with {addresses}", pause=0.5)

    def mac(self, vni: int, mac: str) -> dict[str, Any]:
        """What zebra says of a MAC; empty if it does not know it."""
        told: dict[str, Any] = json.loads(self.vty(f"show evpn mac vni {vni} mac {mac} json", daemon="zebra") or "{}")
        found: dict[str, Any] = told.get(mac, {})
        return found

    def addresses(self, vni: int, mac: str) -> set[str]:
        """The addresses that zebra has for a MAC."""
        neighbours = self.mac(vni, mac).get("neighbors")
        return set(neighbours["active"]) if isinstance(neighbours, dict) else set()
