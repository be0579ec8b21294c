"""The scenarios of the lab's cloud: what a tenant does by the API, and which packets then arrive.

Each makes networks and machines of its own, checks every step with packets, and removes all of it.
"""

from __future__ import annotations

from bagpipe.lab.cloud import BACKBONE_TARGET, EDGE, UNDERLAY, VLANS
from bagpipe.lab.cloud import FABRIC as FABRIC_HOST
from bagpipe.lab.cloud_host import ANYCAST_MAC, FALLBACK_MAC, INTEGRATION, PHYSICAL
from bagpipe.lab.compute import MACHINE_INTERFACE
from bagpipe.lab.neutron_api import ApiFault
from bagpipe.lab.plain_router import plain_router
from bagpipe.lab.scene import Scenario, Scene, expect
from bagpipe.lab.traffic import Capture, answers

SITE = EDGE.addresses[4].partition("/")[0]
SITE_6 = EDGE.addresses[6].partition("/")[0]


def network_association(scene: Scene) -> None:
    """Two networks on two hosts and the backbone in one VPN; then one network leaves it."""
    tenant = scene.tenant
    scene.tell("Two networks, a machine on each, on two compute hosts. Nothing routes between them.")
    west, east = tenant.network("na-west", "10.11.0.0/24"), tenant.network("na-east", "10.12.0.0/24")
    a, b = tenant.vms(("na-a", west, "compute1"), ("na-b", east, "compute2"))
    scene.never_reached(a, b.address(), "na-b")
    scene.tell("A BGPVPN with the backbone's route target is associated with both networks.")
    vpn = tenant.bgpvpn("na", BACKBONE_TARGET)
    first = tenant.associate(vpn, "network", west.id)
    tenant.associate(vpn, "network", east.id)
    capture = Capture(FABRIC_HOST, UNDERLAY, "mpls")
    scene.reached(a, b.address(), "na-b on the other network and host")
    scene.reached(b, a.address(), "na-a")
    scene.reached(a, SITE, "the customer's site behind the edge")
    scene.reached(EDGE.site, b.address(), "na-b")
    labelled = [line for line in capture.end() if "ethertype MPLS" in line and "ICMP" in line]
    expect(len(labelled) > 0, "no ping with a label passed the fabric")
    scene.note(f"the fabric carried {len(labelled)} of these packets with a label, such as")
    scene.note(f"  {labelled[0]}")
    scene.tell("The first network leaves the VPN.")
    tenant.disassociate(vpn, "network", first)
    scene.not_reached(a, b.address(), "na-b")
    scene.not_reached(EDGE.site, a.address(), "na-a")
    scene.reached(EDGE.site, b.address(), "na-b, which stays in the VPN")
    scene.tell("It comes back.")
    tenant.associate(vpn, "network", west.id)
    scene.reached(EDGE.site, a.address(), "na-a")


def router_association(scene: Scene) -> None:
    """All networks of a router are in the VPN, those that it gets later as well, until it loses them."""
    tenant = scene.tenant
    one, two = tenant.network("ra-one", "10.13.0.0/24"), tenant.network("ra-two", "10.14.0.0/24")
    a, b = tenant.vms(("ra-a", one, "compute1"), ("ra-b", two, "compute2"))
    scene.tell("A router with an interface in the first of two networks is associated with a BGPVPN.")
    router = tenant.create("routers", name="ra")
    with plain_router(tenant, router, (one,), scene.cloud.hosts["compute1"]) as plain:
        vpn = tenant.bgpvpn("ra", BACKBONE_TARGET)
        association = tenant.associate(vpn, "router", router["id"])
        scene.reached(EDGE.site, a.address(), "ra-a")
        scene.reached(a, SITE, "the site")
        scene.never_reached(EDGE.site, b.address(), "ra-b, whose network the router does not have")
        scene.tell("The router gets an interface in the second network.")
        plain.connect(two)
        scene.reached(EDGE.site, b.address(), "ra-b")
        scene.reached(b, SITE, "the site")
        scene.tell("It loses the one in the first.")
        plain.disconnect(one)
        scene.not_reached(EDGE.site, a.address(), "ra-a")
        scene.reached(EDGE.site, b.address(), "ra-b")
        scene.tell("The association is removed.")
        tenant.disassociate(vpn, "router", association)
        scene.not_reached(EDGE.site, b.address(), "ra-b")


