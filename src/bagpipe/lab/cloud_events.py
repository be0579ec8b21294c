"""The scenarios of the lab's cloud in which something happens to what runs: restarts, a migration, a plain router."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from bagpipe.lab.cloud import BACKBONE_TARGET, EDGE
from bagpipe.lab.cloud_bridged import bridged_pair
from bagpipe.lab.cloud_host import AGENT, ANYCAST_MAC, FALLBACK_MAC, INTEGRATION, TUNNEL, CloudHost, Vm
from bagpipe.lab.cloud_scenarios import SITE
from bagpipe.lab.compute import BRIDGE
from bagpipe.lab.moving import INTERVAL, move
from bagpipe.lab.plain_router import plain_router
from bagpipe.lab.scene import Scenario, Scene, expect
from bagpipe.lab.telling import wait_for
from bagpipe.lab.traffic import Stream

_EVPN_COOKIE = "cookie=0xba6e000000000000"


def router_fallback(scene: Scene) -> None:
    """What no route of the VPN covers goes to the network's own router, on the same host and from another one."""
    tenant = scene.tenant
    inside, outside = tenant.network("rf-inside", "10.51.0.0/24"), tenant.network("rf-outside", "10.52.0.0/24")
    a, c, b = tenant.vms(("rf-a", inside, "compute1"), ("rf-c", inside, "compute2"), ("rf-b", outside, "compute2"))
    scene.tell("A plain Neutron router between two networks, on compute1: the machines reach each other through it.")
    router = tenant.create("routers", name="rf")
    with plain_router(tenant, router, (inside, outside), scene.cloud.hosts["compute1"]):
        scene.reached(a, b.address(), "rf-b, by the router", 30)
        scene.reached(c, b.address(), "rf-b, by the router on the other host", 30)
        scene.tell("The first network is associated with a BGPVPN. Its machines send to the VPN first.")
        vpn = tenant.bgpvpn("rf", BACKBONE_TARGET)
        association = tenant.associate(vpn, "network", inside.id)
        for vm in (a, c):
            scene.reached(vm, SITE, "the site, by the VPN")
            scene.reached(vm, b.address(), "rf-b, which is not in the VPN: by the router as before")
        scene.tell("The association is removed: the router has all of it again.")
        tenant.disassociate(vpn, "network", association)
        scene.not_reached(a, SITE, "the site")
        scene.reached(a, b.address(), "rf-b, by the router")
        scene.reached(c, b.address(), "rf-b, by the router on the other host")


def live_migration(scene: Scene) -> None:
    """A machine moves to another host while it is pinged from the site; its port binding is activated there."""
    tenant = scene.tenant
    network = tenant.network("lm", "10.53.0.0/24")
    (vm,) = tenant.vms(("lm-vm", network, "compute1"))
    vpn = tenant.bgpvpn("lm", BACKBONE_TARGET)
    tenant.associate(vpn, "network", network.id)
    scene.reached(EDGE.site, vm.address(), "lm-vm on compute1")
    routes = scene.number_of_routes(BACKBONE_TARGET)
    move(scene, vm, scene.cloud.hosts["compute2"], EDGE.site)
    scene.routes(BACKBONE_TARGET, routes)
    scene.reached(EDGE.site, vm.address(), "lm-vm on compute2")
    scene.reached(vm, SITE, "the site")


def _pair(scene: Scene, prefix: str, number: int) -> tuple[Vm, Vm]:
    """Two machines on two networks and hosts in a VPN of the backbone that reach each other."""
    tenant = scene.tenant
    west, east = (tenant.network(f"{prefix}-{n}", f"10.{number + n}.0.0/24") for n in (1, 2))
    a, b = tenant.vms((f"{prefix}-a", west, "compute1"), (f"{prefix}-b", east, "compute2"))
    vpn = tenant.bgpvpn(prefix, BACKBONE_TARGET)
    for network in (west, east):
        tenant.associate(vpn, "network", network.id)
    scene.reached(a, b.address(), f"{prefix}-b")
    scene.reached(EDGE.site, a.address(), f"{prefix}-a")
    return a, b


def agent_restart(scene: Scene) -> None:
    """Neutron's agent is killed and started again under traffic, routed and bridged."""
    a, b = _pair(scene, "ar", 60)
    c, d = bridged_pair(scene, "ar", 84, "64512:375")
    host = scene.cloud.hosts["compute1"]
    before = _vpn_flows(host)
    streams = [Stream(source.host, target.address(), INTERVAL) for source, target in ((a, b), (c, d), (d, c))]
    for stream in streams:
        stream.first_reply()
    scene.tell("The agent of compute1 is killed, and started again.")
    mark = _log_size(host)
    host.restart_agent()
    wait_for(lambda: _has_synchronized(host, mark), f"the agent; its log is {host.host.directory}/{AGENT}.log", 0.5, 90)
    time.sleep(5)
    for stream, what in zip(streams, ("routed", "bridged", "bridged to it"), strict=True):
        done = stream.end()
        scene.note(f"{what}: {done.said(INTERVAL)}")
        expect(done.lost <= 2, "packets were lost")
    wait_for(lambda: _vpn_flows(host) == before, f"the flows of before: {before}, now {_vpn_flows(host)}", 0.5, 20)
    scene.note("its flows are those of before")
    scene.tell("A machine that was unplugged and deleted while the agent was away is not announced after it is back.")
    c_network = scene.tenant.network("ar-3", "10.69.0.0/24")
    (c,) = scene.tenant.vms(("ar-c", c_network, "compute1"))
    vpn = scene.tenant.bgpvpn("ar-3", "64512:360")
    scene.tenant.associate(vpn, "network", c_network.id)
    scene.routes("64512:360", 1)
    host.host.end_program(AGENT, signal.SIGKILL)
    host.unplug(c)
    scene.tenant.delete(f"ports/{c.port_id}")
    host.start_agent()
    scene.routes("64512:360", 0, 150)


