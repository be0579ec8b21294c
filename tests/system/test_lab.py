"""The lab comes up with real sessions, tells what the speakers know, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bagpipe.lab.scenario import NODE1, NODE2

NAME = f"bagpipe-labtest-{os.getpid()}"


def lab(verb: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "bagpipe.lab", verb],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "BAGPIPE_LAB": NAME, "COLUMNS": "200"},
    )
    return done.stdout + done.stderr


@pytest.fixture
def story() -> Iterator[str]:
    yield lab("up")
    lab("down")


def namespaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(f"{NAME}-")]


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
    lab("up")
    assert len(namespaces()) == 4

    assert lab("down") == ""

    assert namespaces() == []
    assert not (Path("/run") / NAME).exists()
    assert "no lab is up" in lab("show")