def port_association(scene: Scene) -> None:
    """One machine of a network is in the VPN and its neighbour is not; then it offers a prefix behind it."""
    tenant, target = scene.tenant, "64512:310"
    shared, remote = tenant.network("pa-shared", "10.15.0.0/24"), tenant.network("pa-remote", "10.16.0.0/24")
    inside, outside, far = tenant.vms(
        ("pa-in", shared, "compute1"), ("pa-out", shared, "compute1"), ("pa-far", remote, "compute2")
    )
    scene.tell("Two machines on one network and host; the port of one is associated with a BGPVPN.")
    vpn = tenant.bgpvpn("pa", target)
    tenant.associate(vpn, "network", remote.id)
    association = tenant.associate(vpn, "port", inside.port_id)
    scene.reached(inside, far.address(), "pa-far")
    scene.reached(far, inside.address(), "pa-in")
    scene.never_reached(far, outside.address(), "pa-out, which is not associated")
    scene.routes(target, 2)
    scene.tell("The association gets a route to a prefix that is behind the machine.")
    inside.host.address(MACHINE_INTERFACE, "40.0.0.1/32")
    path = f"bgpvpn/bgpvpns/{vpn['id']}/port_associations/{association['id']}"
    pairs = {"allowed_address_pairs": [{"ip_address": "40.0.0.0/24"}]}
    tenant.api.put(f"ports/{inside.port_id}", pairs, "port")
    tenant.api.put(path, {"routes": [{"type": "prefix", "prefix": "40.0.0.0/24"}]}, "port_association")
    scene.reached(far, "40.0.0.1", "an address of the prefix behind pa-in")
    scene.routes(target, 3)
    scene.tell("The route is taken away again, then the port's own address.")
    tenant.api.put(path, {"routes": []}, "port_association")
    scene.not_reached(far, "40.0.0.1", "the prefix")
    scene.reached(far, inside.address(), "pa-in")
    tenant.api.put(path, {"advertise_fixed_ips": False}, "port_association")
    scene.not_reached(far, inside.address(), "pa-in")
    scene.routes(target, 1)


def port_leak(scene: Scene) -> None:
    """A machine with a leg in each of two BGPVPNs leaks the routes of one into the other, and carries the traffic."""
    tenant = scene.tenant
    near, west, east, far = (
        tenant.network(f"pl-{name}", f"10.{number}.0.0/24")
        for name, number in (("near", 16), ("west", 17), ("east", 18), ("far", 19))
    )
    client, service, server = tenant.vms(
        ("pl-client", near, "compute1"), ("pl-service", west, "compute2"), ("pl-server", far, "compute1")
    )
    scene.tell("Two BGPVPNs with one machine each do not know each other.")
    left, right = tenant.bgpvpn("pl-left", "64512:321"), tenant.bgpvpn("pl-right", "64512:322")
    tenant.associate(left, "network", near.id)
    tenant.associate(right, "network", far.id)
    scene.never_reached(client, server.address(), "pl-server")
    scene.tell(
        "A machine that forwards gets a second leg, one for each BGPVPN.",
        "By its port on the left it offers what the right one has, and the other way round.",
    )
    leg = tenant.leg(service, "eth1", "pl-service-2", east, "compute2")
    for one in (service, leg):
        open_port = {"port_security_enabled": False, "security_groups": []}
        tenant.api.put(f"ports/{one.port_id}", open_port, "port")
    service.host.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0"])
    service.host.ip("route", "replace", f"{client.address()}/32", "via", west.gateways[0], "dev", "eth0")
    service.host.ip("route", "replace", f"{server.address()}/32", "via", east.gateways[0], "dev", "eth1")
    tenant.associate(left, "port", service.port_id, routes=[{"type": "bgpvpn", "bgpvpn_id": right["id"]}])
    tenant.associate(right, "port", leg.port_id, routes=[{"type": "bgpvpn", "bgpvpn_id": left["id"]}])
    scene.reached(client, server.address(), "pl-server, through pl-service", 30)
    before = service.host.counter("Ip", "ForwDatagrams")
    scene.reached(server, client.address(), "pl-client, through pl-service", 30)
    after = service.host.counter("Ip", "ForwDatagrams")
    expect(after > before, "the packets did not go through pl-service")
    scene.note(f"pl-service forwarded {after - before} packets of the last ping")


