"""The commands that attach, explain and draw, as programs of their own, against a real daemon.

Its dataplane is the one that forwards nothing. Ports that are made here are made in a namespace of the test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.openvswitch import OpenVSwitch
from tests.system.running import CLI, DAEMON, ROOT, Program, free_port, get, run

GLASS, DOT, REST = "bagpipe.cli.glass", "bagpipe.cli.impex2dot", "bagpipe.cli.rest_attach"
HERE, THERE = f"bcli{os.getpid()}", f"bcli{os.getpid()}-vm"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    file = tmp_path / "bgp.conf"
    file.write_text(
        f"[BGP]\nlocal_address=127.0.0.1\nmy_as=64512\n[API]\nport={port}\n[COMMON]\nstate_dir={tmp_path}/state\n"
    )
    with Program(DAEMON, "--config-file", str(file), log=tmp_path / "log") as daemon:
        daemon.wait_started()
        yield port


@pytest.fixture
def namespace() -> Iterator[str]:
    subprocess.run(["ip", "netns", "add", HERE], check=True)
    yield HERE
    for name in (HERE, THERE):
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines()}


def bagpipe(api: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(CLI, "--server", f"http://127.0.0.1:{api}", *arguments)


WEB = (
    "web1", "--instance", "net", "--rt", "64512:1", "--port", "tap1", "--mac", "52:54:00:00:00:01",
    "--address", "10.0.0.1/32", "--address", "2001:db8::1/128", "--gateway", "10.0.0.254",
)  # fmt: skip


def test_an_attachment_is_in_effect_listed_explained_audited_and_taken_back(api: int) -> None:
    attached = bagpipe(api, "attach", *WEB)
    listed = bagpipe(api, "instances").stdout
    one = bagpipe(api, "instances", "net").stdout
    explained = bagpipe(api, "explain", "net", "2001:db8::1")
    unknown = bagpipe(api, "explain", "net", "10.9.9.9")
    audited = bagpipe(api, "audit")
    detached = bagpipe(api, "detach", "web1")

    assert (attached.returncode, attached.stdout.partition(",")[0]) == (0, "web1: in-effect")
    assert [row.split()[:2] for row in listed.splitlines()[1:]] == [["net", "ipvpn"]]
    assert one.count("in-effect") == 2
    assert ">  2001:db8::1/128  52:54:00:00:00:01 at tap1" in one
    assert explained.returncode == 0
    assert "Next hop      52:54:00:00:00:01 at tap1" in explained.stdout
    assert "the dummy dataplane forwards nothing" in explained.stdout
    assert (unknown.returncode, "no route covers 10.9.9.9" in unknown.stdout) == (1, True)
    assert audited.returncode == 0
    assert audited.stdout.endswith("records desired, 0 differences\n")
    assert (detached.returncode, detached.stdout) == (0, "web1: removed\n")
    assert bagpipe(api, "instances").stdout == "no VPN instances\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("attach", *WEB, "--rt", "nonsense"), "nonsense"),
        (("attach", *WEB, "--address", "10.0.0.300"), "10.0.0.300"),
        (("attach", *WEB, "--vlan", "4095"), "port.vlan"),
        (("detach", "nobody"), "nobody"),
        (("instances", "nothing"), "nothing"),
        (("explain", "nothing", "10.0.0.1"), "nothing"),
        (("explain", "net", "10.0.0.300"), "10.0.0.300"),
    ],
)
def test_what_the_daemon_refuses_is_one_line_with_the_value_and_changes_nothing(
    api: int, arguments: tuple[str, ...], expected: str
) -> None:
    ended = bagpipe(api, *arguments)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert expected in ended.stderr
    assert get(api, "/v2/attachments")[1] == {"attachments": []}


def test_watching_tells_of_attachments(api: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", CLI, "--server", f"http://127.0.0.1:{api}", "watch", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    ) as watcher:
        assert watcher.stdout is not None
        assert json.loads(watcher.stdout.readline())["event"] == "hello"
        assert bagpipe(api, "attach", *WEB).returncode == 0
        events = iter(watcher.stdout.readline, "")
        told = next(found for line in events if (found := json.loads(line))["event"] == "attachment")
        watcher.terminate()
    assert (told["id"], told["state"]) == ("web1", "in-effect")


def test_the_old_commands_attach_show_draw_and_detach(api: int) -> None:
    server = f"http://127.0.0.1:{api}"
    port = ("--network-type", "ipvpn", "--port", "tap9", "--ip", "10.0.0.1", "--vpn-instance-id", "net")
    steering = (
        "--redirect-rts", "64512:9", "--destination-port", "80", "--protocol", "tcp", "--attract-to-rt", "64512:8",
        "--static-destination-prefix", "10.1.0.0/16",
    )  # fmt: skip

    attached = run(REST, "--server", server, "--attach", *port, "--rt", "64512:1", *steering)
    ports = run(GLASS, "--port", str(api), "vpns", "instances", "net", "ports").stdout
    everything = run(GLASS, "--port", str(api), "-r").stdout
    drawn = run(DOT, "--server", "127.0.0.1", "--port", str(api)).stdout
    wrong = run(REST, "--server", server, "--attach", *port, "--rt", "nonsense")
    detached = run(REST, "--server", server, "--detach", *port)

    assert (attached.returncode, attached.stdout.splitlines()[-1]) == (0, "response: 200 null")
    assert ports.startswith("tap9: \n  endpoints: \n    * label: ")
    assert "ip_address: 10.0.0.1/24" in everything
    assert "target:64512:1" in everything
    for arrow in ("rt__64512_3a_1 -> vpn", '-> rt__64512_3a_9 [style=dotted,label="flows"]', '[label="tap9"'):
        assert arrow in drawn
    assert '-> rt__64512_3a_8 [style=dotted,label="default route"]' in drawn
    assert (wrong.returncode, wrong.stderr) == (1, "error 400\n")
    assert "nonsense" in wrong.stdout
    assert (detached.returncode, run(GLASS, "--port", str(api), "vpns", "instances").stdout) == (0, "-\n")


def test_a_path_of_the_looking_glass_that_is_not_there_is_said(api: int) -> None:
    ended = run(GLASS, "--port", str(api), "no", "such")
    assert ended.returncode == 0
    assert ended.stdout.startswith("No such looking glass path: no such\n")


# ---------------------------------------------------------------------- ports that are made


def rest_attach(api_socket: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run it where the test's namespace is the network; the daemon is reached by its unix socket."""
    return subprocess.run(
        [
            "nsenter", f"--net=/run/netns/{HERE}", sys.executable, "-m", REST, "--server", f"unix:{api_socket}",
            *arguments,
        ],
        capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **({"OVS_RUNDIR": path} if path else {})},
    )  # fmt: skip


