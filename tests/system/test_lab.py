"""The labs come up with real sessions and packets, tell what the programs know, and leave nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bagpipe.lab.scenario import NODE1, NODE2
from tests.system.running import wait_for

NAME = f"bagpipe-labtest-{os.getpid()}"


def lab(*verb: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bagpipe.lab", *verb],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "BAGPIPE_LAB": NAME, "COLUMNS": "200"},
    )
    return done.stdout + done.stderr


@pytest.fixture
def story() -> Iterator[str]:
    yield lab("bgp")
    lab("down")


def namespaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(f"{NAME}-")]


def processes() -> list[str]:
    """The command lines of all processes that name the lab."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{NAME}/" in command or f"{NAME}-" in command:
            found.append(command)
    return found


def test_the_lab_shows_peers_and_routes_of_real_sessions(story: str) -> None:
    kept, _, rest = story.partition(f"\n{NODE2.host.name}, ")
    kept = kept.partition(f"\n{NODE1.host.name}, ")[2]
    nothing_held = rest.partition("What GoBGP says")[0]

    assert kept.count("established") == 1
    for route in ("10.1.0.0/24", "10.1.7.9/32", "2001:db8:1::/48", "02:00:00:00:00:01", "originator 10.99.3.2"):
        assert route in kept, story
        assert route not in nothing_held
    assert "established" in nothing_held


def test_the_lab_leaves_neither_namespaces_nor_processes_nor_files() -> None:
    lab("bgp")
    assert len(namespaces()) == 4

    assert lab("down") == ""

    assert namespaces() == []
    assert not (Path("/run") / NAME).exists()
    assert "no lab is up" in lab("show")


@pytest.fixture(params=["mpls", "mpls-gre", "vxlan"])
def encapsulation(request: pytest.FixtureRequest) -> Iterator[str]:
    yield str(request.param)
    lab("down")


WIRE = {
    "mpls": r"^ +[\d:.]+ MPLS \(label (\d+), tc 0, \[S\], ttl 63\) IP6? \S+ > \S+: ICMP",
    "mpls-gre": r"^ +[\d:.]+ IP 10\.98\.0\.\d > 10\.98\.0\.\d: GREv0, length \d+: MPLS \(label (\d+), .* ICMP",
    "vxlan": r"^ +[\d:.]+ IP 10\.98\.0\.\d.* VXLAN, flags \[I\] \(0x08\), vni (\d+) IP6? \S+ > \S+: ICMP",
}
"""How a ping looks between the hosts; the group is the label."""


def test_machines_of_two_vpns_reach_each_other_and_nobody_across_with_labels_on_the_wire(encapsulation: str) -> None:
    story = lab("speaker", "--encapsulation", encapsulation)

    pings = re.findall(r"^ +(\w+) +→ (\S+) +3 of 3 answered by (\w+), .*; nothing arrived", story, re.MULTILINE)
    assert pings == [
        (f"{vpn}{here}", address, f"{vpn}{there}")
        for vpn in ("blue", "red")
        for here, there in ((1, 2), (2, 1))
        for address in (f"10.{there}.0.2", f"fd00:{there}::2")
    ], story
    assert re.search(r"^ +red1 +→ 10\.66\.0\.1 +3 of 3 answered$", story, re.MULTILINE)
    assert re.search(r"^ +blue1 +→ 10\.66\.0\.1 +no answer", story, re.MULTILINE)
    labels = re.findall(WIRE[encapsulation], story, re.MULTILINE)
    assert len(labels) == 8
    assert len(set(labels)) == 4, "a label for each VPN and version"
    assert "Nothing is missing." in story
    whole = re.search(r"^\[ *([\d.]+) s\] All of this works", story, re.MULTILINE)
    assert whole is not None
    assert float(whole[1]) < 30


def reaches(namespace: str, address: str) -> bool:
    ping = ["ip", "netns", "exec", namespace, "ping", "-n", "-q", "-c", "1", "-W", "1", address]
    return subprocess.run(ping, capture_output=True, timeout=20, check=False).returncode == 0


@pytest.fixture
def guest() -> Iterator[str]:
    """The name of a namespace that is not there yet."""
    name = f"{NAME}-guest"
    lab("speaker")
    yield name
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    lab("down")


def test_a_namespace_that_bagpipe_rest_attach_makes_reaches_the_machines_of_its_vpn(guest: str) -> None:
    command = [
        "nsenter", f"--net=/run/netns/{NAME}-compute1", sys.executable, "-m", "bagpipe.cli.rest_attach",
        "--network-type", "ipvpn", "--port", "netns:guest", "--netns", guest, "--ip", "10.9.0.9/24",
        "--vpn-instance-id", "blue", "--rt", "64512:10",
    ]  # fmt: skip
    attached = subprocess.run([*command, "--attach"], capture_output=True, text=True, timeout=60, check=False)
    assert attached.returncode == 0, attached.stderr

    for address in ("10.1.0.2", "10.2.0.2"):
        wait_for(partial(reaches, guest, address), f"an answer from {address}")
    detached = subprocess.run([*command, "--detach"], capture_output=True, text=True, timeout=60, check=False)

    assert detached.returncode == 0, detached.stderr
    assert guest not in namespaces()


def test_the_lab_with_open_vswitch_shows_itself_and_leaves_nothing() -> None:
    lab("speaker")
    shown = lab("show")
    assert len(namespaces()) == 8
    assert any("ovs-vswitchd" in command for command in processes())

    assert lab("down") == ""

    assert shown.count("records desired, 0 differences") == 2
    assert shown.count("established") == 2
    assert namespaces() == []
    assert processes() == []
    assert not (Path("/run") / NAME).exists()
