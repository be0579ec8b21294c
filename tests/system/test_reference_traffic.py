"""Packets between our daemon and the one of networking-bagpipe 20.0.0, each on an Open vSwitch, through GoBGP."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.harness.reference import reference_program
from tests.system.ovs_nodes import Node, Nodes
from tests.system.running import wait_for
from tests.system.vpn_site import AS, Compute, call, reaches

RED = ["64512:1"]
A, B = "10.0.0.1/32", "10.0.0.2/32"

# The reference has no VPNv6, and drops its session at an RTC route or an End-of-RIB of GoBGP that it does not expect.
GOBGP = """
[global.config]
as = 64512
router-id = "192.0.2.100"
local-address-list = ["192.0.2.1"]
[[peer-groups]]
[peer-groups.config]
peer-group-name = "nodes"
peer-as = 64512
[peer-groups.transport.config]
passive-mode = true
[peer-groups.route-reflector.config]
route-reflector-client = true
route-reflector-cluster-id = "192.0.2.100"
[[peer-groups.afi-safis]]
config = { afi-safi-name = "l3vpn-ipv4-unicast" }
[[dynamic-neighbors]]
[dynamic-neighbors.config]
prefix = "192.0.2.0/24"
peer-group = "nodes"
"""
# What the operator of both says.
WAYS = {
    "MPLS in Ethernet in GRE": "mpls_interface = *gre*",
    "MPLS in GRE": "mpls_interface = *gre*\ngre_tunnel_options = packet_type=legacy_l3",
    "VXLAN": "mpls_interface = *gre*\nvxlan_encap = True",
}


@contextlib.contextmanager
def process(node: Node, log: Path, argv: list[str], environment: dict[str, str] | None = None) -> Iterator[None]:
    """A program in the namespace of a node."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            ["ip", "netns", "exec", node.namespace, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def reference(node: Node, directory: Path, way: str) -> contextlib.AbstractContextManager[None]:
    """The reference daemon on a node; its helper programs lie beside it, and Open vSwitch's find their sockets."""
    program = reference_program("bagpipe-bgp")
    configuration = directory / "reference.conf"
    configuration.write_text(
        f"[BGP]\nlocal_address = {node.addresses[0]}\npeers = 192.0.2.1\nmy_as = {AS}\nenable_rtc = True\n"
        "[API]\nhost = 127.0.0.1\nport = 8082\n[COMMON]\nroot_helper = env\n"
        f"[OVS]\novsdb_connection = unix:{node.ovs.directory}/db.sock\n"
        f"[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver = ovs\novs_bridge = br-mpls\n{WAYS[way]}\n"
        "[DATAPLANE_DRIVER_EVPN]\ndataplane_driver = dummy\n"
    )
    environment = {
        "OVS_RUNDIR": str(node.ovs.directory),
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
    }
    argv = [str(program), "--config-file", str(configuration)]
    return process(node, directory / "reference.log", argv, environment)


@pytest.mark.limit(180)
@pytest.mark.parametrize("way", WAYS)
def test_vms_behind_the_two_daemons_reach_each_other(way: str) -> None:
    with contextlib.ExitStack() as held:
        nodes = held.enter_context(Nodes())
        directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="reft-")))
        west, east = nodes.west, nodes.east
        configuration = directory / "gobgpd.toml"
        configuration.write_text(GOBGP)
        held.enter_context(process(west, directory / "gobgpd.log", ["gobgpd", "-f", str(configuration)]))
        held.enter_context(reference(east, directory, way))
        ours = Compute(west, "192.0.2.1", way, directory)
        held.callback(ours.stop)
        ours.start()
        a, b = west.vm("a", 0x0A, [A]), east.vm("b", 0x0B, [B])
        wait_for(lambda: call(east.namespace, "GET", "/ping")[0] == 200, "the API of the reference", 30)
        ours.wait_established()
        ours.attach("red", a, rt=RED)
        status, answer = call(east.namespace, "POST", "/attach_localport", ours.body("red", b, B, rt=RED))
        assert (status, answer) == (200, None)
        wait_for(
            lambda: call(east.namespace, "GET", "/looking-glass/summary")[1]["BGP_established_peers"] == 1,
            "the session of the reference",
            30,
        )
        assert reaches(a, B, 20)
        assert reaches(b, A, 20)
        # In the last way the reference has GRE and VXLAN, ours VXLAN alone: both take what both have.
        explained = ours.get("/v2/explain?instance=red&destination=10.0.0.2")
        assert "192.0.2.2" in str(explained)
        status, answer = call(east.namespace, "POST", "/detach_localport", ours.body("red", b, B, rt=RED))
        assert (status, answer) == (200, None)
        wait_for(lambda: a.ping("10.0.0.2", wait=0.5) == 0, "the reference's route is gone")