def route_target_update(scene: Scene) -> None:
    """The route targets of a BGPVPN in use are changed."""
    tenant = scene.tenant
    one, two = tenant.network("rt-one", "10.21.0.0/24"), tenant.network("rt-two", "10.22.0.0/24")
    a, b = tenant.vms(("rt-a", one, "compute1"), ("rt-b", two, "compute2"))
    scene.tell("Two BGPVPNs with different route targets: they do not meet.")
    left, right = tenant.bgpvpn("rt-left", "64512:331"), tenant.bgpvpn("rt-right", "64512:332")
    tenant.associate(left, "network", one.id)
    tenant.associate(right, "network", two.id)
    scene.routes("64512:331", 1)
    scene.routes("64512:332", 1)
    scene.never_reached(a, b.address(), "rt-b")
    scene.tell("The second takes the route target of the first.")
    tenant.update_bgpvpn(right, route_targets=["64512:331"])
    scene.reached(a, b.address(), "rt-b")
    scene.routes("64512:331", 2)
    scene.routes("64512:332", 0)
    scene.tell("It imports and exports separately: what it exports is not imported by the first.")
    tenant.update_bgpvpn(right, route_targets=[], import_targets=["64512:331"], export_targets=["64512:333"])
    scene.not_reached(a, b.address(), "rt-b")
    tenant.update_bgpvpn(left, import_targets=["64512:333"])
    scene.reached(a, b.address(), "rt-b")
    scene.reached(b, a.address(), "rt-a")


def delete_in_use(scene: Scene) -> None:
    """What is deleted while it is in use is gone from the VPN, and nothing of it stays."""
    tenant, target = scene.tenant, "64512:340"
    one, two, three = (tenant.network(f"de-{number}", f"10.{22 + number}.0.0/24") for number in (1, 2, 3))
    a, b, c = tenant.vms(("de-a", one, "compute1"), ("de-b", two, "compute2"), ("de-c", three, "compute2"))
    vpn, other = tenant.bgpvpn("de", target), tenant.bgpvpn("de-other", target)
    for network in (one, two):
        tenant.associate(vpn, "network", network.id)
    tenant.associate(other, "network", three.id)
    scene.reached(a, b.address(), "de-b")
    scene.reached(a, c.address(), "de-c")
    scene.routes(target, 3)
    scene.tell("The port of a machine in the VPN is deleted.")
    tenant.delete(f"ports/{b.port_id}")
    scene.routes(target, 2)
    scene.tell("A network in the VPN that has ports cannot be deleted.")
    try:
        tenant.delete(f"networks/{one.id}")
    except ApiFault as fault:
        expect(fault.status == 409, f"the answer was {fault.status}")
        scene.note("Neutron answers 409")
    else:
        expect(False, "a network with ports was deleted")
    scene.tell("The BGPVPN is deleted, with its associations.")
    tenant.delete(f"bgpvpn/bgpvpns/{vpn['id']}")
    scene.not_reached(c, a.address(), "de-a")
    scene.routes(target, 1)
    scene.tell("The same for a network that is empty, and for a router.")
    router = tenant.create("routers", name="de")
    tenant.add_interface(router, one)
    tenant.associate(other, "router", router["id"])
    scene.routes(target, 2)
    empty = tenant.network("de-empty", "10.29.0.0/24")
    tenant.associate(other, "network", empty.id)
    tenant.delete(f"networks/{empty.id}")
    tenant.remove_interface(router, one)
    tenant.delete(f"routers/{router['id']}")
    scene.routes(target, 1)
    scene.never_reached(c, a.address(), "de-a")


def overlapping(scene: Scene) -> None:
    """Two VPNs whose machines have the same addresses, on the same hosts."""
    tenant = scene.tenant
    machines = {}
    for color, target in (("blue", "64512:351"), ("red", "64512:352")):
        west, east = (tenant.network(f"ov-{color}-{n}", f"10.3{n}.0.0/24") for n in (1, 2))
        a = tenant.vm(f"ov-{color}1", west, "compute1", "10.31.0.10")
        b = tenant.vm(f"ov-{color}2", east, "compute2", "10.32.0.10")
        machines[color] = a, b
        vpn = tenant.bgpvpn(f"ov-{color}", target)
        for network in (west, east):
            tenant.associate(vpn, "network", network.id)
    for pair in machines.values():
        tenant.wait_active(pair)
    scene.tell("Each machine pings the other of its VPN; both VPNs have the same addresses.")
    for color, (a, b) in machines.items():
        scene.reached(a, b.address(), f"ov-{color}2")
        before = {name: pair[1].host.counter("Icmp", "InEchos") for name, pair in machines.items()}
        expect(answers(a.host, b.address(), 5) == 5, f"{a.host.name} lost packets")
        after = {name: pair[1].host.counter("Icmp", "InEchos") for name, pair in machines.items()}
        arrived = {name: after[name] - before[name] for name in machines}
        expect(arrived == {name: 5 if name == color else 0 for name in machines}, f"of 5 pings arrived {arrived}")
        scene.note(f"5 of 5 pings of {a.host.name} arrived at {b.host.name}, and none anywhere else")


