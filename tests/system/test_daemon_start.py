"""bagpipe-bgp starts, or says in one line why not; and it ends."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from bagpipe.cli.client import Client
from bagpipe.daemon.socket_options import authentication_available
from tests.system.running import DAEMON, Program, address, free_port, get, peer_states, run, wait_for

HERE = "[BGP]\nlocal_address=127.0.0.1\n"
GOOD = "[BGP]\nlocal_address=127.0.0.1\nmy_as=64512\n"
QUIET = "[API]\nenabled=False\n"

# What is written, and what the one line has to say beside the file.
WRONG = {
    "nothing": ("", "[BGP] local_address"),
    "no AS": ("[BGP]\nlocal_address=127.0.0.1\n", "[BGP] my_as: is required"),
    "AS is no number": (HERE + "my_as=nonsense\n", "[BGP] my_as = nonsense: not a whole number"),
    "AS too large": (HERE.lower() + "my_as=4294967296\n", "my_as = 4294967296: not in 1 to 4294967295"),
    "AS 0": ("[BGP]\nlocal_address=127.0.0.1\nmy_as=0\n", "my_as = 0"),
    "no such interface": ("[BGP]\nlocal_address=nonesuch0\nmy_as=1\n", "[BGP] local_address = nonesuch0"),
    "IPv6 without router id": ("[BGP]\nlocal_address=::1\nmy_as=1\n", "[BGP] router_id: is required"),
    "bad peer": (GOOD + "peers=10.0.0.1,10.0.0.300\n", "'10.0.0.300' is neither an address nor a host name"),
    "bad port": (GOOD + "bgp_port=99999\n", "[BGP] bgp_port = 99999"),
    "bad boolean": (GOOD + "enable_rtc=perhaps\n", "[BGP] enable_rtc = perhaps"),
    "bad hold time": (GOOD + "hold_time=2\n", "[BGP] hold_time = 2: neither 0 nor in 3 to 65535"),
    "bad retention": (GOOD + "retain_routes=sometimes\n", "[BGP] retain_routes = sometimes"),
    "bad router id": (GOOD + "router_id=1.2.3\n", "[BGP] router_id = 1.2.3"),
    "router id 0": (GOOD + "router_id=0.0.0.0\n", "[BGP] router_id = 0.0.0.0"),
    "bad listen": (GOOD + "listen=here\n", "[BGP] listen = here"),
    "range with host bits": (GOOD + "listen_ranges=10.0.0.1/8\n", "[BGP] listen_ranges = 10.0.0.1/8"),
    "range without listen": (GOOD + "listen_ranges=10.0.0.0/8\n", "needs [BGP] listen"),
    "foreign listen": (GOOD + "listen=192.0.2.77\nlisten_port=1790\n", "[BGP] listen: 192.0.2.77 port 1790"),
    "API port 0": (GOOD + "[API]\nport=0\n", "[API] port = 0"),
    "API port by its old name": (GOOD + "[API]\napi_port=http\n", "[API] api_port = http: not a whole number"),
    "API host": (GOOD + "[API]\nhost=no.such.host.invalid\n", "[API] host = no.such.host.invalid"),
    "API socket": (GOOD + "[API]\nsocket=/nonexistent/a.sock\n", "[API] /nonexistent/a.sock"),
    "driver": (GOOD + "[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver=magic\n", "dataplane_driver = magic: no such driver"),
    "driver of the other kind": (
        GOOD + "[DATAPLANE_DRIVER_EVPN]\ndataplane_driver=mpls_ovs_dataplane.MPLSOVSDataplaneDriver\n",
        "no such driver",
    ),
    "GRE": (GOOD + "[DATAPLANE_DRIVER_IPVPN]\nmpls_over_gre=maybe\n", "mpls_over_gre = maybe"),
    "hash": (GOOD + "[DATAPLANE_DRIVER_IPVPN]\nhash_method=md5\n", "hash_method = md5"),
    "carried by": (GOOD + "[DATAPLANE_DRIVER_IPVPN]\ncarried_by=evpn,mpls\n", "carried_by = evpn,mpls"),
    "EVPN without VXLAN": (
        GOOD + "[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver=ovs\ncarried_by=evpn\n",
        "carried_by: 'evpn': needs VXLAN",
    ),
    "router's MAC": (GOOD + "[DATAPLANE_DRIVER_IPVPN]\nrouter_mac=zz\n", "router_mac = zz"),
    "same tables": (GOOD + "[DATAPLANE_DRIVER_IPVPN]\ninput_table=1\n", "must differ from input_table"),
    "next hop": (GOOD + "[DATAPLANE_DRIVER_EVPN]\ndataplane_local_address=nope0\n", "dataplane_local_address = nope0"),
    "VXLAN port": (GOOD + "[DATAPLANE_DRIVER_EVPN]\nvxlan_dst_port=x\n", "vxlan_dst_port = x"),
    "peer's AS": (GOOD + "[PEER 10.0.0.1]\nas=0\n", "[PEER 10.0.0.1] as = 0"),
    "empty password": (GOOD + "[PEER 10.0.0.1]\npassword=\n", "[PEER 10.0.0.1] password"),
    "long password": (GOOD + f"[PEER 10.0.0.1]\npassword={'x' * 81}\n", "81 octets, 1 to 80 allowed"),
    "password file": (GOOD + "[PEER 10.0.0.1]\npassword_file=/nonexistent\n", "password_file = /nonexistent: No such"),
    "two keys": (GOOD + "[PEER 10.0.0.1]\npassword=x\npassword_file=/y\n", "password_file"),
    "misspelt option": (GOOD + "[PEER 10.0.0.1]\npasword=x\n", "[PEER 10.0.0.1] pasword = ***: no such option"),
    "key for a name": (GOOD + "[PEER rr.example]\npassword=x\n", "[PEER rr.example]"),
    "passive without listen": (GOOD + "[PEER 10.0.0.1]\nmode=passive\n", "mode = passive: a passive peer needs"),
    "mode": (GOOD + "[PEER 10.0.0.1]\nmode=eager\n", "[PEER 10.0.0.1] mode = eager"),
    "family": (GOOD + "[PEER 10.0.0.1]\nfamilies=vpnv5\n", "'vpnv5' is no address family"),
    "hops": (GOOD + "[PEER 10.0.0.1]\nttl_security=255\n", "ttl_security = 255: not in 1 to 254"),
    "hops twice": (GOOD + "[PEER 10.0.0.1]\nttl_security=1\nmultihop=2\n", "[PEER 10.0.0.1] multihop = 2"),
    "source": (GOOD + "[PEER 10.0.0.1]\nsource_address=::1\n", "source_address = ::1: not the IP version"),
    "limit": (GOOD + "[PEER 10.0.0.1]\nmaximum_prefixes=-1\n", "maximum_prefixes = -1"),
    "prefix": (GOOD + "listen=127.0.0.1\n[PEER 10.0.0.1/33]\n", "[PEER 10.0.0.1/33]"),
    "port of a range": (GOOD + "listen=127.0.0.1\n[PEER 10.0.0.0/8]\nport=1\n", "has no meaning for a range"),
    "section not closed": ("[BGP\n", "Invalid section"),
    "no assignment": ("[BGP]\nmy_as\n", "No ':' or '=' found"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_value_ends_the_start_with_one_line_that_says_where_and_what(name: str, tmp_path: Path) -> None:
    written, expected = WRONG[name]
    file = tmp_path / "bgp.conf"
    file.write_text(written)

    ended = run(DAEMON, "--config-file", str(file))

    lines = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("bagpipe-bgp: ")
    assert expected in lines[0]
    assert ended.stdout == ""


def test_a_secret_is_not_shown_in_a_complaint(tmp_path: Path) -> None:
    file = tmp_path / "bgp.conf"
    file.write_text(GOOD + f"[PEER 10.0.0.1]\npassword=hidden{'x' * 80}\n")

    ended = run(DAEMON, "--config-file", str(file))

    assert "hidden" not in ended.stderr
    assert ended.returncode == 1


def test_a_file_that_is_not_there_is_one_line_too(tmp_path: Path) -> None:
    ended = run(DAEMON, "--config-file", str(tmp_path / "none.conf"))

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "none.conf" in ended.stderr


def test_tcp_ao_on_a_kernel_without_it_names_the_option(tmp_path: Path) -> None:
    file = tmp_path / "bgp.conf"
    file.write_text(GOOD + QUIET + "[PEER 127.0.0.9]\ntcp_ao_key=secret\nport=1\n")
    if authentication_available():
        with Program(DAEMON, "--config-file", str(file), log=tmp_path / "log") as daemon:
            assert daemon.wait_started().process.poll() is None
        return

    ended = run(DAEMON, "--config-file", str(file))

    assert ended.returncode == 1
    assert "[PEER 127.0.0.9] tcp_ao_key = ***: this kernel has no TCP-AO" in ended.stderr


@pytest.mark.parametrize("which", ["API", "BGP"])
def test_a_port_in_use_ends_the_start_with_one_line(which: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        file = tmp_path / "bgp.conf"
        more = f"[API]\nport={port}\n" if which == "API" else f"listen=127.0.0.1\nlisten_port={port}\n" + QUIET
        file.write_text(GOOD + more)

        ended = run(DAEMON, "--config-file", str(file))

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert f"port {port}: Address already in use" in ended.stderr


def test_a_file_of_the_reference_implementation_is_read_unchanged(tmp_path: Path) -> None:
    # given old names, lower-case sections, an obsolete section, old driver names, and the log file mistaken
    port = free_port()
    file = tmp_path / "bgp.conf"
    file.write_text(
        f"""
