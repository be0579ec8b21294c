"""Sessions of bagpipe-bgp over real TCP: reload, keys, hops, ranges, limits."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.system.running import (
    DAEMON,
    KEEPALIVE,
    NOTIFICATION,
    OPEN,
    REFLECTOR,
    Program,
    Talker,
    address,
    free_port,
    get,
    message,
    open_message,
    peer_states,
    vpnv4_update,
    wait_for,
)


def configure(path: Path, *, peers: str = "", port: int = 1, api: int = 0, more: str = "", local: int = 2) -> str:
    """Write a configuration; the argument that names it."""
    api_section = f"[API]\nport={api}\n" if api else "[API]\nenabled=False\n"
    path.write_text(
        f"[BGP]\nlocal_address={address(local)}\nmy_as=64512\nbgp_port={port}\npeers={peers}\n{more}\n{api_section}"
    )
    return f"--config-file={path}"


def reflector(tmp_path: Path, port: int, host: int = 1, *more: str) -> Program:
    arguments = ("--listen", address(host), "--port", str(port), *more)
    return Program(REFLECTOR, *arguments, log=tmp_path / f"reflector-{host}").wait_started()


def listening_daemon(tmp_path: Path, port: int, more: str = "", api: int = 0) -> Program:
    listen = f"listen={address(2)}\nlisten_port={port}\n"
    return Program(DAEMON, configure(tmp_path / "bgp.conf", more=listen + more, api=api), log=tmp_path / "log")


def daemon_at(port: int) -> tuple[str, int]:
    return address(2), port


def closed_at_once(talker: Talker) -> bool:
    """Whether the connection is closed without a word of BGP."""
    return talker.receive(5) is None


def test_a_reload_changes_what_changed_and_leaves_the_other_sessions_alone(tmp_path: Path) -> None:
    # given two reflectors and a session with each
    port, api = free_port(), free_port()
    with (
        reflector(tmp_path, port, 1) as first,
        reflector(tmp_path, port, 3),
        reflector(tmp_path, port, 4),
    ):
        argument = configure(tmp_path / "bgp.conf", peers=f"{address(1)},{address(3)}", port=port, api=api)
        with Program(DAEMON, argument, log=tmp_path / "log") as daemon:
            daemon.wait_started()
            wait_for(lambda: set(peer_states(api).values()) == {"established"}, "both sessions")
            before = {peer["name"]: peer for peer in get(api, "/v2/peers")[1]["peers"]}

            # when one peer goes and another comes
            configure(tmp_path / "bgp.conf", peers=f"{address(1)},{address(4)}", port=port, api=api)
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: peer_states(api).get(address(4)) == "established", "the new session")

            # then the third has not noticed
            after = {peer["name"]: peer for peer in get(api, "/v2/peers")[1]["peers"]}
            assert set(after) == {address(1), address(4)}
            assert after[address(1)]["flaps"] == 0
            assert after[address(1)]["messages_sent"]["open"] == before[address(1)]["messages_sent"]["open"] == 1
            assert after[address(1)]["uptime"] >= before[address(1)]["uptime"]

            # when an option of one neighbour changes
            configure(
                tmp_path / "bgp.conf",
                peers=f"{address(1)},{address(4)}",
                port=port,
                api=api,
                more=f"[PEER {address(4)}]\nhold_time=30\n",
            )
            daemon.process.send_signal(signal.SIGHUP)

            # then it has a new session, and the other still has not noticed
            wait_for(
                lambda: [p for p in get(api, "/v2/peers")[1]["peers"] if p["hold_time"] == 30 and p["uptime"]],
                "the session with another hold time",
            )
            assert "session down" not in first.text

            # when the file is wrong
            (tmp_path / "bgp.conf").write_text("[BGP]\nmy_as=x\n")
            daemon.process.send_signal(signal.SIGHUP)

            # then it says so and all stays
            daemon.wait_logged("not reloaded: .*my_as = x")
            assert set(peer_states(api).values()) == {"established"}


def test_the_end_is_told_to_the_neighbours_as_administrative_shutdown(tmp_path: Path) -> None:
    port = free_port()
    with listening_daemon(tmp_path, port, f"listen_ranges={address(9)}/32\n") as daemon:
        daemon.wait_started()
        with Talker(address(9), daemon_at(port)) as talker:
            talker.establish()
            status, seconds = daemon.end()

            assert talker.until(NOTIFICATION)[:2] == b"\x06\x02"
            assert status == 0
            assert seconds < 2


def test_the_end_comes_in_time_though_a_neighbour_does_not_read(tmp_path: Path) -> None:
    port = free_port()
    with (
        reflector(tmp_path, port) as silent,
        Program(DAEMON, configure(tmp_path / "bgp.conf", peers=address(1), port=port), log=tmp_path / "log") as daemon,
    ):
        daemon.wait_logged("session up")
        silent.process.send_signal(signal.SIGSTOP)
        status, seconds = daemon.end()

    assert status == 0
    assert seconds < 2


def test_a_session_with_the_right_password_comes_up_and_with_a_wrong_or_no_one_it_does_not(tmp_path: Path) -> None:
    # given a peer with a password, and a range with another
    port = free_port()
    more = f"[PEER {address(9)}]\npassword=right\nmode=passive\n[PEER {address(16)}/28]\npassword=of the range\n"
    with listening_daemon(tmp_path, port, more) as daemon:
        daemon.wait_started()

        # then only the right key is heard at all
        for source, key in ((9, b"wrong"), (9, b""), (17, b"right"), (18, b"")):
            with pytest.raises(TimeoutError):
                Talker(address(source), daemon_at(port), md5=key, patience=1.5)
        with Talker(address(9), daemon_at(port), md5=b"right") as talker:
            talker.establish()
        with Talker(address(17), daemon_at(port), md5=b"of the range") as talker:
            talker.establish()
        wait_for(lambda: daemon.text.count("session up") == 2, "both sessions")


def test_two_daemons_use_a_password_from_a_file(tmp_path: Path) -> None:
    port = free_port()
    key = tmp_path / "key"
    key.write_bytes(b"from a file\n")
    more = f"[PEER {address(1)}]\npassword_file={key}\n"
    with (
        reflector(tmp_path, port, 1, "--md5-password-file", str(key)) as other,
        Program(DAEMON, configure(tmp_path / "bgp.conf", port=port, more=more), log=tmp_path / "log") as daemon,
    ):
        daemon.wait_logged("session up")
        assert other.wait_logged("session up: AS 64512")


def test_a_password_that_changes_at_a_reload_is_the_one_that_counts(tmp_path: Path) -> None:
    port = free_port()
    listen = f"listen={address(2)}\nlisten_port={port}\n"
    peer = f"[PEER {address(9)}]\nmode=passive\npassword="
    argument = configure(tmp_path / "bgp.conf", more=listen + peer + "old")
    with Program(DAEMON, argument, log=tmp_path / "log") as daemon:
        daemon.wait_started()
        with Talker(address(9), daemon_at(port), md5=b"old") as talker:
            talker.establish()
            configure(tmp_path / "bgp.conf", more=listen + peer + "new")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_logged("reloaded: 1 neighbours removed or changed, 1 added")
        with pytest.raises(TimeoutError):
            Talker(address(9), daemon_at(port), md5=b"old", patience=1.5)
        with Talker(address(9), daemon_at(port), md5=b"new") as talker:
            talker.establish()


def test_who_is_too_many_hops_away_is_not_heard_at_all(tmp_path: Path) -> None:
    # given a peer that has to be directly connected
    port = free_port()
    with listening_daemon(tmp_path, port, f"[PEER {address(9)}]\nmode=passive\nttl_security=1\n") as daemon:
        daemon.wait_started()

        # then what has come over a router is not answered, and what comes from the wire is
        with pytest.raises(TimeoutError):
            Talker(address(9), daemon_at(port), ttl=254, patience=1.5)
        with Talker(address(9), daemon_at(port), ttl=255) as talker:
            talker.establish()


def test_who_is_too_many_hops_away_is_not_heard_beside_others_who_may_be(tmp_path: Path) -> None:
    # given that the listening socket has to answer another peer, whatever its distance
    port = free_port()
    more = f"[PEER {address(9)}]\nmode=passive\nttl_security=1\n[PEER {address(10)}]\nmode=passive\n"
    with listening_daemon(tmp_path, port, more) as daemon:
        daemon.wait_started()
        with Talker(address(10), daemon_at(port), ttl=30) as talker:
            talker.establish()

        # then the connection is there, but what is said on it is not heard: no answer to what needs one
        with Talker(address(9), daemon_at(port), ttl=254) as talker:
            talker.until(OPEN)
            talker.send(b"\xff" * 16 + b"\x00\x13\x04")
            with pytest.raises(TimeoutError):
                talker.until(NOTIFICATION, 1.5)


def test_two_daemons_with_ttl_security_have_a_session(tmp_path: Path) -> None:
    port = free_port()
    passive = f"[PEER {address(3)}]\nmode=passive\nttl_security=1\n"
    active = f"[PEER {address(2)}]\nttl_security=1\n"
    with (
        listening_daemon(tmp_path, port, passive) as first,
        Program(
            DAEMON, configure(tmp_path / "other.conf", port=port, more=active, local=3), log=tmp_path / "other"
        ) as second,
    ):
        second.wait_logged("session up")
        assert first.wait_logged("session up: AS 64512")


def test_an_external_session_has_a_time_to_live_of_one(tmp_path: Path) -> None:
    port = free_port()
    with listening_daemon(tmp_path, port, f"[PEER {address(9)}]\nmode=passive\nas=65001\n") as daemon:
        daemon.wait_started()
        with Talker(address(9), daemon_at(port)) as talker:
            talker.socket.setsockopt(socket.IPPROTO_IP, 21, 2)  # IP_MINTTL: drops what comes with less
            talker.send(b"\xff" * 16 + b"\x00\x13\x04")
            with pytest.raises(TimeoutError):
                talker.until(NOTIFICATION, 1.5)


def test_who_is_neither_a_peer_nor_in_a_range_is_closed_at_once(tmp_path: Path) -> None:
    port = free_port()
    with listening_daemon(tmp_path, port, f"listen_ranges={address(16)}/28\n") as daemon:
        daemon.wait_started()
        with Talker(address(9), daemon_at(port)) as talker:
            assert closed_at_once(talker)
        with Talker(address(17), daemon_at(port)) as talker:
            assert talker.until(OPEN)
        assert "neither a peer nor in a client range" in daemon.text


def test_a_scan_does_not_fill_the_log(tmp_path: Path) -> None:
    port = free_port()
    with listening_daemon(tmp_path, port) as daemon:
        daemon.wait_started()
        for _ in range(100):
            with Talker(address(9), daemon_at(port)) as talker:
                assert closed_at_once(talker)
        assert daemon.text.count("refused") < 10


def test_connections_are_limited_in_all_and_from_one_address(tmp_path: Path) -> None:
    port = free_port()
    more = f"listen_ranges={address(16)}/28\nmax_connections=3\nmax_connections_per_address=2\n"
    with listening_daemon(tmp_path, port, more) as daemon:
        daemon.wait_started()
        with Talker(address(17), daemon_at(port)) as one, Talker(address(18), daemon_at(port)) as two:
            assert one.until(OPEN)
            assert two.until(OPEN)
            with Talker(address(19), daemon_at(port)) as three:
                assert three.until(OPEN)

                # then the fourth of all is closed
                with Talker(address(20), daemon_at(port)) as four:
                    assert closed_at_once(four)
                daemon.wait_logged("already 3 connections")

            # and there is room again when one has left
            def again() -> bool:
                with Talker(address(20), daemon_at(port)) as four:
                    return four.receive(5) is not None

            wait_for(again, "the place of the one that left")


def test_more_connections_from_one_address_than_allowed_are_closed(tmp_path: Path) -> None:
    port = free_port()
    more = f"listen_ranges={address(17)}/32\nmax_connections_per_address=1\n"
    with listening_daemon(tmp_path, port, more) as daemon:
        daemon.wait_started()
        with Talker(address(17), daemon_at(port)) as one:
            assert one.until(OPEN)
            with Talker(address(17), daemon_at(port)) as two:
                assert closed_at_once(two)
            daemon.wait_logged("already 1 connections from this address")
            one.send(open_message(address(17)), message(KEEPALIVE))
            assert one.until(KEEPALIVE) == b""


def test_a_session_runs_over_ipv6(tmp_path: Path) -> None:
    port, api = free_port(), free_port()
    file = tmp_path / "bgp.conf"
    file.write_text(
        f"[BGP]\nlocal_address=::1\nrouter_id=192.0.2.1\nmy_as=64512\nbgp_port={port}\npeers=::1\n[API]\nport={api}\n"
    )
    with (
        Program(
            REFLECTOR, "--listen", "::1", "--port", str(port), "--router-id", "192.0.2.2", log=tmp_path / "reflector"
        ),
        Program(DAEMON, f"--config-file={file}", log=tmp_path / "log"),
    ):
        wait_for(lambda: peer_states(api) == {"::1": "established"}, "the session")
        assert get(api, "/v2/health")[1]["status"] == "ok"


def test_a_neighbour_may_be_given_by_its_name(tmp_path: Path) -> None:
    port, api = free_port(), free_port()
    file = tmp_path / "bgp.conf"
    file.write_text(
        f"[BGP]\nlocal_address=127.0.0.1\nmy_as=64512\nbgp_port={port}\npeers=localhost\n[API]\nport={api}\n"
    )
    with (
        Program(
            REFLECTOR, "--listen", "127.0.0.1", "--port", str(port), "--router-id", "192.0.2.2",
            log=tmp_path / "reflector",
        ),
        Program(DAEMON, f"--config-file={file}", log=tmp_path / "log"),
    ):  # fmt: skip
        wait_for(lambda: peer_states(api) == {"localhost": "established"}, "the session")
        assert get(api, "/v2/peers")[1]["peers"][0]["address"] == "localhost"


def test_too_many_routes_end_the_session_with_a_warning_before(tmp_path: Path) -> None:
    port = free_port()
    more = f"retain_routes=always\n[PEER {address(9)}]\nmode=passive\nmaximum_prefixes=10\n"
    with listening_daemon(tmp_path, port, more) as daemon:
        daemon.wait_started()
        with Talker(address(9), daemon_at(port)) as talker:
            talker.establish().send(vpnv4_update(address(9), range(9)))
            daemon.wait_logged("prefix limit is near: 9 vpnv4 routes, 10 allowed")
            talker.send(vpnv4_update(address(9), range(9, 20)))

            # CEASE 1 with family and limit (RFC 4486 section 4)
            assert talker.until(NOTIFICATION) == b"\x06\x01\x00\x01\x80\x00\x00\x00\x0a"


def test_no_line_is_logged_for_a_route(tmp_path: Path) -> None:
    port, api = free_port(), free_port()
    with listening_daemon(tmp_path, port, f"retain_routes=always\nlisten_ranges={address(9)}/32\n", api=api) as daemon:
        daemon.wait_started()
        with Talker(address(9), daemon_at(port)) as talker:
            talker.establish()
            lines = len(daemon.text.splitlines())
            for start in range(0, 5000, 50):
                talker.send(vpnv4_update(address(9), range(start, start + 50)))
            wait_for(lambda: get(api, "/v2/counts")[1]["paths"].get("vpnv4") == 5000, "5,000 routes")
            assert len(daemon.text.splitlines()) - lines < 5
