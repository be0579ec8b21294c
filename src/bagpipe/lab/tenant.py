"""A tenant of the lab's cloud: what is made by Neutron's API, and the virtual machines that belong to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_network
from types import TracebackType
from typing import Any, Self

from bagpipe.lab.cloud import Cloud
from bagpipe.lab.cloud_host import CloudHost, Vm
from bagpipe.lab.hosts import Host, LabFault
from bagpipe.lab.neutron_api import ApiFault, Resource
from bagpipe.lab.telling import wait_for

DEVICE_OWNER = "compute:nova"


@dataclass(frozen=True, slots=True)
class Network:
    """A Neutron network; ``subnets`` are pairs of identifier and prefix, ``gateways`` their gateways."""

    id: str
    name: str
    subnets: tuple[tuple[str, str], ...]
    gateways: tuple[str, ...]


class Tenant:
    """One project. As a context manager it removes in the end all that was made through it."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.cloud = cloud
        self.api = cloud.api
        self.name = name
        self._group: str | None = None
        self._undo: list[Callable[[], None]] = []
        self._vms: dict[str, CloudHost] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.remove()

    def remove(self) -> None:
        """Remove everything, last made first. Raises LabFault after having tried all of it."""
        troubles = []
        while self._undo:
            try:
                self._undo.pop()()
            except LabFault as fault:
                troubles.append(str(fault))
        if troubles:
            raise LabFault(f"{self.name} could not be removed: {'; '.join(troubles)}")

    def create(self, path: str, **values: object) -> Resource:
        """Create a resource of the tenant, to be deleted in the end. Raises ApiFault."""
        made = self.api.post(path, project_id=self.name, **values)
        self._undo.append(partial(self._delete, f"{path}/{made['id']}"))
        return made

    def delete(self, path: str) -> None:
        """Delete a resource now. Raises ApiFault."""
        self.api.delete(path)

    def network(self, name: str, *prefixes: str, **values: object) -> Network:
        """A network with a subnet for each prefix, whose gateway is the first address. Raises ApiFault."""
        network = self.create("networks", name=name, **values)
        subnets, gateways = [], []
        for prefix in prefixes:
            version = ip_network(prefix).version
            gateway = str(ip_network(prefix)[1])
            made = self.create(
                "subnets", network_id=network["id"], cidr=prefix, ip_version=version, enable_dhcp=False,
                gateway_ip=gateway, name=f"{name}-v{version}",
            )  # fmt: skip
            subnets.append((made["id"], prefix))
            gateways.append(made["gateway_ip"])
        return Network(network["id"], name, tuple(subnets), tuple(gateways))

    def port(self, name: str, network: Network, host: str, *addresses: str, **values: object) -> Resource:
        """A port bound to a host, with these addresses or those that Neutron gives. Raises ApiFault."""
        fixed: dict[str, object] = {}
        if addresses:
            fixed["fixed_ips"] = [{"ip_address": address} for address in addresses]
        more = {"security_groups": [self._security_group()], "device_owner": DEVICE_OWNER, **fixed, **values}
        return self.create("ports", name=name, network_id=network.id, **{"binding:host_id": host}, **more)

    def vm(self, name: str, network: Network, host: str, *addresses: str, **values: object) -> Vm:
        """A machine, plugged in; its port is not yet known to be active. Raises LabFault."""
        vm = self.machine(name, network, self.port(name, network, host, *addresses, **values))
        self.plug(vm, self.cloud.hosts[host])
        return vm

    def leg(self, vm: Vm, interface: str, name: str, network: Network, host: str) -> Vm:
        """Another interface of a machine, with a port of its own and no default route. Raises LabFault."""
        port = self.port(name, network, host)
        made = self.machine(vm.host.name, network, port)
        leg = replace(made, gateways=(), interface=interface)
        self.cloud.hosts[host].plug(leg)
        self._undo.append(partial(self.cloud.hosts[host].unplug, leg))
        self.wait_active([leg])
        return leg

    def machine(self, name: str, network: Network, port: Resource) -> Vm:
        """The machine of a port, not plugged in."""
        lengths = {identifier: prefix.partition("/")[2] for identifier, prefix in network.subnets}
        addresses = tuple(f"{ip['ip_address']}/{lengths[ip['subnet_id']]}" for ip in port["fixed_ips"])
        return Vm(Host(name), port["id"], port["mac_address"], addresses, network.gateways)

    def plug(self, vm: Vm, host: CloudHost) -> None:
        """Plug a machine in at a host, where it also is removed in the end. Raises LabFault."""
        known = vm.host.name in self._vms
        self._vms[vm.host.name] = host
        if not known:
            self._undo.append(lambda: self._vms.pop(vm.host.name).remove(vm))
        host.plug(vm)

    def place(self, vm: Vm) -> CloudHost:
        """The host that a machine is plugged in at."""
        return self._vms[vm.host.name]

    def move(self, vm: Vm, host: CloudHost) -> None:
        """From now on the machine is taken to be at another host, where it is removed in the end."""
        self._vms[vm.host.name] = host

    def vms(self, *asked: tuple[str, Network, str]) -> list[Vm]:
        """Several machines at once: name, network, host. Their ports are active. Raises LabFault."""
        with ThreadPoolExecutor(4, "plug") as pool:
            self._security_group()
            made = list(pool.map(lambda one: self.vm(*one), asked))
        self.wait_active(made)
        return made

    def wait_active(self, vms: Iterable[Vm], patience: float = 60.0) -> None:
        """Wait until Neutron says that the ports are active. Raises LabFault."""
        for vm in vms:

            def is_active(port: str = vm.port_id) -> bool:
                return bool(self.api.get(f"ports/{port}")["status"] == "ACTIVE")

            wait_for(is_active, f"port {vm.port_id} of {vm.host.name} to be ACTIVE", 0.1, patience)

    def bgpvpn(self, name: str, *targets: str, **values: object) -> Resource:
        """A BGPVPN, l3 without ``type``, that imports and exports these route targets. Raises ApiFault."""
        return self.create("bgpvpn/bgpvpns", name=name, route_targets=list(targets), **{"type": "l3", **values})

    def associate(self, bgpvpn: Resource, kind: str, resource: str, **values: object) -> Resource:
        """Associate a ``network``, ``router`` or ``port``. Raises ApiFault."""
        path = f"bgpvpn/bgpvpns/{bgpvpn['id']}/{kind}_associations"
        return self.create(path, **{f"{kind}_id": resource}, **values)

    def update_bgpvpn(self, bgpvpn: Resource, **values: object) -> Resource:
        """Change a BGPVPN. Raises ApiFault."""
        return self.api.put(f"bgpvpn/bgpvpns/{bgpvpn['id']}", values, "bgpvpn")

    def disassociate(self, bgpvpn: Resource, kind: str, association: Resource) -> None:
        """Remove an association. Raises ApiFault."""
        self.delete(f"bgpvpn/bgpvpns/{bgpvpn['id']}/{kind}_associations/{association['id']}")

    def add_interface(self, router: Resource, network: Network, number: int = 0) -> dict[str, Any]:
        """Put a router into a network's first subnet, or another by its number. Raises ApiFault."""
        subnet = {"subnet_id": network.subnets[number][0]}
        path = f"routers/{router['id']}"
        added: dict[str, Any] = self.api.call("PUT", f"{path}/add_router_interface", subnet)
        self._undo.append(partial(self._ignoring_absence, partial(self.remove_interface, router, network, number)))
        return added

    def remove_interface(self, router: Resource, network: Network, number: int = 0) -> None:
        """Take a router out of a network's first subnet, or another by its number. Raises ApiFault."""
        subnet = {"subnet_id": network.subnets[number][0]}
        self.api.call("PUT", f"routers/{router['id']}/remove_router_interface", subnet)

    def _security_group(self) -> str:
        """A security group that lets in what the scenarios send; Neutron's default would not."""
        if self._group is None:
            group = self.create("security-groups", name=f"{self.name}-open")
            for ethertype in ("IPv4", "IPv6"):
                self.api.post(
                    "security-group-rules", project_id=self.name, security_group_id=group["id"],
                    direction="ingress", ethertype=ethertype,
                )  # fmt: skip
            self._group = str(group["id"])
        return self._group

    def _delete(self, path: str) -> None:
        self._ignoring_absence(partial(self.api.delete, path))

    @staticmethod
    def _ignoring_absence(do: Callable[[], None]) -> None:
        try:
            do()
        except ApiFault as fault:
            if fault.status != 404:
                raise