[bgp]
local_address=lo
peers=-
my_as=64512
enable_rtc=True
[API]
api_host=localhost
api_port={port}
[common]
root_helper = sudo /usr/bin/bagpipe-rootwrap /etc/bagpipe-bgp/rootwrap.conf
root_helper_daemon =
[DATAPLANE_DRIVER]
dataplane_driver = old
[DATAPLANE_DRIVER_IPVPN]
dataplane_driver = bagpipe.bgp.vpn.ipvpn.mpls_ovs_dataplane.MPLSOVSDataplaneDriver
mpls_interface=*gre*
mpls_over_gre=False
ovs_bridge=br-mpls
gre_tunnel_options=packet_type=legacy_l3
hash_fields=ip_src,ip_dst
[DATAPLANE_DRIVER_EVPN]
dataplane_driver = linux_vxlan.LinuxVXLANDataplaneDriver
vxlan_dst_port=4789
"""
    )

    with Program(
        DAEMON, "--config-file", str(file), "--log-file", "/etc/bagpipe-bgp/bgp.conf", log=tmp_path / "log"
    ) as daemon:
        daemon.wait_started()
        status, shown = get(port, "/looking-glass/config")

        # then it runs, with warnings for what has no meaning any more
        assert status == 200
        assert shown["DATAPLANE_DRIVER_IPVPN"]["dataplane_driver"] == "ovs"
        assert shown["DATAPLANE_DRIVER_IPVPN"]["gre_tunnel_options"] == ["packet_type=legacy_l3"]
        assert shown["DATAPLANE_DRIVER_EVPN"]["dataplane_driver"] == "linux"
        assert "--log-file /etc/bagpipe-bgp/bgp.conf ignored" in daemon.text
        assert "[DATAPLANE_DRIVER] is obsolete" in daemon.text
        assert get(port, "/looking-glass/")[1]["summary"]["BGP_established_peers"] == 0


def test_it_starts_with_nothing_reachable_and_keeps_answering(tmp_path: Path) -> None:
    # given peers that refuse, that cannot be routed to, and a name that does not resolve
    port = free_port()
    file = tmp_path / "bgp.conf"
    file.write_text(
        f"[BGP]\nlocal_address={address(2)}\nmy_as=64512\nbgp_port={free_port()}\n"
        f"peers={address(1)},192.0.2.1,no-such-host.invalid\n[API]\nport={port}\n"
    )
    with Program(DAEMON, "--config-file", str(file), log=tmp_path / "log") as daemon:
        daemon.wait_started()

        # then it runs, answers, and ends in time though a lookup may hang
        states = peer_states(port)
        assert set(states) == {address(1), "192.0.2.1", "no-such-host.invalid"}
        assert "established" not in states.values()
        assert get(port, "/v2/health")[1]["status"] == "degraded"
        assert "Traceback" not in daemon.text
        status, seconds = daemon.end()
        assert status == 0
        assert seconds < 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_is_obeyed_within_two_seconds(number: signal.Signals, tmp_path: Path) -> None:
    file = tmp_path / "bgp.conf"
    file.write_text(GOOD + QUIET)
    with Program(DAEMON, "--config-file", str(file), log=tmp_path / "log") as daemon:
        daemon.wait_started()
        status, seconds = daemon.end(number)

    assert status == 0
    assert seconds < 2


def test_systemd_hears_ready_alive_reloading_and_stopping(tmp_path: Path) -> None:
    file = tmp_path / "bgp.conf"
    file.write_text(GOOD + QUIET)
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(10)
        said: list[str] = []

        def hear(word: str) -> bool:
            while not any(word in text for text in said):
                said.append(systemd.recv(4096).decode())
            return True

        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}
        with Program(DAEMON, "--config-file", str(file), log=tmp_path / "log", environment=environment) as daemon:
            assert hear("READY=1")
            assert hear("WATCHDOG=1")
            said.clear()
            daemon.process.send_signal(signal.SIGHUP)
            assert hear("RELOADING=1")
            assert hear("READY=1")
            daemon.process.send_signal(signal.SIGTERM)
            assert hear("STOPPING=1")


def test_at_rest_it_is_small_and_idle(tmp_path: Path) -> None:
    # given a daemon whose API is on but not asked
    file = tmp_path / "bgp.conf"
    file.write_text(GOOD + f"[API]\nport={free_port()}\n")
    with Program(DAEMON, "--config-file", str(file), log=tmp_path / "log") as daemon:
        daemon.wait_started()
        time.sleep(0.5)
        ticks = os.sysconf("SC_CLK_TCK")
        before = _cpu(daemon.process.pid)
        time.sleep(2)

        assert daemon.resident < 35_000_000
        assert (_cpu(daemon.process.pid) - before) / ticks < 0.1


def _cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_the_api_can_be_on_a_unix_socket_that_a_dead_process_left(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    file = tmp_path / "bgp.conf"
    file.write_text(GOOD + f"[API]\nsocket={path}\n")
    with Program(DAEMON, "--config-file", str(file), log=tmp_path / "first") as daemon:
        daemon.wait_started()
        daemon.process.kill()
        daemon.process.wait()
    assert path.exists()

    with Program(DAEMON, "--config-file", str(file), log=tmp_path / "second") as daemon:
        daemon.wait_started()
        assert Client(f"unix:{path}").get("/v2/peers") == {"peers": []}
        refused = run(DAEMON, "--config-file", str(file))
        assert refused.returncode == 1
        assert "another program serves this socket" in refused.stderr
        status, _ = daemon.end()
        assert status == 0
    wait_for(lambda: not path.exists(), "the socket is gone")
