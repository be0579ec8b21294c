"""A compute node goes from networking-bagpipe's daemon to ours and back, by the steps and commands of docs/upgrade.md.

The other node has our daemon all the time; GoBGP reflects between the two. Both daemons read the same ``bgp.conf``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.interop.harness.reference import reference_program
from tests.system.ovs_nodes import Node, Nodes
from tests.system.running import DAEMON, ROOT, Program, wait_for
from tests.system.test_reference_traffic import GOBGP, RED, WAYS, A, B, process
from tests.system.vpn_site import AS, Compute, call, reaches, reaches_not

WAY = "MPLS in GRE"
OURS = "0xba6"
"""How the cookie of each of our flows begins."""


class Upgraded:
    """The node that changes. ``environment`` lets the programs of the reference find this Open vSwitch."""

    def __init__(self, node: Node, directory: Path) -> None:
        self.node = node
        self.directory = directory
        self.file = directory / "bgp.conf"
        self.file.write_text(
            f"[BGP]\nlocal_address = {node.addresses[0]}\npeers = 192.0.2.1\nmy_as = {AS}\nenable_rtc = True\n"
            "[API]\nhost = 127.0.0.1\nport = 8082\n"
            f"[COMMON]\nroot_helper = env\nstate_dir = {directory / 'state'}\n"
            f"[OVS]\novsdb_connection = unix:{node.ovs.directory}/db.sock\n"
            f"[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver = ovs\novs_bridge = br-mpls\n{WAYS[WAY]}\n"
            f"ovsdb_connection = unix:{node.ovs.directory}/db.sock\novs_run_directory = {node.ovs.directory}\n"
            "[DATAPLANE_DRIVER_EVPN]\ndataplane_driver = dummy\n"
        )
        programs = reference_program("bagpipe-bgp").parent
        self.environment = {
            "OVS_RUNDIR": str(node.ovs.directory),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        }

    def reference(self) -> contextlib.AbstractContextManager[None]:
        """The daemon of the reference, ended with SIGTERM."""
        argv = [str(reference_program("bagpipe-bgp")), "--config-file", str(self.file)]
        return process(self.node, self.directory / "reference.log", argv, self.environment)

    def ours(self) -> Program:
        """Our daemon."""
        log = self.directory / "ours.log"
        return Program(DAEMON, "--config-file", str(self.file), log=log, namespace=self.node.namespace)

    def clean(self, *argv: str) -> str:
        """Run a cleanup program to its end."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.node.namespace, *argv, "--config-file", str(self.file)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def groups(self) -> str:
        """The groups of the bridge."""
        return self.node.ofctl("dump-groups").partition("\n")[2].strip()

    def attach(self, body: dict[str, object]) -> None:
        """What an agent does when it finds a daemon."""
        wait_for(lambda: call(self.node.namespace, "GET", "/ping")[0] == 200, "the daemon answers", 30)
        status, answer = call(self.node.namespace, "POST", "/attach_localport", body)
        assert (status, answer) == (200, None)


@pytest.mark.limit(240)
def test_a_node_changes_its_daemon_and_changes_back_with_one_configuration_file() -> None:
    with contextlib.ExitStack() as held:
        nodes = held.enter_context(Nodes())
        directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="upg-")))
        (directory / "gobgpd.toml").write_text(GOBGP)
        gobgp = ["gobgpd", "-f", str(directory / "gobgpd.toml")]
        held.enter_context(process(nodes.west, directory / "gobgpd.log", gobgp))
        other = Compute(nodes.west, "192.0.2.1", WAY, directory)
        held.callback(other.stop)
        other.start().wait_established()
        a, b = nodes.west.vm("a", 0x0A, [A]), nodes.east.vm("b", 0x0B, [B])
        other.attach("red", a, rt=RED)
        node, body = Upgraded(nodes.east, directory), other.body("red", b, B, rt=RED)

        # given a node with the daemon of networking-bagpipe
        with node.reference():
            node.attach(body)
            assert reaches(a, B, 30)
            assert reaches(b, A)

        # when that is stopped and its cleanup is run, nothing of it is left on the bridge
        node.clean(str(reference_program("bagpipe-bgp-cleanup")))
        assert (node.node.flows(), node.groups()) == ([], "")
        assert reaches_not(b, A)

        # and ours is started and the port attached again, then packets go both ways, as the audit confirms
        with node.ours():
            node.attach(body)
            assert reaches(a, B, 30)
            assert reaches(b, A)
            assert all(flow.startswith(f"cookie={OURS}") for flow in node.node.flows())
            audit = call(node.node.namespace, "GET", "/v2/audit")[1]
            assert audit["differences"] == []
            assert {one["order"] for one in audit["foreign"]} <= {"after"}

        # when ours is stopped, what is programmed stays for the next start; its cleanup takes it away
        assert node.node.flows() != []
        said = node.clean(sys.executable, "-m", "bagpipe.daemon.cleanup")
        assert "things removed" in said
        assert (node.node.flows(), node.groups()) == ([], "")

        # and the daemon of networking-bagpipe carries the VPN again
        with node.reference():
            node.attach(body)
            assert reaches(a, B, 30)
            assert reaches(b, A)

        # and where its cleanup is left out, the audit of ours lists what it has left
        with node.ours():
            node.attach(body)
            audit = call(node.node.namespace, "GET", "/v2/audit")[1]
            left = [flow for flow in node.node.flows() if not flow.startswith(f"cookie={OURS}")]
            assert left != []
            assert audit["differences"] == []
            flows = [one for one in audit["foreign"] if one["kind"] == "flow" and "NORMAL" not in one["text"]]
            assert len(flows) == len(left)
            assert "before" in {one["order"] for one in audit["foreign"]}
