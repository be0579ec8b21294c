"""The devstack plugin: each test of ``plugin.bats``, shellcheck, and the plugin on a host with a real Open vSwitch."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.openvswitch import OpenVSwitch
from tests.system.running import wait_for

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BATS = HERE / "plugin.bats"
SCENARIOS = re.findall(r'^@test "(.+)" \{$', BATS.read_text(), flags=re.MULTILINE)
SCRIPTS = sorted(
    path
    for path in [*(ROOT / "devstack").rglob("*"), *HERE.glob("*.ba*"), *(ROOT / "tools").iterdir()]
    if path.is_file() and (path.suffix in {".bash", ".bats"} or path.read_bytes().startswith(b"#!/usr/bin/env bash"))
)
ATTACH = ["attach", "vm1", "--instance", "blue", "--rt", "64512:10", "--port", "tap1"]
ATTACH += ["--mac", "02:00:00:00:00:01", "--address", "10.0.0.1/32"]
_runs = itertools.count(1)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What bats says of each test: ``ok`` or ``not ok``, and its output for the latter."""
    done = subprocess.run(["bats", "--formatter", "tap", BATS], capture_output=True, text=True, timeout=90, check=False)
    parts = re.split(r"^(ok|not ok) \d+ (.+)\n", done.stdout, flags=re.MULTILINE)[1:]
    return {
        name: verdict + "\n" + said for verdict, name, said in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_plugin_does_in_each_phase_what_it_says(scenario: str, outcomes: dict[str, str]) -> None:
    assert outcomes[scenario].startswith("ok"), outcomes[scenario]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_finds_nothing_in_a_script(script: Path) -> None:
    # In tests a variable is set for what is sourced, and each test is a subshell.
    more = ["--severity=warning", "--exclude=SC2034"] if script.is_relative_to(HERE) else []
    done = subprocess.run(
        ["shellcheck", "-x", "-P", ROOT, *more, script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with an interface ``wire``, to whose other end ``beyond`` has 192.0.2.254, and an Open vSwitch."""

    namespace: str
    beyond: str
    ovs: OpenVSwitch
    run: Path

    def do(self, *argv: str, **environment: str) -> str:
        """Run a command on the host; its failure is an AssertionError."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *argv],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "OVS_RUNDIR": str(self.ovs.directory), **environment},
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout

    def plugin(self, *phase: str, **local_conf: str) -> str:
        """Call the plugin with what local.conf says."""
        said = {
            "ENABLED_SERVICES": "q-agt,b-fakerr",
            "HOST_IP": "192.0.2.11",
            "SERVICE_HOST": "192.0.2.11",
            "BAGPIPE_DATAPLANE_DRIVER_IPVPN": "ovs",
            "OVS_DATAPATH_TYPE": "netdev",
            "Q_PLUGIN_CONF_FILE": str(self.run / "ml2_conf.ini"),
        }
        here = {"RUN": str(self.run), "BIN": str(Path(sys.executable).parent), "STACK_USER": "root"}
        return self.do("bash", str(HERE / "real.bash"), *phase, **here, DEST=str(self.run), **{**said, **local_conf})

    def bagpipe(self, *argv: str) -> object:
        """What the command says as JSON."""
        return json.loads(self.do(str(Path(sys.executable).parent / "bagpipe"), *argv, "--json"))

    def addresses(self, interface: str) -> list[str]:
        """The global addresses of an interface."""
        shown = self.do("ip", "-o", "address", "show", "dev", interface, "scope", "global").splitlines()
        return sorted(line.split()[3] for line in shown)

    def mac(self, interface: str) -> str:
        (shown,) = json.loads(self.do("ip", "-j", "link", "show", "dev", interface))
        return str(shown["address"])

    def pings(self, address: str) -> int:
        """How many echo requests out of three get an answer, each counted once."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", address],
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"(\d+) received(, \+\d+ duplicates)?", done.stdout)
        assert found is not None, done.stderr
        return int(found[1]) if not found[2] else -1


@pytest.fixture
def host() -> Iterator[Host]:
    names = [f"devst{os.getpid()}-{next(_runs)}{end}" for end in ("", "b")]
    with contextlib.ExitStack() as held:
        directory = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="devst-")))
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            held.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
            subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        wire = ["link", "add", "wire", "netns", names[0], "type", "veth", "peer", "name", "wire", "netns", names[1]]
        subprocess.run(["ip", *wire], check=True)
        for name, number in zip(names, (11, 254), strict=True):
            for address in (f"192.0.2.{number}/24", f"2001:db8::{number}/64"):
                more = ["nodad"] if ":" in address else []
                subprocess.run(["ip", "-n", name, "address", "add", address, "dev", "wire", *more], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", "wire", "up"], check=True)
            subprocess.run(["ip", "netns", "exec", name, "ethtool", "-K", "wire", "tx", "off"], check=True)
        (directory / "ovs").mkdir()
        ovs = held.enter_context(OpenVSwitch(directory / "ovs", names[0]))
        made = Host(names[0], names[1], ovs, directory)
        made.do("ip", "route", "add", "default", "via", "192.0.2.254")
        made.do("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.253")
        held.callback(_end, directory)
        yield made


def _end(directory: Path) -> None:
    for file in directory.glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text()), 9)


def test_one_host_from_stack_to_clean_with_a_real_switch_daemon_and_reflector(host: Host) -> None:
    # given stack.sh has run, all-in-one: the daemon's neighbour is the reflector on the same host
    for phase in ("pre-install", "install", "post-config", "extra"):
        host.plugin("stack", phase)

    # then the bridge is there as the daemon and the agent want it, and the session is up
    bridge = json.loads(host.ovs.vsctl("--format=json", "--columns=fail_mode,protocols", "list", "bridge", "br-mpls"))
    assert bridge["data"] == [["secure", ["set", ["OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"]]]]
    assert "bagpipe_bgp_port = 8082" in (host.run / "ml2_conf.ini").read_text()
    established = wait_for(
        lambda: [peer for peer in host.bagpipe("peers")["peers"] if peer["state"] == "established"],  # type: ignore[index]
        "the session with the reflector",
    )
    assert [peer["address"] for peer in established] == ["192.0.2.11"]

    # when a port is attached, its flows are on the bridge
    host.do("ip", "link", "add", "tap1", "type", "veth", "peer", "name", "vm1")
    host.ovs.vsctl("add-port", "br-mpls", "tap1")
    assert host.bagpipe(*ATTACH)["state"] == "in-effect"  # type: ignore[index]
    assert "mpls" in host.ovs.ofctl("dump-flows", "br-mpls")

    # when unstack.sh and clean.sh run, nothing is left
    host.plugin("unstack")
    host.plugin("clean")
    assert "br-mpls" not in host.ovs.vsctl("list-br").split()
    assert not (host.run / "etc").exists()
    assert not (host.run / "data" / "bagpipe-bgp").exists()
    assert not list(host.run.glob("*.pid"))

    # and clean.sh may run again
    host.plugin("clean")


def test_an_interface_moves_into_the_bridge_and_back_and_the_host_stays_reachable(host: Host) -> None:
    before = host.addresses("wire")
    routes = host.do("ip", "route", "show").replace("dev wire", "dev X")
    assert before == ["192.0.2.11/24", "2001:db8::11/64"]
    mac = host.mac("wire")
    local_conf = {"BAGPIPE_MPLS_IFACE": "wire"}

    # when stack.sh runs, twice, as one does who has changed local.conf
    for _ in range(2):
        host.plugin("stack", "post-config", **local_conf)

        # then the addresses are the bridge's, under another MAC, and each packet gets one answer
        assert host.addresses("br-mpls") == before
        assert host.addresses("wire") == []
        assert host.do("ip", "route", "show").replace("dev br-mpls", "dev X") == routes
        assert host.mac("wire") == mac != host.mac("br-mpls")
        assert wait_for(lambda: host.pings("192.0.2.254"), "an answer") == 3
        assert wait_for(lambda: host.pings("2001:db8::254"), "an answer") == 3

    # and the daemon takes it for MPLS on Ethernet
    host.plugin("stack", "extra", **local_conf)
    host.do("ip", "link", "add", "tap1", "type", "veth", "peer", "name", "vm1")
    host.ovs.vsctl("add-port", "br-mpls", "tap1")
    assert host.bagpipe(*ATTACH)["state"] == "in-effect"  # type: ignore[index]
    assert host.pings("192.0.2.254") == 3

    # when unstack.sh runs, without the variable, all is as it was
    host.plugin("unstack")
    assert host.addresses("wire") == before
    assert host.do("ip", "route", "show").replace("dev wire", "dev X") == routes
    assert host.do("sysctl", "-n", "net/ipv4/conf/wire/arp_ignore").strip() == "0"
    assert host.pings("192.0.2.254") == 3
    assert host.ovs.vsctl("list-br").split() == []