def _log_size(host: CloudHost) -> int:
    return (host.host.directory / f"{AGENT}.log").stat().st_size


def _has_synchronized(host: CloudHost, mark: int) -> bool:
    """Whether the agent, since its log had this size, has gone through all ports."""
    log = Path(host.host.directory / f"{AGENT}.log").read_bytes()[mark:]
    return b"Configuration for devices up" in log


def _vpn_flows(host: CloudHost) -> list[str]:
    """The flows that lead to and from the VPNs' bridge, and those of EVPN instances, without cookies."""
    found = []
    for bridge in (TUNNEL, INTEGRATION):
        for line in host.flows(bridge):
            words = [word for word in line.split(", ") if not word.startswith("cookie")]
            if ANYCAST_MAC in line or FALLBACK_MAC in line or _EVPN_COOKIE in line:
                found.append(f"{bridge} {' '.join(words)}")
    return sorted(found)


def daemon_restart(scene: Scene) -> None:
    """The BGP daemon is ended, killed, and killed again under traffic, within its host and to another one."""
    a, b = _pair(scene, "dr", 63)
    near_network = scene.tenant.network("dr-near", "10.66.0.0/24")
    (near,) = scene.tenant.vms(("dr-near", near_network, "compute1"))
    vpn = scene.tenant.bgpvpn("dr-near", BACKBONE_TARGET)
    scene.tenant.associate(vpn, "network", near_network.id)
    scene.reached(a, near.address(), "dr-near")
    host = scene.cloud.hosts["compute1"]
    for way, number in (("ended", signal.SIGTERM), ("killed", signal.SIGKILL), ("killed again", signal.SIGKILL)):
        within, between = Stream(a.host, near.address(), INTERVAL), Stream(a.host, b.address(), INTERVAL)
        for stream in (within, between):
            stream.first_reply()
        scene.tell(f"The daemon of compute1 is {way}, and started again.")
        host.restart_daemon(number)
        wait_for(host.daemon_is_ready, f"the daemon; its log is {host.host.directory}/bagpipe-bgp.log", 0.1)
        time.sleep(2)
        near_done, far_done = within.end(), between.end()
        scene.note(f"within the host: {near_done.said(INTERVAL)}")
        scene.note(f"to the other host: {far_done.said(INTERVAL)}")
        if host.kinds.daemon == "ours":
            expect(near_done.lost <= 2, "packets were lost within the host")
            expect(far_done.gap < 8, "the other host was away for too long")
    scene.reached(EDGE.site, a.address(), "dr-a")
    scene.tell("What is disassociated while the daemon is away is not announced after it is back.")
    gone_network = scene.tenant.network("dr-3", "10.68.0.0/24")
    scene.tenant.vms(("dr-c", gone_network, "compute1"))
    vpn = scene.tenant.bgpvpn("dr-3", "64512:361")
    association = scene.tenant.associate(vpn, "network", gone_network.id)
    scene.routes("64512:361", 1)
    host.host.end_program("bagpipe-bgp", signal.SIGKILL)
    scene.tenant.disassociate(vpn, "network", association)
    time.sleep(1)
    host.start_daemon()
    wait_for(host.daemon_is_ready, f"the daemon; its log is {host.host.directory}/bagpipe-bgp.log", 0.1)
    scene.routes("64512:361", 0, 30)


def switch_restart(scene: Scene) -> None:
    """Open vSwitch is killed and started again; nobody touches agent or daemon."""
    a, b = _pair(scene, "or", 65)
    c, d = bridged_pair(scene, "or", 85, "64512:376")
    host = scene.cloud.hosts["compute1"]
    before = _vpn_flows(host)
    stream = Stream(a.host, b.address(), INTERVAL)
    stream.first_reply()
    scene.tell("ovs-vswitchd of compute1 is killed, and started again: every flow is gone.")
    killed = time.time()
    host.restart_switch()
    wait_for(
        lambda: any(when > killed + 0.2 for when, _ in stream.replies()),
        f"traffic again; logs are {host.host.directory}/*.log, flows are shown by"
        f" ovs-ofctl -O OpenFlow15 dump-flows unix:{host.switch.directory}/{BRIDGE}.mgmt",
        0.1,
        60,
    )
    time.sleep(2)
    scene.note(stream.end().said(INTERVAL))
    wait_for(lambda: _vpn_flows(host) == before, f"the flows of before: {before}, now {_vpn_flows(host)}", 0.5, 30)
    scene.note("its flows are those of before")
    scene.reached(EDGE.site, a.address(), "or-a")
    scene.reached(b, a.address(), "or-a")
    for version in (4, 6):
        scene.reached(c, d.address(version), "bridged to the other host")


EVENTS = (
    Scenario(router_fallback),
    Scenario(live_migration),
    Scenario(agent_restart),
    Scenario(daemon_restart),
    Scenario(switch_restart),
)
