"""The ports of a bridge, followed and changed in a real Open vSwitch with the userspace datapath."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from bagpipe.dataplane.errors import DataplaneError, NoAnswer, Unreachable
from bagpipe.dataplane.openflow.actions import PORT_LOCAL
from bagpipe.dataplane.ovs.ports import BridgePorts, ForeignTunnel
from bagpipe.errors import LocalMisuse
from tests.system.openvswitch import OpenVSwitch
from tests.system.ovs_nodes import ip

GRE = {"remote_ip": "flow", "local_ip": "192.0.2.1", "packet_type": "legacy_l3"}


@pytest.fixture(scope="module")
def ovs() -> Iterator[OpenVSwitch]:
    namespace = f"bovsp{os.getpid()}"
    ip("netns", "add", namespace)
    try:
        with tempfile.TemporaryDirectory(prefix="ovsp-") as directory, OpenVSwitch(Path(directory), namespace) as made:
            for device in ("dev-a", "dev-b"):
                ip("-n", namespace, "link", "add", device, "type", "veth", "peer", "name", f"{device}-peer")
            yield made
    finally:
        subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


@pytest.fixture
def bridge(ovs: OpenVSwitch) -> Iterator[str]:
    ovs.add_bridge("br-mpls")
    yield "br-mpls"
    ovs.vsctl("--if-exists", "del-br", "br-mpls")


class Watched:
    """The ports under test, and the numbers that they told of (MACs are told of as well, whenever vswitchd likes)."""

    def __init__(self, ovs: OpenVSwitch, bridge: str = "br-mpls", patience: float = 5) -> None:
        self.told: list[dict[str, int | None]] = []
        self._numbers: dict[str, int | None] = {}
        self.ports = BridgePorts(f"unix:{ovs.directory}/db.sock", bridge, changed=self._note, patience=patience)

    def _note(self, names: frozenset[str]) -> None:
        numbers = {name: number for name in names if (number := self.ports.number(name)) != self._numbers.get(name)}
        self._numbers |= numbers
        if numbers:
            self.told.append(numbers)

    async def until(self, is_met: Callable[[], object], seconds: float = 10) -> float:
        """Wait until it is met, and give the seconds that it took."""
        begun = time.monotonic()
        while not is_met():
            assert time.monotonic() - begun < seconds, f"not within {seconds} s; told: {self.told}"
            await asyncio.sleep(0.01)
        return time.monotonic() - begun


def scenario(ovs: OpenVSwitch, play: Callable[[Watched], Coroutine[None, None, None]], **more: float) -> None:
    """Play a scenario with the ports followed, once they are known."""

    async def run() -> None:
        watched = Watched(ovs, **more)
        await watched.ports.start()
        try:
            await watched.until(lambda: watched.ports.is_connected)
            await play(watched)
        finally:
            await watched.ports.close()

    asyncio.run(run())


def number_in(ovs: OpenVSwitch, port: str) -> int:
    """The number that ovs-vsctl shows, once vswitchd has given one."""
    return int(ovs.vsctl("wait-until", "interface", port, "ofport!=[]", "--", "get", "interface", port, "ofport"))


def test_a_port_that_comes_is_renumbered_and_goes_is_told_of_each_time(ovs: OpenVSwitch, bridge: str) -> None:
    async def play(watched: Watched) -> None:
        ports = watched.ports
        await watched.until(lambda: ports.number(bridge))
        assert ports.number(bridge) == PORT_LOCAL
        assert ports.datapath_type == "netdev"
        assert ports.bridge_mac is not None and len(ports.bridge_mac) == 6
        watched.told.clear()

        ovs.vsctl("add-port", bridge, "dev-a")
        first = number_in(ovs, "dev-a")
        await watched.until(lambda: ports.number("dev-a") == first)
        await watched.until(lambda: ports.names()["dev-a"].mac is not None)

        ovs.vsctl("set", "interface", "dev-a", "ofport_request=77")
        await watched.until(lambda: ports.number("dev-a") == 77)

        ovs.vsctl("del-port", "dev-a")
        await watched.until(lambda: "dev-a" not in ports.names())
        assert [one["dev-a"] for one in watched.told if one["dev-a"]] == [first, 77]
        assert watched.told[-1] == {"dev-a": None}

    scenario(ovs, play)


def test_a_bridge_that_does_not_exist_is_waited_for_and_named(ovs: OpenVSwitch) -> None:
    async def play(watched: Watched) -> None:
        assert watched.ports.fault == "bridge br-mpls does not exist"
        assert not watched.ports.exists
        with pytest.raises(DataplaneError, match="bridge br-mpls does not exist"):
            await watched.ports.add_port("dev-a")

        ovs.add_bridge("br-mpls")
        await watched.until(lambda: watched.ports.fault is None)

        ovs.vsctl("del-br", "br-mpls")
        await watched.until(lambda: watched.ports.fault == "bridge br-mpls does not exist")
        assert watched.told == [{"br-mpls": PORT_LOCAL}, {"br-mpls": None}]

    scenario(ovs, play)


def test_a_tunnel_is_made_then_kept_then_corrected(ovs: OpenVSwitch, bridge: str) -> None:
    async def play(watched: Watched) -> None:
        made = await watched.ports.ensure_tunnel("mpls_gre", "gre", GRE)
        assert made == number_in(ovs, "mpls_gre")
        assert watched.ports.is_ours("mpls_gre")
        row = ovs.vsctl("get", "interface", "mpls_gre", "_uuid")
        watched.told.clear()

        kept = await watched.ports.ensure_tunnel("mpls_gre", "gre", GRE)
        assert kept == made
        assert watched.told == []

        other = {"remote_ip": "flow", "local_ip": "192.0.2.7"}
        corrected = await watched.ports.ensure_tunnel("mpls_gre", "gre", other)
        assert ovs.vsctl("get", "interface", "mpls_gre", "_uuid") == row
        assert ovs.vsctl("get", "interface", "mpls_gre", "options").strip() == '{local_ip="192.0.2.7", remote_ip=flow}'
        assert corrected == number_in(ovs, "mpls_gre")

        await watched.ports.ensure_tunnel("mpls_gre", "vxlan", {"remote_ip": "flow", "key": "flow"})
        assert ovs.vsctl("get", "interface", "mpls_gre", "type").strip() == "vxlan"

    scenario(ovs, play)


def test_a_tunnel_that_somebody_made_differently_is_corrected_and_one_made_alike_is_not_touched(
    ovs: OpenVSwitch, bridge: str
) -> None:
    def somebody_makes(name: str, local: str) -> None:
        ovs.vsctl(
            *("add-port", bridge, name, "--", "set", "interface", name, "type=gre"),
            *("options:remote_ip=flow", f"options:local_ip={local}"),
        )

    async def play(watched: Watched) -> None:
        somebody_makes("alike", "192.0.2.1")
        somebody_makes("other", "192.0.2.2")
        number = number_in(ovs, "alike")

        assert (
            await watched.ports.ensure_tunnel("alike", "gre", {"remote_ip": "flow", "local_ip": "192.0.2.1"}) == number
        )
        await watched.ports.ensure_tunnel("other", "gre", {"remote_ip": "flow", "local_ip": "192.0.2.3"})

        assert (watched.ports.is_ours("alike"), watched.ports.is_ours("other")) == (False, True)

    scenario(ovs, play)


def test_a_port_that_cannot_work_gives_the_words_of_open_vswitch(ovs: OpenVSwitch, bridge: str) -> None:
    async def play(watched: Watched) -> None:
        with pytest.raises(DataplaneError, match="valid 'remote_ip' argument"):
            await watched.ports.ensure_tunnel("no-remote", "vxlan", {"local_ip": "192.0.2.1"})
        await watched.ports.ensure_tunnel("vx-one", "vxlan", {"remote_ip": "flow", "key": "flow"})
        with pytest.raises(DataplaneError, match="could not add network device vx-two to ofproto"):
            await watched.ports.ensure_tunnel("vx-two", "vxlan", {"remote_ip": "flow", "key": "flow"})
        with pytest.raises(DataplaneError, match=r"port no-device of bridge br-mpls: .*No such device"):
            await watched.ports.add_port("no-device")
        assert watched.ports.names()["no-device"].number is None
        assert "No such device" in (watched.ports.names()["no-device"].error or "")

    scenario(ovs, play)


def test_a_port_whose_device_comes_later_works_then(ovs: OpenVSwitch, bridge: str) -> None:
    async def play(watched: Watched) -> None:
        with pytest.raises(DataplaneError, match="No such device"):
            await watched.ports.add_port("dev-late")
        watched.told.clear()

        namespace = ovs.namespace
        assert namespace is not None
        ip("-n", namespace, "link", "add", "dev-late", "type", "veth", "peer", "name", "dev-late-peer")

        await watched.until(lambda: watched.ports.number("dev-late"))
        assert watched.told == [{"dev-late": watched.ports.number("dev-late")}]
        assert watched.ports.names()["dev-late"].error is None

    scenario(ovs, play)


def test_adding_and_deleting_twice_is_once_and_only_ours_is_deleted(ovs: OpenVSwitch, bridge: str) -> None:
    async def play(watched: Watched) -> None:
        ports = watched.ports
        ovs.vsctl("add-port", bridge, "dev-b")
        theirs = number_in(ovs, "dev-b")

        ours = await ports.add_port("dev-a")
        assert await ports.add_port("dev-a") == ours
        assert await ports.add_port("dev-b") == theirs
        assert ovs.vsctl("get", "port", "dev-a", "external_ids").strip() == "{bagpipe-owner=bagpipe-bgp}"

        for _ in range(2):
            await ports.delete_port("dev-a")
            await ports.delete_port("dev-b")
        await ports.delete_port("never-there")

        assert sorted(ports.names()) == [bridge, "dev-b"]
        assert ovs.vsctl("list-ports", bridge).split() == ["dev-b"]

    scenario(ovs, play)


def test_a_port_of_another_bridge_is_neither_moved_nor_deleted(ovs: OpenVSwitch, bridge: str) -> None:
    async def play(watched: Watched) -> None:
        ovs.vsctl(
            *("--may-exist", "add-br", "br-tun", "--", "set", "bridge", "br-tun", "datapath_type=netdev"),
            *("--", "add-port", "br-tun", "vxlan-c0000207", "--", "set", "interface", "vxlan-c0000207"),
            *("type=vxlan", "options:remote_ip=192.0.2.7", "options:local_ip=192.0.2.1"),
        )
        options = {"remote_ip": "192.0.2.7", "local_ip": "192.0.2.1"}
        theirs = ForeignTunnel("vxlan-c0000207", "br-tun", "vxlan", options)
        await watched.until(lambda: watched.ports.tunnels_elsewhere() == [theirs])

        with pytest.raises(DataplaneError, match="port vxlan-c0000207 is on bridge br-tun, not on br-mpls"):
            await watched.ports.add_port("vxlan-c0000207")
        await watched.ports.delete_port("vxlan-c0000207")

        assert ovs.vsctl("list-ports", "br-tun").split() == ["vxlan-c0000207"]
        ovs.vsctl("del-br", "br-tun")

    scenario(ovs, play)


def test_an_mtu_is_asked_for_and_given_back(ovs: OpenVSwitch, bridge: str) -> None:
    def asked_for() -> str:
        return ovs.vsctl("get", "interface", "dev-a", "mtu_request").strip()

    async def play(watched: Watched) -> None:
        await watched.ports.add_port("dev-a")
        await watched.ports.set_mtu("dev-a", 1450)
        assert asked_for() == "1450"
        await watched.ports.set_mtu("dev-a", None)
        assert asked_for() == "[]"
        with pytest.raises(DataplaneError, match="bridge br-mpls has no port dev-b"):
            await watched.ports.set_mtu("dev-b", 1450)

    scenario(ovs, play)


def test_a_database_that_comes_back_is_followed_again_and_nothing_is_told_that_did_not_change(
    ovs: OpenVSwitch, bridge: str
) -> None:
    async def play(watched: Watched) -> None:
        ports = watched.ports
        number = await ports.add_port("dev-a")
        watched.told.clear()

        ovs.stop_database()
        await watched.until(lambda: not ports.is_connected)
        await watched.until(lambda: ports.fault == f"unix:{ovs.directory}/db.sock: Connection refused")
        assert ports.number("dev-a") == number
        with pytest.raises(Unreachable, match="Connection refused"):
            await ports.add_port("dev-b")

        ovs.start_database()
        assert await watched.until(lambda: ports.is_connected) < 5
        assert ports.fault is None
        assert watched.told == []

        # ovs-vswitchd takes longer than we do to find the database again.
        with contextlib.suppress(NoAnswer):
            await ports.add_port("dev-b")
        await watched.until(lambda: ports.number("dev-b"), 20)
        assert await ports.add_port("dev-b") == number_in(ovs, "dev-b")
        assert watched.told == [{"dev-b": ports.number("dev-b")}]

    scenario(ovs, play, patience=1.5)


def test_a_vswitchd_that_is_away_is_named_and_its_work_is_found_once_it_is_back(ovs: OpenVSwitch, bridge: str) -> None:
    async def play(watched: Watched) -> None:
        ovs.stop_switch()
        with pytest.raises(DataplaneError, match=r"ovs-vswitchd has not put the change in effect within 0\.5 s"):
            await watched.ports.add_port("dev-a")

        ovs.start_switch()
        await watched.until(lambda: watched.ports.number("dev-a"))
        assert await watched.ports.add_port("dev-a") == number_in(ovs, "dev-a")

    scenario(ovs, play, patience=0.5)


def test_a_database_that_is_not_there_costs_no_time_at_start_and_none_at_the_end(tmp_path: Path) -> None:
    async def play() -> None:
        ports = BridgePorts(f"unix:{tmp_path}/nowhere.sock", "br-mpls", changed=lambda names: None, patience=0.3)
        begun = time.monotonic()
        await ports.start()
        assert time.monotonic() - begun < 0.1
        with pytest.raises(Unreachable, match="No such file or directory"):
            await ports.add_port("dev-a")
        assert ports.fault == f"unix:{tmp_path}/nowhere.sock: No such file or directory"

        used = time.process_time()
        await asyncio.sleep(1)
        assert time.process_time() - used < 0.1

        waiting = asyncio.create_task(ports.add_port("dev-a"))
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        await ports.close()
        assert time.monotonic() - begun < 0.5
        with pytest.raises(Unreachable):
            await waiting

    asyncio.run(play())


def test_a_database_that_hangs_is_named_in_time_and_can_be_closed_with_changes_waiting(
    ovs: OpenVSwitch, bridge: str
) -> None:
    async def play(watched: Watched) -> None:
        os.kill(ovs.database_pid, signal.SIGSTOP)
        try:
            changes = (watched.ports.ensure_tunnel(name, "gre", GRE) for name in ("gre-a", "gre-b"))
            begun = time.monotonic()
            outcomes = await asyncio.gather(*changes, return_exceptions=True)
            assert 0.5 < time.monotonic() - begun < 1
            assert ["no answer to a transaction" in str(each) for each in outcomes] == [True, True]

            waiting = [asyncio.create_task(watched.ports.add_port(name)) for name in ("dev-a", "dev-b")]
            await asyncio.sleep(0.05)
            begun = time.monotonic()
            await watched.ports.close()
            assert time.monotonic() - begun < 0.5
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert [isinstance(each, Unreachable) for each in outcomes] == [True, True]
        finally:
            os.kill(ovs.database_pid, signal.SIGCONT)

    scenario(ovs, play, patience=0.6)


def test_two_databases_in_one_process_are_kept_apart(ovs: OpenVSwitch, bridge: str) -> None:
    async def play(watched: Watched) -> None:
        other = Watched(another)
        await other.ports.start()
        try:
            await other.until(lambda: other.ports.number("br-mpls"))
            await asyncio.gather(watched.ports.add_port("dev-a"), other.ports.add_port("dummy-a"))
            assert sorted(watched.ports.names()) == ["br-mpls", "dev-a"]
            assert sorted(other.ports.names()) == ["br-mpls", "dummy-a"]
        finally:
            await other.ports.close()
        assert await watched.ports.add_port("dev-b") == number_in(ovs, "dev-b")

    with tempfile.TemporaryDirectory(prefix="ovsp-") as directory, OpenVSwitch(Path(directory)) as another:
        another.add_bridge("br-mpls")
        scenario(ovs, play)


def test_a_database_of_another_form_is_refused_by_its_name() -> None:
    with pytest.raises(LocalMisuse, match=r"ssl:192\.0\.2\.1:6640"):
        BridgePorts("ssl:192.0.2.1:6640", "br-mpls", changed=lambda names: None)


def test_a_database_is_reached_by_tcp_as_neutron_does() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def play(database: OpenVSwitch) -> None:
        ports = BridgePorts(f"tcp:127.0.0.1:{port}", "br-mpls", changed=lambda names: None)
        await ports.start()
        try:
            for _ in range(500):
                if (number := ports.number("br-mpls")) is not None:
                    break
                await asyncio.sleep(0.01)
            assert number == PORT_LOCAL
            assert await ports.add_port("dummy-a") == number_in(database, "dummy-a")
        finally:
            await ports.close()

    with tempfile.TemporaryDirectory(prefix="ovsp-") as directory, OpenVSwitch(Path(directory)) as database:
        database.add_bridge("br-mpls")
        remote = f"ptcp:{port}:127.0.0.1"
        database.run("ovs-appctl", "-t", f"{directory}/ovsdb-server.ctl", "ovsdb-server/add-remote", remote)
        asyncio.run(play(database))
