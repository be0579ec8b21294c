"""bagpipe-fakerr: clients come, hear each other, and go."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.system.running import (
    DAEMON,
    NOTIFICATION,
    OPEN,
    REFLECTOR,
    UPDATE,
    Program,
    Talker,
    address,
    free_port,
    get,
    open_message,
    peer_states,
    prefixes_in,
    run,
    vpnv4_update,
    wait_for,
)


def start(tmp_path: Path, port: int, *more: str) -> Program:
    arguments = ("--listen", address(1), "--port", str(port), *more)
    return Program(REFLECTOR, *arguments, log=tmp_path / "reflector").wait_started()


def client(host: int, port: int, **more: int) -> Talker:
    return Talker(address(host), (address(1), port), **more)


def packed(*numbers: int) -> set[bytes]:
    return {(0x0A000000 + number).to_bytes(4) for number in numbers}


def test_what_one_client_says_all_others_hear_and_a_late_one_too(tmp_path: Path) -> None:
    port = free_port()
    with start(tmp_path, port), client(11, port) as one, client(12, port) as two, client(13, port) as three:
        for talker in (one, two, three):
            talker.establish()
        one.send(vpnv4_update(address(11), [1, 2, 3]))
        two.send(vpnv4_update(address(12), [4]))

        assert prefixes_in(two.updates()) == packed(1, 2, 3)
        assert prefixes_in(three.updates()) == packed(1, 2, 3, 4)
        assert prefixes_in(one.updates()) == packed(4)
        with client(14, port) as late:
            assert prefixes_in(late.establish().updates()) == packed(1, 2, 3, 4)


def test_reflected_routes_carry_originator_and_cluster_list(tmp_path: Path) -> None:
    port = free_port()
    with (
        start(tmp_path, port, "--cluster-id", "192.0.2.77", "--router-id", "192.0.2.78"),
        client(11, port) as one,
        client(12, port) as two,
    ):
        one.establish()
        two.establish()
        one.send(vpnv4_update(address(11), [1]))
        body = next(body for body in two.updates() if prefixes_in([body]))

        assert b"\x80\x09\x04" + socket.inet_aton(address(11)) in body
        assert b"\x80\x0a\x04" + socket.inet_aton("192.0.2.77") in body


def test_the_routes_of_a_client_that_leaves_are_withdrawn_and_it_is_forgotten(tmp_path: Path) -> None:
    port, api = free_port(), free_port()
    with start(tmp_path, port, "--api", f"127.0.0.1:{api}") as reflector, client(12, port) as two:
        two.establish()
        with client(11, port) as one:
            one.establish()
            one.send(vpnv4_update(address(11), [1]))
            assert prefixes_in(two.updates()) == packed(1)
            assert set(peer_states(api)) == {address(11), address(12)}

        # MP_UNREACH_NLRI with the route's key, after two lengths and the flags
        body = two.until(UPDATE)
        assert body[5] == 15
        assert (0x0A000001).to_bytes(4) in body
        wait_for(lambda: set(peer_states(api)) == {address(12)}, "the client is forgotten")
        assert get(api, "/v2/counts")[1]["paths"].get("vpnv4", 0) == 0
        assert "Traceback" not in reflector.text


def test_many_clients_come_and_go_and_nothing_is_left_of_them(tmp_path: Path) -> None:
    port, api = free_port(), free_port()
    with start(tmp_path, port, "--api", f"127.0.0.1:{api}") as reflector:
        assert get(api, "/v2/peers")[1] == {"peers": []}
        for _ in range(3):
            talkers = [client(host, port) for host in range(11, 61)]
            for talker in talkers:
                talker.establish()
            assert len(peer_states(api)) == 50
            for talker in talkers:
                talker.socket.close()
            wait_for(lambda: not peer_states(api), "no client")
        descriptors = len(os.listdir(f"/proc/{reflector.process.pid}/fd"))
        assert descriptors < 20


def test_two_daemons_meet_at_the_reflector(tmp_path: Path) -> None:
    port = free_port()
    apis = free_port(), free_port()
    with start(tmp_path, port) as reflector:
        daemons = []
        try:
            for number, api in enumerate(apis):
                file = tmp_path / f"{number}.conf"
                file.write_text(
                    f"[BGP]\nlocal_address={address(11 + number)}\npeers={address(1)}\nmy_as=64512\n"
                    f"bgp_port={port}\nhold_time=180\n[API]\nport={api}\n"
                )
                daemons.append(Program(DAEMON, f"--config-file={file}", log=tmp_path / f"{number}.log"))
            for api in apis:
                wait_for(lambda api=api: peer_states(api) == {address(1): "established"}, "a session")
            wait_for(lambda: reflector.text.count("session up") == 2, "both sessions")
        finally:
            for daemon in daemons:
                daemon.__exit__(None, None, None)


def test_a_client_out_of_the_ranges_is_closed_at_once(tmp_path: Path) -> None:
    port = free_port()
    with start(tmp_path, port, "--clients", f"{address(16)}/28") as reflector:
        with client(11, port) as outside:
            assert outside.receive() is None
        with client(17, port) as inside:
            assert inside.until(OPEN)
        assert "not" not in reflector.text or "refused" in reflector.text


def test_no_more_clients_than_allowed_are_served(tmp_path: Path) -> None:
    port = free_port()
    with start(tmp_path, port, "--max-clients", "2") as reflector:
        with client(11, port) as one, client(12, port) as two, client(13, port) as three:
            one.establish()
            two.establish()
            assert three.receive() is None
        assert reflector.process.poll() is None


def test_a_client_of_another_as_is_told_so(tmp_path: Path) -> None:
    port = free_port()
    with start(tmp_path, port, "--as", "65010") as reflector, client(11, port) as one:
        one.send(open_message(address(11), 64512))
        assert one.until(NOTIFICATION)[:2] == b"\x02\x02"
        assert reflector.process.poll() is None


def test_a_client_that_is_frozen_keeps_nobody_waiting_and_costs_no_memory(tmp_path: Path) -> None:
    # given three clients, of which one, a real daemon, is stopped while routes come
    port, api = free_port(), free_port()
    file = tmp_path / "frozen.conf"
    file.write_text(
        f"[BGP]\nlocal_address={address(13)}\npeers={address(1)}\nmy_as=64512\nbgp_port={port}\n"
        "retain_routes=always\n[API]\nenabled=False\n"
    )
    count, rounds = 5_000, 30
    with (
        start(tmp_path, port, "--api", f"127.0.0.1:{api}") as reflector,
        Program(DAEMON, f"--config-file={file}", log=tmp_path / "frozen") as frozen,
        client(11, port) as one,
        client(12, port) as two,
    ):
        frozen.wait_logged("session up")
        frozen.process.send_signal(signal.SIGSTOP)
        one.establish()
        two.establish()

        def round_of(label: int) -> float:
            """Announce all routes with this label, each in an UPDATE; the seconds until the other client has them."""
            begin = time.monotonic()
            heard: set[bytes] = set()
            for first in range(0, count, 500):
                numbers = range(first, first + 500)
                one.send(*(vpnv4_update(address(11), [n], label=label, preference=n) for n in numbers))
                heard |= prefixes_in(two.updates(0.001))
            while len(heard) < count:
                heard |= prefixes_in([two.until(UPDATE)])
            return time.monotonic() - begin

        def updates_sent() -> dict[str, int]:
            return {peer["name"]: peer["messages_sent"]["update"] for peer in get(api, "/v2/peers")[1]["peers"]}

        round_of(100)
        before = reflector.resident

        # when all routes change again and again, more than the socket buffers of both sides hold
        slowest = max(round_of(101 + number) for number in range(rounds))

        # then the other client hears them all in time, and the reflector does not grow
        assert slowest < 10
        assert reflector.resident - before < 8_000_000
        assert len(reflector.text.splitlines()) < 20
        sent = updates_sent()
        assert sent[address(12)] > count * rounds
        assert sent[address(13)] < sent[address(12)], "nothing was held back, so this has shown nothing"

        # and the frozen one hears on when it thaws, far from all that it has missed
        frozen.process.send_signal(signal.SIGCONT)
        time.sleep(1)
        assert set(peer_states(api).values()) == {"established"}
        assert sent[address(13)] < updates_sent()[address(13)] < sent[address(12)]


def test_a_client_that_never_reads_does_not_delay_the_end(tmp_path: Path) -> None:
    port = free_port()
    with (
        start(tmp_path, port) as reflector,
        client(11, port) as one,
        client(12, port, buffer=4096) as silent,
    ):
        one.establish()
        silent.establish()
        for first in range(0, 200_000, 50):
            one.send(vpnv4_update(address(11), range(first, first + 50)))
        time.sleep(0.5)
        status, seconds = reflector.end()

        assert status == 0
        assert seconds < 2


def test_at_rest_it_is_small(tmp_path: Path) -> None:
    with start(tmp_path, free_port()) as reflector:
        assert reflector.resident < 35_000_000


WRONG = {
    "port": (("--port", "0"), "--port"),
    "as": (("--as", "4294967296"), "--as"),
    "listen": (("--listen", "here"), "--listen"),
    "clients": (("--clients", "10.0.0.1/8"), "--clients"),
    "router id": (("--router-id", "0.0.0.0"), "--router-id"),
    "cluster id": (("--cluster-id", "x"), "--cluster-id"),
    "hold time": (("--hold-time", "2"), "--hold-time"),
    "password": (("--md5-password-file", "/nonexistent"), "--md5-password-file /nonexistent"),
    "api": (("--api", "nowhere:80"), "--api"),
    "unknown": (("--nonsense",), "--nonsense"),
    "foreign address": (("--listen", "192.0.2.77", "--port", "1790"), "192.0.2.77 port 1790"),
    "log file": (("--log-file", "/nonexistent/log"), "--log-file /nonexistent/log"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_ends_the_start_with_one_line(name: str) -> None:
    arguments, expected = WRONG[name]
    ended = run(REFLECTOR, *arguments)

    assert ended.returncode != 0
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert ended.stderr.startswith("bagpipe-fakerr: ")
    assert expected in ended.stderr


def test_a_port_in_use_ends_the_start_with_one_line() -> None:
    with socket.socket() as taken:
        taken.bind((address(1), 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = run(REFLECTOR, "--listen", address(1), "--port", str(port))

    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"bagpipe-fakerr: cannot listen on {address(1)} port {port}: Address already in use"
    ]
