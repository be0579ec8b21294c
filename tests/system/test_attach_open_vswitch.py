"""The daemon with a real Open vSwitch (dummy datapath): what is attached is in its tables, whatever is restarted."""

from __future__ import annotations

import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.attaching import Node, body, detachment
from tests.system.openvswitch import OpenVSwitch
from tests.system.running import address, run, wait_for

BRIDGE = "br-mpls"
_DURATION = re.compile(r"duration=([0-9.]+)s")
_PASSING = re.compile(r"(duration|idle_age|n_packets|n_bytes)=[^, ]+, ?")


class Host:
    """Open vSwitch with a bridge and three ports, and a daemon's configuration for it."""

    def __init__(self, ovs: OpenVSwitch, folder: Path) -> None:
        self.ovs = ovs
        self.node = Node(
            folder,
            more="[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver=ovs\nmpls_interface=*gre*\nvxlan_encap=True\n"
            "gre_tunnel_options=packet_type=legacy_l3\n"
            f"ovsdb_connection=unix:{ovs.directory}/db.sock\novs_run_directory={ovs.directory}",
        )

    def plug(self, name: str) -> None:
        self.ovs.vsctl("add-port", BRIDGE, name, "--", "set", "interface", name, "type=dummy")

    def lines(self) -> list[str]:
        return [line.strip() for line in self.ovs.ofctl("dump-flows", BRIDGE).splitlines() if "cookie=" in line]

    def flows(self) -> set[str]:
        """The flows without what passes."""
        return {_PASSING.sub("", line) for line in self.lines()}

    def ages(self) -> dict[str, float]:
        """How long each flow is there."""
        found = {}
        for line in self.lines():
            duration = _DURATION.search(line)
            assert duration is not None
            found[_PASSING.sub("", line)] = float(duration[1])
        return found

    def health(self) -> dict[str, Any]:
        return self.node.call("GET", "/v2/health")[1]["dataplane"]


@pytest.fixture
def host() -> Iterator[Host]:
    with tempfile.TemporaryDirectory(prefix="ovs", dir="/tmp") as folder, OpenVSwitch(Path(folder)) as ovs:
        ovs.add_bridge(BRIDGE)
        made = Host(ovs, Path(folder))
        for name in ("tap2", "tap3"):
            made.plug(name)
        yield made


def at(number: int, port: str = "") -> dict[str, Any]:
    name = port or f"tap{number}"
    return body(number, local_port={"linuxif": name, "ovs": {"plugged": True, "port_name": name}})


