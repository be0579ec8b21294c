"""``python -m bagpipe.lab measure``: what the running cloud takes for what tenants do, as JSON.

| figure | is |
|---|---|
| ``associate_to_ping`` | POST of a network association → first answer of a ping that was sent every 5 ms, seconds |
| ``associate_to_route`` | the same → the route is at the reflector, looked for every 10 ms |
| ``api`` | POST of a network association → its answer: Neutron's own part |
| ``delete_to_silence`` | DELETE of the association → last answer |
| ``ports_to_routes`` | so many ports plugged in at once on one host → all their routes at the reflector |
| ``memory`` | proportional set sizes in octets: the daemon, and the agent with its helpers |
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from bagpipe.lab.cloud import Cloud
from bagpipe.lab.cloud_host import AGENT, ANYCAST_MAC
from bagpipe.lab.hosts import Host
from bagpipe.lab.telling import wait_for
from bagpipe.lab.tenant import Tenant, leftovers
from bagpipe.lab.traffic import Stream, reaches

OWNER = "measure"
_TARGET = "64512:400"
_INTERVAL = 0.005


def measure(cloud: Cloud, rounds: int = 10, ports: int = 50) -> dict[str, Any]:
    """All figures, times as lists of seconds. Raises LabFault."""
    leftovers(cloud, OWNER)
    found: dict[str, Any] = {"memory": _memory(cloud)}
    with Tenant(cloud, OWNER) as tenant:
        found.update(_associations(cloud, tenant, rounds))
    with Tenant(cloud, OWNER) as tenant:
        found["ports"] = ports
        found["ports_to_routes"] = _ports(cloud, tenant, ports)
        found["memory_with_ports"] = _memory(cloud)
    return found


def _associations(cloud: Cloud, tenant: Tenant, rounds: int) -> dict[str, list[float]]:
    west, east = tenant.network("me-west", "10.71.0.0/24"), tenant.network("me-east", "10.72.0.0/24")
    a, b = tenant.vms(("me-a", west, "compute1"), ("me-b", east, "compute2"))
    # The machine knows its gateway beforehand, so that no ARP that waits a second is measured.
    a.host.ip("neigh", "replace", west.gateways[0], "lladdr", ANYCAST_MAC, "dev", a.interface, "nud", "permanent")
    b.host.ip("neigh", "replace", east.gateways[0], "lladdr", ANYCAST_MAC, "dev", b.interface, "nud", "permanent")
    vpn = tenant.bgpvpn("me", _TARGET)
    tenant.associate(vpn, "network", east.id)
    names = ("api", "associate_to_ping", "associate_to_route", "delete_to_silence")
    figures: dict[str, list[float]] = {name: [] for name in names}
    association = tenant.associate(vpn, "network", west.id)
    reaches(a.host, b.address())
    tenant.disassociate(vpn, "network", association)
    for _ in range(rounds):
        time.sleep(1)
        stream = Stream(a.host, b.address(), _INTERVAL)
        time.sleep(0.3)
        began = time.time()
        association = tenant.associate(vpn, "network", west.id)
        figures["api"].append(time.time() - began)
        figures["associate_to_ping"].append(stream.first_reply() - began)
        time.sleep(0.3)
        ended = time.time()
        tenant.disassociate(vpn, "network", association)
        figures["delete_to_silence"].append(max(stream.last_reply(0.7) - ended, 0.0))
        stream.end()
        began = time.time()
        association = tenant.associate(vpn, "network", west.id)
        wait_for(lambda: _routes(cloud) == 2, "two routes at the reflector", 0.01)
        figures["associate_to_route"].append(time.time() - began)
        tenant.disassociate(vpn, "network", association)
    return figures


def _ports(cloud: Cloud, tenant: Tenant, number: int) -> list[float]:
    """Ports on one network that is in a VPN; each is an internal port of the switch, which needs no machine."""
    network = tenant.network("me-many", "10.73.0.0/24")
    vpn = tenant.bgpvpn("me-many", _TARGET)
    tenant.associate(vpn, "network", network.id)
    host = cloud.hosts["compute1"]
    ports = [tenant.port(f"me-{n}", network, host.name) for n in range(number)]
    made = [tenant.machine(f"me-{n}", network, port) for n, port in enumerate(ports)]
    words: list[str] = []
    for vm in made:
        ids = [f"external_ids:iface-id={vm.port_id}", f'external_ids:attached-mac="{vm.mac}"']
        words += ["--", "add-port", "br-int", vm.tap, "--", "set", "Interface", vm.tap, "type=internal", *ids]
        words += ["external_ids:iface-status=active"]
    began = time.time()
    host.switch.vsctl(*words[1:])
    wait_for(lambda: _routes(cloud) == number, f"{number} routes at the reflector", 0.02, 120)
    seconds = time.time() - began
    host.switch.vsctl(*[word for vm in made for word in ("--", "del-port", "br-int", vm.tap)][1:])
    wait_for(lambda: _routes(cloud) == 0, "no route at the reflector", 0.1, 120)
    return [seconds]


def _routes(cloud: Cloud) -> int:
    return len([one for one in cloud.routes_at_reflector(_TARGET) if one["family"].startswith("vpnv")])


def _memory(cloud: Cloud) -> dict[str, int]:
    """Octets on compute1."""
    host = cloud.hosts["compute1"].host
    return {
        "daemon": _proportional(host, "bagpipe-bgp"),
        "agent": _proportional(host, AGENT),
    }


def _proportional(host: Host, name: str) -> int:
    """The proportional set size of a program and of what it has started."""
    leader = host.process_of(name)
    total = 0
    for process in host.processes():
        try:
            if int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[2]) != leader:
                continue
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
        except OSError:
            continue
        total += int(found[1]) * 1024 if found else 0
    return total