def ipv6(scene: Scene) -> None:
    """A network of both versions and one of IPv6 alone, with the site's IPv6 prefix."""
    tenant = scene.tenant
    both, six = tenant.network("v6-both", "10.41.0.0/24", "fd00:41::/64"), tenant.network("v6-only", "fd00:42::/64")
    a, b = tenant.vms(("v6-a", both, "compute1"), ("v6-b", six, "compute2"))
    scene.tell("Both networks are associated with a BGPVPN of the backbone.")
    vpn = tenant.bgpvpn("v6", BACKBONE_TARGET)
    for network in (both, six):
        tenant.associate(vpn, "network", network.id)
    scene.reached(a, b.address(6), "v6-b")
    scene.reached(b, a.address(6), "v6-a")
    scene.reached(a, SITE_6, "the site, IPv6")
    scene.reached(EDGE.site, b.address(6), "v6-b")
    scene.reached(EDGE.site, a.address(4), "v6-a, IPv4")


def vlan(scene: Scene) -> None:
    """Two VLAN networks of a physical network and the backbone in one VPN; then a router is the gateway of one."""
    tenant = scene.tenant
    kind = {"provider:network_type": "vlan", "provider:physical_network": PHYSICAL}
    west, east = (tenant.network(f"vl-{name}", f"10.7{n}.0.0/24", f"fd00:7{n}::/64", **kind)
                  for name, n in (("west", 1), ("east", 2)))  # fmt: skip
    other = tenant.network("vl-other", "10.73.0.0/24")
    a, b, near, d = tenant.vms(
        ("vl-a", west, "compute1"), ("vl-b", east, "compute2"), ("vl-near", west, "compute2"),
        ("vl-d", other, "compute2"),
    )  # fmt: skip
    scene.tell("Machines of one network reach each other by its VLAN, those of different networks do not.")
    capture = Capture(FABRIC_HOST, VLANS, "vlan")
    scene.reached(a, near.address(), "vl-near, the same network on the other host")
    scene.never_reached(a, b.address(), "vl-b, the other network")
    scene.tell("Both networks are associated with a BGPVPN of the backbone.")
    vpn = tenant.bgpvpn("vl", BACKBONE_TARGET)
    associations = [tenant.associate(vpn, "network", network.id) for network in (west, east)]
    for version, site in ((4, SITE), (6, SITE_6)):
        scene.reached(a, b.address(version), "vl-b on the other network and host")
        scene.reached(b, a.address(version), "vl-a")
        scene.reached(a, site, "the customer's site")
        scene.reached(EDGE.site, b.address(version), "vl-b")
    scene.reached(near, a.address(), "vl-a, the same network, by its VLAN as before")
    frames = capture.end()
    tagged = [line for line in frames if "802.1Q" in line and f"{a.address()} > {near.address()}: ICMP echo" in line]
    expect(len(tagged) > 0, "no ping within the network passed the physical network")
    strange = [line for line in frames if ANYCAST_MAC in line or f" > {b.address()}: ICMP" in line]
    expect(strange == [], f"traffic of the VPN passed the physical network: {strange[:3]}")
    scene.note(f"the physical network carried {len(frames)} frames, none of the VPN's, such as")
    scene.note(f"  {tagged[0]}")
    scene.tell("A plain Neutron router becomes the gateway of the first network, on compute1, and of a third network.")
    router = tenant.create("routers", name="vl")
    with plain_router(tenant, router, (west, other), scene.cloud.hosts["compute1"]):
        for vm in (a, near):
            scene.reached(vm, b.address(), "vl-b, by the VPN")
            scene.reached(vm, d.address(), "vl-d, which is not in the VPN: by the router", 30)
    scene.tell("The networks leave the VPN.")
    for association in associations:
        tenant.disassociate(vpn, "network", association)
    scene.not_reached(a, b.address(), "vl-b")
    scene.reached(a, near.address(), "vl-near")