def leftovers(cloud: Cloud, name: str) -> None:
    """Remove what a tenant of this name has left from a run that failed. Raises LabFault where it cannot be removed."""
    api = cloud.api
    mine = f"?project_id={name}"
    for bgpvpn in api.get("bgpvpn/bgpvpns"):
        if bgpvpn["project_id"] == name:
            api.delete(f"bgpvpn/bgpvpns/{bgpvpn['id']}")
    for router in api.get(f"routers{mine}"):
        for port in api.get(f"ports?device_id={router['id']}"):
            path = f"routers/{router['id']}/remove_router_interface"
            with contextlib.suppress(ApiFault):
                api.call("PUT", path, {"port_id": port["id"]})
        api.delete(f"routers/{router['id']}")
    for port in api.get(f"ports{mine}"):
        for host in cloud.hosts.values():
            vm = Vm(Host(port["name"]), port["id"], port["mac_address"], (), ())
            host.unplug(vm)
        with contextlib.suppress(LabFault):
            Host(port["name"]).end()
        api.delete(f"ports/{port['id']}")
    for network in api.get(f"networks{mine}"):
        api.delete(f"networks/{network['id']}")
    for group in api.get(f"security-groups{mine}"):
        if group["name"] != "default":
            api.delete(f"security-groups/{group['id']}")