def test_success_is_said_when_the_flows_are_there_and_a_refused_port_comes_into_effect_when_it_appears(
    host: Host,
) -> None:
    with host.node.start() as daemon:
        daemon.wait_started()
        assert host.node.attach(at(2)) == (200, None)
        assert any("nw_dst=10.0.0.2 " in line for line in host.lines())
        status, told = host.node.attach(at(4))
        assert status == 500
        assert "tap4 is not on bridge br-mpls" in told["description"]
        assert {one["reason"] for one in host.health()["refused"]} == {"port tap4 is not on bridge br-mpls"}
        routes = host.node.call("GET", "/v2/routes?family=vpnv4")[1]["routes"]
        assert [route["nlri"].split()[0].split(":")[-1] for route in routes] == ["10.0.0.2/32"]

        host.plug("tap4")

        wait_for(lambda: not host.health()["refused"], "the refused records")
        assert any("nw_dst=10.0.0.4 " in line for line in host.lines())
        assert len(host.node.call("GET", "/v2/routes?family=vpnv4")[1]["routes"]) == 2
        assert host.node.call("GET", "/v2/audit")[1]["differences"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_daemon_touches_no_flow_and_sweeps_what_is_left_over(
    host: Host, number: signal.Signals
) -> None:
    with host.node.start() as daemon:
        daemon.wait_started()
        for one in (2, 3):
            assert host.node.attach(at(one)) == (200, None)
        flows = host.flows()
        daemon.end(number)
    assert host.flows() == flows
    before = host.ages()
    leftover = "cookie=0xba60000000000009,table=2,priority=36768,ip,reg0=0x9,nw_dst=10.9.9.9,actions=drop"
    host.ovs.ofctl("add-flow", BRIDGE, leftover)
    assert len(host.flows()) == len(flows) + 1

    with host.node.start() as daemon:
        wait_for(lambda: daemon.text.count("started:") == 2, "the second start")
        wait_for(lambda: host.health()["leftovers_removed"], "the leftovers to be removed")
        assert host.flows() == flows
        after = host.ages()
        assert all(after[flow] > age for flow, age in before.items())
        assert host.node.call("GET", "/v2/audit")[1]["differences"] == []


def test_open_vswitch_restarted_has_everything_back_without_help(host: Host) -> None:
    with host.node.start() as daemon:
        daemon.wait_started()
        for one in (2, 3):
            assert host.node.attach(at(one)) == (200, None)
        number = len(host.flows())
        host.ovs.stop_switch()
        wait_for(lambda: host.health()["state"] == "unreachable", "the loss to be seen")
        assert host.node.detach(detachment(at(3)))[0] == 503
        host.ovs.start_switch()
        wait_for(lambda: host.health()["state"] == "connected", "the connection")
        wait_for(lambda: host.health()["records"]["pending"] == 0, "the records")
        assert any("nw_dst=10.0.0.2 " in line for line in host.lines())
        assert not any("nw_dst=10.0.0.3 " in line for line in host.lines())
        assert len(host.flows()) < number
        assert host.node.call("GET", "/v2/audit")[1]["differences"] == []
        assert "Traceback" not in daemon.text


def test_a_detach_without_open_vswitch_is_done_when_it_is_back_even_after_a_restart(host: Host) -> None:
    socket = host.node.folder / "run" / f"{BRIDGE}.mgmt"
    socket.parent.mkdir()
    socket.symlink_to(host.ovs.directory / socket.name)
    there = f"ovs_run_directory={host.ovs.directory}"
    said = host.node.file.read_text().replace(there, f"ovs_run_directory={socket.parent}")
    # a neighbour that never tells its routes keeps leftovers from being removed
    host.node.file.write_text(said.replace("[BGP]\n", f"[BGP]\npeers={address(9)}\n"))
    with host.node.start() as daemon:
        daemon.wait_started()
        for one in (2, 3):
            assert host.node.attach(at(one)) == (200, None)
        of_two = [line for line in host.flows() if "10.0.0.2" in line or "fa:16:3e:00:00:02" in line]
        assert len(of_two) == 3
        daemon.end(signal.SIGKILL)
    # given a switch that forwards, and that two processes in a row cannot reach to tell it that a port has gone
    socket.unlink()
    with host.node.start() as daemon:
        wait_for(lambda: daemon.text.count("started:") == 2, "the second start")
        assert host.node.detach(detachment(at(2)))[0] == 503
        daemon.end(signal.SIGKILL)
    assert set(of_two) <= host.flows()
    with host.node.start() as daemon:
        wait_for(lambda: daemon.text.count("started:") == 3, "the third start")
        assert host.node.detach(detachment(at(2)))[0] == 503
        # when it can be reached again, then the flows go before the time of leftovers has come
        socket.symlink_to(host.ovs.directory / socket.name)
        wait_for(lambda: host.health()["state"] == "connected", "the connection")
        wait_for(lambda: not set(of_two) & host.flows(), "the flows to go")
        assert not host.health()["leftovers_removed"]
        assert host.node.detach(detachment(at(2)))[0] == 400
        assert any("nw_dst=10.0.0.3 " in line for line in host.lines())
        assert host.node.call("GET", "/v2/audit")[1]["differences"] == []
        assert "Traceback" not in daemon.text


def test_cleanup_removes_all_that_is_ours_and_nothing_else(host: Host) -> None:
    host.ovs.ofctl("add-flow", BRIDGE, "cookie=0x1234,table=0,priority=7,actions=normal")
    foreign = host.flows()
    with host.node.start() as daemon:
        daemon.wait_started()
        assert host.node.attach(at(2)) == (200, None)
        daemon.end()
    assert len(host.flows()) > 5

    ended = run("bagpipe.daemon.cleanup", "--config-file", str(host.node.file))

    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"(?s)bagpipe-bgp-cleanup: IP VPN dataplane ovs: [1-9][0-9]* things removed\n.*", ended.stdout)
    assert host.flows() == foreign
    assert "mpls_gre" not in host.ovs.vsctl("list-ports", BRIDGE)
