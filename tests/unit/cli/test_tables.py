"""What people see."""

from __future__ import annotations

import pytest

from bagpipe.cli.client import Client, ClientError
from bagpipe.cli.tables import PEER_HEADINGS, ROUTE_HEADINGS, duration, peer_rows, route_rows, show

PEER = {
    "name": "192.0.2.1",
    "peer_as": 64512,
    "state": "established",
    "uptime": 3723.4,
    "families": ["vpnv4", "rtc"],
    "routes": {"vpnv4": 5, "rtc": 0},
    "last_down": "an old story",
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0s"), (59.9, "59s"), (60, "1m0s"), (3723, "1h2m"), (86400, "1d0h"), (90061, "1d1h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_neighbour_that_is_up_does_not_show_its_last_error() -> None:
    (row,) = peer_rows([PEER])
    assert row == ["192.0.2.1", "64512", "established", "1h2m", "vpnv4, rtc", "vpnv4 5", ""]
    (row,) = peer_rows([{**PEER, "state": "idle", "uptime": None, "peer_as": None, "families": [], "routes": {}}])
    assert row == ["192.0.2.1", "any", "idle", "-", "-", "-", "an old story"]


def test_a_route_shows_whether_it_is_best_and_stale() -> None:
    route = {
        "family": "vpnv4",
        "nlri": "64512:1 10.0.0.1/32",
        "next_hop": "192.0.2.9",
        "route_targets": ["64512:1", "64512:2"],
        "label": 16,
        "peer": "192.0.2.1",
        "reason": "only path",
        "best": True,
        "stale": True,
    }
    one, two = route_rows([route, {**route, "best": False, "stale": False, "label": None, "route_targets": []}])
    assert one == [
        ">s", "vpnv4 64512:1 10.0.0.1/32", "192.0.2.9", "64512:1 64512:2", "16", "192.0.2.1", "only path",
    ]  # fmt: skip
    assert (two[0], two[3], two[4]) == (" ", "-", "-")
    assert len(one) == len(ROUTE_HEADINGS)
    assert len(next(iter(peer_rows([PEER])))) == len(PEER_HEADINGS)


def test_columns_are_aligned_and_nothing_is_said_in_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    show(("A", "B"), [["long", "x"], ["s", "y"]], "nothing")
    show(("A", "B"), [], "nothing")
    assert capsys.readouterr().out == "A     B\nlong  x\ns     y\nnothing\n"


@pytest.mark.parametrize("server", ["ftp://x", "http://", "http://x:y", "https://127.0.0.1"])
def test_a_server_of_another_form_is_refused(server: str) -> None:
    with pytest.raises(ClientError):
        Client(server)
