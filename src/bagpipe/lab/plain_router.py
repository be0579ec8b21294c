"""A router of Neutron's, without an L3 agent: a namespace on a compute host, with its ports plugged in as that does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bagpipe.lab.cloud_host import CloudHost, Vm
from bagpipe.lab.hosts import Host
from bagpipe.lab.neutron_api import Resource
from bagpipe.lab.tenant import Network, Tenant


class PlainRouter:
    """A router on ``place``. It has the gateway's address in each network that it is connected to."""

    def __init__(self, tenant: Tenant, router: Resource, place: CloudHost) -> None:
        self._tenant = tenant
        self._router = router
        self._place = place
        self._ports: dict[str, Vm] = {}
        self._number = 0
        self.host = Host(f"router-{router['name']}")

    def connect(self, network: Network) -> None:
        """Add an interface, and wait until its port is active. Raises LabFault."""
        self._tenant.add_interface(self._router, network)
        api = self._tenant.api
        port = api.get(f"ports?device_id={self._router['id']}&network_id={network.id}")[0]
        api.put(f"ports/{port['id']}", {"binding:host_id": self._place.name}, "port")
        self._number += 1
        made = self._tenant.machine(self.host.name, network, port)
        vm = Vm(self.host, made.port_id, made.mac, made.addresses, (), f"eth{self._number}")
        self._ports[network.id] = vm
        self._place.plug(vm)
        self._tenant.wait_active([vm])

    def disconnect(self, network: Network) -> None:
        """Remove the interface. Raises LabFault."""
        self._tenant.remove_interface(self._router, network)
        self._place.unplug(self._ports.pop(network.id))

    def end(self) -> None:
        """Unplug all of it; the interfaces stay with Neutron. Raises LabFault."""
        for vm in self._ports.values():
            self._place.unplug(vm)
        self.host.end()


@contextmanager
def plain_router(
    tenant: Tenant, router: Resource, networks: Sequence[Network], place: CloudHost
) -> Iterator[PlainRouter]:
    """A router between networks, plugged in at a host until the block ends. Raises LabFault."""
    made = PlainRouter(tenant, router, place)
    made.host.create()
    try:
        made.host.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"])
        for network in networks:
            made.connect(network)
        yield made
    finally:
        made.end()
