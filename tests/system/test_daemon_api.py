"""What the HTTP interface of a running daemon shows."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import (
    DAEMON,
    KEEPALIVE,
    Program,
    Talker,
    address,
    free_port,
    get,
    message,
    vpnv4_update,
    wait_for,
)

COUNT = 20_000


class Scene:
    """A daemon with one neighbour that has told ``COUNT`` routes with route target 64512:1, and one with 64512:2."""

    def __init__(self, daemon: Program, api: int, talker: Talker) -> None:
        self.daemon = daemon
        self.api = api
        self.talker = talker


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    port, api = free_port(), free_port()
    file = folder / "bgp.conf"
    file.write_text(
        f"[BGP]\nlocal_address={address(2)}\nmy_as=64512\nlisten={address(2)}\nlisten_port={port}\n"
        f"retain_routes=always\n[PEER {address(9)}]\nmode=passive\npassword=hidden\n[API]\nport={api}\n"
    )
    with Program(DAEMON, "--config-file", str(file), log=folder / "log") as daemon:
        daemon.wait_started()
        with Talker(address(9), (address(2), port), md5=b"hidden") as talker:
            talker.establish()
            for start in range(0, COUNT, 50):
                talker.send(vpnv4_update(address(9), range(start, start + 50)))
            talker.send(vpnv4_update(address(9), [COUNT], target=2))
            wait_for(lambda: get(api, "/v2/counts")[1]["paths"].get("vpnv4") == COUNT + 1, "the routes")
            yield Scene(daemon, api, talker)


ANSWERS = {
    "GET /": 200,
    "GET /ping": 200,
    "POST /ping": 200,
    "GET /v2/peers": 200,
    "GET /v2/health": 200,
    "GET /looking-glass": 200,
    "GET /looking-glass/": 200,
    "GET /looking-glass/summary": 200,
    "GET /looking-glass/summary/vpn_instances_count": 200,
    "GET /looking-glass/bgp": 200,
    "GET /looking-glass/bgp/peers": 200,
    "GET /looking-glass/vpns": 200,
    "GET /looking-glass/logs": 200,
    "GET /looking-glass/nothing": 404,
    "GET /looking-glass/bgp/peers/192.0.2.1": 404,
    "GET /nothing": 404,
    "POST /": 405,
    "PUT /": 405,
    "DELETE /": 405,
    "DELETE /ping": 405,
    "POST /looking-glass/": 405,
    "PUT /looking-glass/bgp": 404,
    "DELETE /looking-glass/summary": 404,
    "POST /v2/peers": 405,
    "GET /v2/routes?family=vpnv5": 400,
    "GET /v2/routes?rt=nonsense": 400,
    "GET /v2/routes?rd=1:2:3:4": 400,
    "GET /v2/routes?limit=many": 400,
    "GET /v2/routes?offset=-1": 400,
    "GET /v2/routes?vrf=1": 400,
}


@pytest.mark.parametrize("request_line", ANSWERS)
def test_each_request_has_its_status(scene: Scene, request_line: str) -> None:
    method, path = request_line.split()
    status, body = get(scene.api, path, method)
    assert status == ANSWERS[request_line]
    if status >= 400:
        assert body["code"] == status
        assert body["title"]


def test_a_wrong_filter_is_answered_with_the_field_and_the_value(scene: Scene) -> None:
    _, body = get(scene.api, "/v2/routes?family=vpnv5")
    assert (body["field"], body["value"]) == ("family", "vpnv5")
    assert "there are vpnv4" in body["description"]
    _, body = get(scene.api, "/v2/routes?rt=nonsense")
    assert (body["field"], body["value"]) == ("rt", "nonsense")
    _, body = get(scene.api, "/v2/routes?limit=many")
    assert (body["field"], body["value"]) == ("limit", "many")


def test_the_process_number_stays_while_the_process_does(scene: Scene) -> None:
    first, second = get(scene.api, "/ping")[1], get(scene.api, "/ping")[1]
    assert isinstance(first, int)
    assert first == second > 2**64


def test_the_summary_has_the_keys_that_scripts_read(scene: Scene) -> None:
    root = get(scene.api, "/looking-glass/")[1]
    summary = root["summary"]
    assert summary["BGP_established_peers"] == 1
    assert summary["route_counts"] == {"local_routes_count": 1, "received_routes_count": COUNT + 1}
    assert summary["vpn_instances_count"] == 0
    assert isinstance(summary["warnings_and_errors"], int)
    assert time.strptime(summary["start_time"], "%Y-%m-%d %H:%M:%S")
    assert summary["version"]
    for item in ("config", "bgp", "vpns", "logs"):
        assert root[item] == {"href": f"http://127.0.0.1:{scene.api}/looking-glass/{item}"}


def test_the_bgp_tree_leads_to_its_peers_and_routes_by_links(scene: Scene) -> None:
    tree = get(scene.api, "/looking-glass/bgp")[1]
    assert set(tree) == {"peers", "routes", "workers", "route_counts", "adv_routes"}
    (peer,) = tree["peers"]
    assert (peer["id"], peer["state"]) == (address(9), "Established")

    shown = get(scene.api, peer["href"].partition(str(scene.api))[2])[1]
    assert shown["as_info"] == {"local": 64512, "peer": 64512}
    assert shown["rtc"] == {"active": False, "enabled": True}
    assert shown["active_families"] == ["ipv4/mpls-vpn"]
    assert shown["protocol"]["state"] == "Established"

    routes = get(scene.api, "/looking-glass/bgp/routes")[1]
    entries = routes["ipv4/mpls-vpn,*"]
    assert len(entries) == COUNT + 1
    (entry,) = entries[0].values()
    assert entry["afi-safi"] == "ipv4/mpls-vpn"
    assert entry["next_hop"] == address(9)
    assert entry["source"]["id"] == f"BGP-{address(9)}"
    assert routes["l2vpn/evpn,*"] == []
    local = get(scene.api, "/looking-glass/bgp/adv_routes")[1]
    assert [len(local[key]) for key in ("ipv4/mpls-vpn,*", "ipv4/rtc,*")] == [0, 1]


def test_no_secret_is_shown(scene: Scene) -> None:
    for path in ("/looking-glass/config", "/v2/peers", "/looking-glass/bgp/peers/" + address(9)):
        assert "hidden" not in json.dumps(get(scene.api, path)[1])


def test_routes_are_chosen_by_family_target_and_distinguisher(scene: Scene) -> None:
    def number(query: str) -> int:
        return len(get(scene.api, f"/v2/routes?{query}")[1]["routes"])

    assert number("family=vpnv4") == COUNT + 1
    assert number("family=evpn") == 0
    assert number("rt=64512:2") == 1
    assert number("rd=64512:1&rt=64512:1") == COUNT
    assert number("rd=64512:9") == 0
    assert number("family=vpnv4&limit=7") == 7
    assert number(f"family=vpnv4&limit=100&offset={COUNT - 2}") == 3
    (route,) = get(scene.api, "/v2/routes?rt=64512:2")[1]["routes"]
    assert route["peer"] == address(9)
    assert route["label"] == 16
    assert route["best"] is True
    assert route["reason"]


def test_a_long_list_does_not_keep_neighbours_waiting(scene: Scene) -> None:
    # given one caller that takes the whole list, slowly
    connection = http.client.HTTPConnection("127.0.0.1", scene.api, timeout=30)
    connection.request("GET", "/v2/routes")
    response = connection.getresponse()
    assert response.status == 200

    # then others are answered in the meantime
    waits = []
    for _ in range(20):
        begin = time.monotonic()
        assert get(scene.api, "/ping")[0] == 200
        waits.append(time.monotonic() - begin)
        response.read(1000)
    connection.close()
    assert sorted(waits)[len(waits) // 2] < 0.2


def test_a_caller_that_does_not_read_makes_no_memory_grow(scene: Scene) -> None:
    get(scene.api, "/v2/routes?limit=1")
    before = scene.daemon.resident
    stuck = []
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", scene.api, timeout=30)
        connection.request("GET", "/v2/routes")
        stuck.append(connection)
    time.sleep(2)

    assert get(scene.api, "/ping")[0] == 200
    assert scene.daemon.resident - before < 15_000_000
    for connection in stuck:
        connection.close()


def test_metrics_are_those_of_the_session(scene: Scene) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", scene.api, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()

    assert f'bagpipe_peer_up{{peer="{address(9)}"}} 1.0' in text
    assert f'bagpipe_paths{{family="vpnv4"}} {float(COUNT + 1)}' in text


def test_who_watches_hears_of_a_session_that_ends(scene: Scene) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", scene.api, timeout=10)
    connection.request("GET", "/v2/events")
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.readline() == b"event: hello\n"
    assert json.loads(response.readline().removeprefix(b"data: "))["process"] == get(scene.api, "/ping")[1]
    assert response.readline() == b"\n"
    assert response.readline() == b"event: counts\n"
    assert json.loads(response.readline().removeprefix(b"data: "))["established"] == 1

    scene.talker.send(message(KEEPALIVE), b"garbage!" * 8)

    lines = []
    while not (lines and b"session down" in lines[-1]):
        lines.append(response.readline())
        assert lines[-1], "the stream ended"
    notice = json.loads(lines[-1].removeprefix(b"data: "))
    assert notice["peer"] == address(9)
    connection.close()


def test_an_open_stream_does_not_delay_the_end(tmp_path: Path) -> None:
    api = free_port()
    file = tmp_path / "bgp.conf"
    file.write_text(f"[BGP]\nlocal_address=127.0.0.1\nmy_as=64512\n[API]\nport={api}\n")
    with Program(DAEMON, "--config-file", str(file), log=tmp_path / "log") as daemon:
        daemon.wait_started()
        connection = http.client.HTTPConnection("127.0.0.1", api, timeout=10)
        connection.request("GET", "/v2/events")
        assert connection.getresponse().readline() == b"event: hello\n"

        status, seconds = daemon.end()

        assert status == 0
        assert seconds < 2
        assert "Traceback" not in daemon.text
        connection.close()