def distributed_router(scene: Scene) -> None:
    """The networks of a distributed router, one of them a VLAN, are in the VPN; then all but one of them."""
    tenant = scene.tenant
    one, two = tenant.network("di-one", "10.81.0.0/24", "fd00:81::/64"), tenant.network("di-two", "10.82.0.0/24")
    kind = {"provider:network_type": "vlan", "provider:physical_network": PHYSICAL}
    tagged = tenant.network("di-tagged", "10.83.0.0/24", **kind)
    vms = a, near, b, e, f = tenant.vms(
        ("di-a", one, "compute1"), ("di-near", one, "compute2"), ("di-b", two, "compute2"),
        ("di-e", tagged, "compute1"), ("di-f", tagged, "compute2"),
    )  # fmt: skip
    scene.tell("A distributed router between three networks. Neutron's L3 agents make it, on both hosts.")
    router = tenant.create("routers", name="di", distributed=True)
    legs = [tenant.add_interface(router, network)["port_id"] for network in (one, two, tagged)]
    tenant.add_interface(router, one, 1)
    for vm in (a, near, e, f):
        scene.reached(vm, b.address(), "di-b, by the router", 60)
    for host in scene.cloud.hosts.values():
        ports = host.switch.vsctl("list-ports", INTEGRATION).split()
        expect({f"qr-{leg[:11]}" for leg in legs} <= set(ports), f"the router is not on {host.name}")
    scene.tell("The router is associated with a BGPVPN of the backbone.")
    vpn = tenant.bgpvpn("di", BACKBONE_TARGET)
    association = tenant.associate(vpn, "router", router["id"])
    for vm in vms:
        scene.reached(vm, SITE, "the customer's site")
        scene.reached(EDGE.site, vm.address(), vm.host.name)
    for vm in (a, near):
        scene.reached(vm, SITE_6, "the site, IPv6")
    capture = Capture(FABRIC_HOST, UNDERLAY, "mpls")
    for vm in (a, e):
        expect(answers(vm.host, b.address(), 3) == 3, f"{vm.host.name} lost packets to di-b")
    labelled = capture.end()
    for vm in (a, e):
        number = sum(f"{vm.address()} > {b.address()}: ICMP echo request" in line for line in labelled)
        expect(number == 3, f"of 3 pings of {vm.host.name} to di-b {number} had a label")
        scene.note(f"3 of 3 pings of {vm.host.name} to di-b had a label on the underlay")
    scene.tell("The router leaves the VPN; all of its networks but that of di-b are associated by themselves.")
    tenant.disassociate(vpn, "router", association)
    associations = [tenant.associate(vpn, "network", network.id) for network in (one, tagged)]
    scene.not_reached(EDGE.site, b.address(), "di-b")
    tagged_frames, tunnelled = Capture(FABRIC_HOST, VLANS, "vlan"), Capture(FABRIC_HOST, UNDERLAY, "udp port 4789")
    for vm in (a, near, e, f):
        scene.reached(vm, SITE, "the site")
        scene.reached(vm, b.address(), "di-b, which is not in the VPN: by the router of the machine's host")
    scene.reached(e, f.address(), "di-f, the same network, by its VLAN")
    frames, inner = tagged_frames.end(), tunnelled.end()
    expect(any(f"{e.address()} > {f.address()}: ICMP" in line for line in frames), "nothing passed the VLAN")
    expect(any(f"{a.address()} > {b.address()}: ICMP" in line for line in inner), "nothing passed the tunnels")
    strange = [line for line in (*frames, *inner) if ANYCAST_MAC in line or FALLBACK_MAC in line]
    expect(strange == [], f"frames for gateways left a host: {strange[:3]}")
    scene.note(f"{len(frames)} frames on the VLANs, {len(inner)} in tunnels: none left a host for its router")
    scene.tell("They leave it too.")
    for association in associations:
        tenant.disassociate(vpn, "network", association)
    scene.not_reached(e, SITE, "the site")
    scene.not_reached(a, SITE, "the site")
    for vm in (a, near, e, f):
        scene.reached(vm, b.address(), "di-b, by the router")


SCENARIOS = (
    Scenario(network_association),
    Scenario(router_association),
    Scenario(port_association),
    Scenario(port_leak),
    Scenario(route_target_update),
    Scenario(delete_in_use),
    Scenario(overlapping),
    Scenario(ipv6),
    Scenario(vlan),
    Scenario(distributed_router, distributed=True),
)
