"""What is attached, and its identifiers, over restarts and without a dataplane; routes and reloads beside it."""

from __future__ import annotations

import contextlib
import http.client
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.system.attaching import Node, body, body_v2, detachment
from tests.system.running import UPDATE, Talker, address, free_port, message, vpnv4_update, wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_keeps_every_identifier_and_announces_at_once(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    node = Node(tmp_path, bgp=f"listen={address(3)}\nlisten_port={port}\nlisten_ranges=127.0.0.0/8")
    with node.start() as daemon:
        daemon.wait_started()
        for one in range(2, 22):
            node.attach(body(one, f"net{one % 3}"))
        node.call("PUT", "/v2/owners/agent/attachments", {"attachments": {"a": body_v2(2), "b": body_v2(3)}})
        node.detach(detachment(body(5, "net2")))
        node.detach(detachment(body(6, "net0")))
        labels, process = node.labels(), node.call("GET", "/ping")[1]
        assert len(labels) == 18 + 4
        daemon.end(number)
    with node.start() as daemon:
        wait_for(lambda: daemon.text.count("started:") == 2, "the second start")
        with Talker(address(9), (address(3), port)) as talker:
            talker.establish()
            announced = b"".join(talker.updates())
        assert node.labels() == labels
        assert node.call("GET", "/ping")[1] != process
        # without route target constraint the neighbour hears every VPNv4 route of the node
        for one in (2, 21):
            assert bytes((10, 0, 0, one)) in announced
        node.attach(body(30, "net0"))
        assert len({label for _, label, _, _ in node.labels().values()}) == 23
        assert "Traceback" not in daemon.text


def test_without_open_vswitch_it_waits_and_says_so(tmp_path: Path) -> None:
    node = Node(
        tmp_path,
        more="[DATAPLANE_DRIVER_IPVPN]\ndataplane_driver=ovs\nmpls_interface=*gre*\n"
        f"ovsdb_connection=unix:{tmp_path}/db.sock\novs_run_directory={tmp_path}",
    )
    with node.start() as daemon:
        daemon.wait_started()
        status, told = node.attach(body(2))
        assert status == 503
        assert told["title"] == "Service Unavailable"
        assert "the dataplane cannot be programmed" in told["description"]
        health = node.call("GET", "/v2/health")[1]
        assert (health["status"], health["dataplane"]["state"]) == ("degraded", "unreachable")
        assert health["dataplane"]["why"]
        assert health["dataplane"]["records"]["pending"] == 3
        assert node.call("GET", "/v2/routes?family=vpnv4")[1] == {"routes": []}
        missing = node.call("GET", "/v2/explain?instance=net1&destination=10.0.0.2")[1]["missing"]
        assert any("the dataplane cannot be programmed" in text for text in missing)
        assert node.call("GET", "/v2/audit")[0] == 503
        status, told = node.call("PUT", "/v2/attachments/port-1?wait=0.1", body_v2())
        assert (status, told["state"]) == (200, "pending")
        for _ in range(2):
            status, told = node.detach(detachment(body(2)))
            assert status == 503
            assert "unplug from" in told["description"] and "cannot be programmed" in told["description"]
        assert node.detach(detachment(body(3)))[0] == 400
        for _ in range(2):
            status, told = node.call("DELETE", "/v2/attachments/port-1?wait=0.1")
            assert (status, told["state"]) == (202, "pending")
            assert "cannot be programmed" in told["reason"]
        assert node.call("GET", "/v2/attachments/port-1")[0] == 404
        daemon.wait_logged("cannot be programmed")
        assert daemon.end()[0] == 0
        assert "Traceback" not in daemon.text


def test_a_route_of_a_neighbour_reaches_the_instance_that_imports_it(tmp_path: Path) -> None:
    port = free_port()
    node = Node(tmp_path, bgp=f"listen={address(3)}\nlisten_port={port}\nlisten_ranges=127.0.0.0/8")
    with node.start() as daemon:
        daemon.wait_started()
        node.attach(body(2))
        with Talker(address(9), (address(3), port)) as talker:
            talker.establish()
            talker.send(vpnv4_update(address(9), [1000], target=1), vpnv4_update(address(9), [1001], target=2))

            def prefixes() -> list[str]:
                return [one["prefix"] for one in node.call("GET", "/v2/instances/net1")[1]["routes"]]

            wait_for(lambda: "10.0.3.232/32" in prefixes(), "the route of the neighbour")
            assert "10.0.3.233/32" not in prefixes()
            told = node.call("GET", "/v2/explain?instance=net1&destination=10.0.3.232")[1]
            assert (told["programmed"]["state"], told["candidates"][0]["peer"]) == ("in-effect", address(9))


def test_the_routes_of_an_instance_are_told_in_pieces_of_the_same_json(tmp_path: Path) -> None:
    port = free_port()
    node = Node(tmp_path, bgp=f"listen={address(3)}\nlisten_port={port}\nlisten_ranges=127.0.0.0/8")
    with node.start() as daemon:
        daemon.wait_started()
        node.attach(body(2))
        glass = "/looking-glass/vpns/instances/net1"
        assert node.call("GET", f"{glass}/received_routes") == (200, [])
        with Talker(address(9), (address(3), port)) as talker:
            talker.establish()
            talker.send(vpnv4_update(address(9), range(1000, 1200)))
            wait_for(lambda: len(node.call("GET", f"{glass}/received_routes")[1]) == 200, "the routes")
            best = node.call("GET", f"{glass}/best_routes")[1]
            assert len(best) == 201
            (route,) = best["10.0.3.232/32"]
            (entry,) = route.values()
            assert (entry["next_hop"], entry["route_targets"]) == (address(9), ["target:64512:1"])
            assert node.call("GET", f"{glass}/best_routes/more")[0] == 404
            assert len(node.call("GET", "/v2/instances/net1")[1]["routes"]) == 201


def test_a_reload_changes_from_whom_tunnelled_packets_are_taken(tmp_path: Path) -> None:
    node = Node(tmp_path, bgp="peers=192.0.2.1")
    with node.start() as daemon:
        daemon.wait_started()
        node.attach(body(2))
        # Access, delivery and route of the endpoint; the neighbour may send to IP VPNs and to EVPNs.
        assert node.call("GET", "/v2/audit")[1] == {"desired": 5, "differences": [], "foreign": []}
        node.file.write_text(node.file.read_text().replace("peers=192.0.2.1", "peers=192.0.2.1,192.0.2.2,rr.invalid"))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_logged("reloaded:")
        wait_for(
            lambda: node.call("GET", "/v2/audit")[1] == {"desired": 7, "differences": [], "foreign": []},
            "the new neighbour",
        )


def test_leftovers_stay_until_every_neighbour_has_told_all_its_routes(tmp_path: Path) -> None:
    port = free_port()
    node = Node(tmp_path, bgp=f"listen={address(3)}\nlisten_port={port}\n[PEER {address(9)}]\nmode=passive")

    def swept() -> bool:
        return bool(node.call("GET", "/v2/health")[1]["dataplane"]["leftovers_removed"])

    with node.start() as daemon:
        daemon.wait_started()
        node.attach(body(2))
        daemon.end(signal.SIGKILL)
    with node.start() as daemon:
        wait_for(lambda: daemon.text.count("started:") == 2, "the second start")
        with Talker(address(9), (address(3), port)) as talker:
            talker.establish()
            talker.send(vpnv4_update(address(9), [1000]))
            time.sleep(1.5)
            assert not swept()
            talker.send(message(UPDATE, bytes.fromhex("0000 0006 800f03 000180")))
            wait_for(swept, "the leftovers to be removed")


def test_whatever_was_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    node = Node(tmp_path)
    acknowledged: list[str] = []
    with node.start() as daemon:
        daemon.wait_started()
        with contextlib.suppress(OSError, http.client.HTTPException):
            for number in range(2, 100_000):
                if number == 30:
                    threading.Timer(0.3, daemon.process.kill).start()
                assert node.attach(body(number % 8000 + 2)) == (200, None)
                acknowledged.append(body(number % 8000 + 2)["mac_address"])
        daemon.process.wait(10)
    assert len(acknowledged) > 20
    with node.start() as daemon:
        wait_for(lambda: daemon.text.count("started:") == 2, "the second start")
        held = {one["endpoints"][0]["mac"] for one in node.call("GET", "/v2/attachments")[1]["attachments"]}
        assert set(acknowledged) <= held
        assert len(held) <= len(set(acknowledged)) + 1