@pytest.fixture
def api_socket(tmp_path: Path, namespace: str) -> Iterator[Path]:
    file, socket = tmp_path / "bgp.conf", tmp_path / "api"
    file.write_text(
        f"[BGP]\nlocal_address=127.0.0.1\nmy_as=64512\n[API]\nsocket={socket}\n[COMMON]\nstate_dir={tmp_path}/state\n"
    )
    with Program(DAEMON, "--config-file", str(file), log=tmp_path / "log") as daemon:
        daemon.wait_started()
        yield socket


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False).stdout


def test_a_netns_port_is_made_attached_with_its_mac_and_cleaned_up(api_socket: Path) -> None:
    port = ("--network-type", "ipvpn", "--port", "netns:tovm", "--netns", THERE, "--ip", "2001:db8::5/64")

    attached = rest_attach(api_socket, "--attach", *port)

    link = json.loads(ip("-n", THERE, "-json", "address", "show", "dev", "tovpn"))[0]
    outside = json.loads(ip("-n", HERE, "-json", "link", "show", "tovm"))[0]
    shown = run(CLI, "--server", f"unix:{api_socket}", "instances", "ipvpn-bagpipe-test").stdout
    assert attached.returncode == 0, attached.stderr
    assert (link["mtu"], outside["mtu"]) == (1420, 9000)
    assert "2001:db8::5" in [one["local"] for one in link["addr_info"]]
    assert "default via 2001:db8::ffff:ffff:ffff:ffff dev tovpn" in ip("-n", THERE, "-6", "route")
    assert link["address"] in shown

    detached = rest_attach(api_socket, "--detach", *port)

    assert detached.returncode == 0, detached.stderr
    assert THERE not in namespaces()
    assert "tovm" not in ip("-n", HERE, "link")
    assert run(CLI, "--server", f"unix:{api_socket}", "instances").stdout == "no VPN instances\n"


def test_a_namespace_in_which_something_else_lives_is_kept(api_socket: Path) -> None:
    subprocess.run(["ip", "netns", "add", THERE], check=True)
    subprocess.run(["ip", "-n", THERE, "link", "add", "other", "type", "bridge"], check=True)
    port = ("--network-type", "ipvpn", "--port", "netns", "--netns", THERE, "--if2vpn", "eth7", "--ip", "10.0.0.1")

    assert rest_attach(api_socket, "--attach", *port, "--mac", "52:54:00:00:00:77").returncode == 0
    assert rest_attach(api_socket, "--attach", *port, "--mac", "52:54:00:00:00:77").returncode == 0
    links = json.loads(ip("-n", THERE, "-json", "link"))
    assert {link["ifname"] for link in links} == {"lo", "other", "eth7"}
    assert [link["address"] for link in links if link["ifname"] == "eth7"] == ["52:54:00:00:00:77"]

    assert rest_attach(api_socket, "--detach", *port).returncode == 0
    assert {link["ifname"] for link in json.loads(ip("-n", THERE, "-json", "link"))} == {"lo", "other"}


def test_a_port_is_put_on_a_bridge_first_and_taken_off_again(api_socket: Path, tmp_path: Path) -> None:
    directory = tmp_path / "o"
    directory.mkdir()
    port = ("--network-type", "ipvpn", "--port", "netns:tovm", "--netns", THERE, "--ip", "10.0.0.1", "--ovs-preplug")
    with OpenVSwitch(directory) as switch:
        switch.add_bridge("br-int")

        attached = rest_attach(api_socket, "--attach", *port, path=str(directory))
        ports = switch.vsctl("list-ports", "br-int").split()
        detached = rest_attach(api_socket, "--detach", *port, path=str(directory))

        assert attached.returncode == 0, attached.stderr
        assert '"ovs": {"port_name": "tovm", "plugged": true}' in attached.stdout
        assert ports == ["tovm"]
        assert detached.returncode == 0, detached.stderr
        assert switch.vsctl("list-ports", "br-int").split() == []


def test_a_port_that_cannot_be_made_is_one_line_and_nothing_is_asked(api_socket: Path) -> None:
    port = ("--network-type", "ipvpn", "--port", "netns:an-interface-name-too-long", "--netns", THERE)

    ended = rest_attach(api_socket, "--attach", *port, "--ip", "10.0.0.1")

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "request:" not in ended.stdout
    assert run(CLI, "--server", f"unix:{api_socket}", "instances").stdout == "no VPN instances\n"
