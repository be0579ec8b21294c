"""The link, our daemon and a real Open vSwitch (dummy datapath): settled means that the flows are there."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bagpipe.neutron.agent.link import Attachment, DaemonLink, LocalPort
from tests.neutron.link.daemons import NET, Ours, attachment, linked, port_id, running
from tests.system.openvswitch import OpenVSwitch
from tests.system.running import wait_for

BRIDGE, PATCH = "br-mpls", "patch-from-tun"
FIFTY = range(1, 51)


class Host:
    """A bridge with a port that all machines are behind, and a daemon for it."""

    def __init__(self, ovs: OpenVSwitch, folder: Path) -> None:
        self.ovs = ovs
        ovs.add_bridge(BRIDGE)
        ovs.vsctl("add-port", BRIDGE, PATCH, "--", "set", "interface", PATCH, "type=dummy")
        self.ofport = int(ovs.vsctl("get", "interface", PATCH, "ofport"))
        self.daemon = Ours(
            folder,
            more="[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver=ovs\nmpls_interface=*gre*\n"
            f"ovsdb_connection=unix:{ovs.directory}/db.sock\novs_run_directory={ovs.directory}\n",
        )

    def flows(self) -> str:
        return self.ovs.ofctl("dump-flows", BRIDGE, "--no-stats")

    def delivered(self) -> set[int]:
        """The ports whose MAC some flow delivers to."""
        flows = self.flows()
        return {number for number in range(1, 101) if f"{attachment(number).mac}->eth_dst" in flows}

    def attachment(self, number: int) -> Attachment:
        return attachment(number, local_port=LocalPort("patch2tun:5", self.ofport, 5))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with tempfile.TemporaryDirectory(prefix="ovs", dir="/tmp") as folder, OpenVSwitch(Path(folder)) as ovs:
        made = Host(ovs, tmp_path)
        with running(made.daemon):
            yield made


def settled(link: DaemonLink, numbers: range = FIFTY, timeout: float = 20.0) -> bool:
    end = time.monotonic() + timeout
    return all(link.settled(port_id(number), max(end - time.monotonic(), 0)) for number in numbers)


def test_fifty_ports_are_programmed_and_a_daemon_that_was_killed_catches_up(host: Host) -> None:
    host.daemon.start()
    with linked(host.daemon.port) as link:
        begin = time.monotonic()
        for number in FIFTY:
            link.set_port(port_id(number), [host.attachment(number)])
        assert settled(link), link.state
        assert time.monotonic() - begin < 3
        assert host.delivered() == set(FIFTY)
        host.daemon.end(signal.SIGKILL)
        link.forget_port(port_id(1))
        link.set_port(port_id(60), [host.attachment(60)])
        host.daemon.start()
        assert settled(link, range(1, 61))
        wait_for(lambda: host.delivered() == {*range(2, 51), 60}, "the flows are those of now")


def test_ports_alone_in_their_instances_are_told_apart_by_their_mac(host: Host) -> None:
    host.daemon.start()
    with linked(host.daemon.port) as link:
        for number in (1, 2):
            own = LocalPort("patch2tun:5", host.ofport, 5, source_mac=attachment(number).mac)
            instance = f"ipvpn_{NET}_port_{port_id(number)}"
            link.set_port(port_id(number), [attachment(number, instance_id=instance, local_port=own)])
        assert settled(link, range(1, 3)), link.state
        for number in (1, 2):
            assert f"dl_src={attachment(number).mac}" in host.flows()


def test_without_open_vswitch_an_attachment_is_pending_with_the_reason_until_it_is_back(host: Host) -> None:
    host.daemon.start()
    with linked(host.daemon.port) as link:
        link.set_port(port_id(1), [host.attachment(1)])
        assert link.settled(port_id(1), 20)
        host.ovs.stop_switch()
        link.set_port(port_id(2), [host.attachment(2)])
        name = host.attachment(2).name
        reason = wait_for(lambda: link.state.pending.get(name), "it is pending and says why", 10)
        assert reason
        assert not link.settled(port_id(2), 0.5)
        host.ovs.start_switch()
        assert settled(link, range(1, 3)), link.state
        assert host.delivered() == {1, 2}
