"""The bagpipe command against a running daemon."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import (
    CLI,
    DAEMON,
    ROOT,
    Program,
    Talker,
    address,
    free_port,
    get,
    run,
    vpnv4_update,
    wait_for,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cli")
    port, api = free_port(), free_port()
    file = folder / "bgp.conf"
    file.write_text(
        f"[BGP]\nlocal_address={address(2)}\nmy_as=64512\nlisten={address(2)}\nlisten_port={port}\n"
        f"retain_routes=always\n[PEER {address(9)}]\nmode=passive\n[API]\nport={api}\n"
    )
    with Program(DAEMON, "--config-file", str(file), log=folder / "log") as daemon:
        daemon.wait_started()
        with Talker(address(9), (address(2), port)) as talker:
            talker.establish()
            talker.send(vpnv4_update(address(9), [1, 2], label=77), vpnv4_update(address(9), [3], target=2))
            wait_for(lambda: get(api, "/v2/counts")[1]["paths"].get("vpnv4") == 3, "the routes")
            yield f"http://127.0.0.1:{api}"


def test_peers_are_plain_columns_in_a_pipe(server: str) -> None:
    ended = run(CLI, "--server", server, "peers")

    heading, row = ended.stdout.splitlines()
    assert ended.returncode == 0
    assert heading.split()[:3] == ["Peer", "AS", "State"]
    assert row.split()[:3] == [address(9), "64512", "established"]
    assert "vpnv4 3" in row
    assert "\x1b" not in ended.stdout


def test_peers_are_a_coloured_table_on_a_terminal(server: str) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", CLI, "--server", server, "peers"],
        stdout=child,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", "COLUMNS": "160"},
    )
    os.close(child)
    text = b""
    while True:
        try:
            piece = os.read(parent, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(parent)

    assert process.wait(10) == 0
    assert b"\x1b[32mestablished" in text


def test_json_is_for_programs(server: str) -> None:
    peers = json.loads(run(CLI, "--server", server, "peers", "--json").stdout)
    routes = json.loads(run(CLI, "--server", server, "routes", "--json", "--rt", "64512:2").stdout)

    assert peers["peers"][0]["state"] == "established"
    assert len(routes["routes"]) == 1
    assert routes["routes"][0]["next_hop"] == address(9)


def test_routes_are_filtered(server: str) -> None:
    ended = run(CLI, "--server", server, "routes", "--family", "vpnv4", "--rt", "64512:1", "--rd", "64512:1")

    rows = ended.stdout.splitlines()[1:]
    assert len(rows) == 2
    assert all(" 77 " in row and row.startswith(">") for row in rows)
    assert run(CLI, "--server", server, "routes", "--family", "evpn").stdout == "no routes\n"


def test_the_server_may_come_from_the_environment_and_without_a_scheme(server: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", CLI, "peers"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "BAGPIPE_SERVER": server.removeprefix("http://")},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "established" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--server", "http://127.0.0.1:1", "peers"), "http://127.0.0.1:1: Connection refused"),
        (("--server", "unix:/nonexistent", "peers"), "unix:/nonexistent: No such file or directory"),
        (("--server", "ftp://x", "peers"), "expected http://HOST:PORT or unix:PATH"),
        (("--server", "http://127.0.0.1:99999", "routes"), "99999"),
    ],
)
def test_a_server_that_cannot_be_reached_is_one_line_and_status_1(arguments: tuple[str, ...], expected: str) -> None:
    ended = run(CLI, *arguments)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert expected in ended.stderr


def test_a_wrong_filter_is_one_line_and_status_1(server: str) -> None:
    for arguments in (("routes", "--family", "vpnv5"), ("routes", "--json", "--rt", "x")):
        ended = run(CLI, "--server", server, *arguments)
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == 1
        assert "400" in ended.stderr


def test_watch_shows_what_happens_until_it_is_interrupted(server: str, tmp_path: Path) -> None:
    with Program(CLI, "--server", server, "watch", "--json", log=tmp_path / "watch") as watching:
        watching.wait_logged('"event": "counts"')
        hello, counts = (json.loads(line) for line in watching.text.splitlines()[:2])
        assert hello["event"] == "hello"
        assert counts["established"] == 1
        assert counts["paths"]["vpnv4"] == 3
        status, _ = watching.end(signal.SIGINT)
        assert status == 130
        assert "Traceback" not in watching.text
