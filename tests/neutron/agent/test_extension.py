"""The extension as the agent's loop sees it: it never waits, never raises, and follows ports that come, move and go."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.neutron.agent.staging import REFERENCE_PYTHON, Staged
from tests.neutron.agent.world import (
    BLUE,
    FOUR,
    IN_LAN,
    IN_RED,
    LAN,
    MAC,
    NETWORK,
    PORT,
    SIBLING,
    SIBLING_MAC,
    details,
    net_association,
    own,
    port,
    port_association,
    uuid,
)
from tests.system.openvswitch import OpenVSwitch

NET, PORT_KIND = "BGPVPNNetAssociation", "BGPVPNPortAssociation"
AT_ONCE = 0.3


@pytest.fixture(scope="module")
def switch() -> Iterator[OpenVSwitch]:
    directory = Path(tempfile.mkdtemp(prefix="ag"))
    try:
        with OpenVSwitch(directory) as started:
            started.add_bridge("br-mpls")
            yield started
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def stage(switch: OpenVSwitch) -> Iterator[Staged]:
    with Staged(switch) as started:
        started.bind_network(NETWORK, 5, "vxlan", 77)
        started.has(NET, [net_association(IN_RED, FOUR)])
        started.initialize()
        assert started.settle(), started.log()
        yield started


def test_neither_server_nor_switch_hold_up_the_agents_loop(stage: Staged) -> None:
    # given a server that does not answer, and no Open vSwitch
    stage.server_is_silent(True)
    stage.switch.stop_switch()
    try:
        # when ports come and go, then nothing waits
        assert stage.handle_port(details(port()), 7) < AT_ONCE
        assert stage.delete_port(PORT) < AT_ONCE
        assert stage.handle_port(details(port()), 7) < AT_ONCE
        assert stage.attachments(PORT) is None
    finally:
        stage.switch.start_switch()
    # and when both are there again, the port is attached
    stage.server_is_silent(False)
    stage.switch_restarted()
    assert stage.settle(30), stage.log()
    assert len(stage.attachments(PORT)) == 1


def test_a_server_that_fails_is_asked_until_it_answers(stage: Staged) -> None:
    stage.server_fails(2)
    stage.handle_port(details(port()), 7)
    assert stage.settle(), stage.log()
    assert len(stage.attachments(PORT)) == 1


def test_nonsense_is_logged_and_does_not_reach_the_agents_loop(stage: Staged) -> None:
    stage.handle_port({"port_id": PORT, "network_id": NETWORK, "mac_address": None, "fixed_ips": [{"ip_address": "x"}]})
    stage.delete_port("nobody")
    assert "handle_port failed" in stage.log()


def test_ports_of_neutron_itself_have_nothing(stage: Staged) -> None:
    for owner in ("network:dhcp", "network:router_interface"):
        stage.handle_port(details(port(), device_owner=owner), 7)
    assert stage.settle()
    assert stage.attachments(PORT) is None
    assert stage.asked() == []


def test_a_port_that_is_set_down_is_detached_and_comes_back(stage: Staged) -> None:
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    stage.handle_port(details(port(admin_up=False)), 7)
    assert stage.attachments(PORT) == []
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    assert len(stage.attachments(PORT)) == 1


def test_fifty_ports_of_a_network_ask_for_the_network_once(stage: Staged) -> None:
    stage.server_is_silent(True)  # for as long as the ports come
    for index in range(50):
        given = port(f"{index:08x}-0000-4000-8000-00000000ffff", f"fa:16:3e:00:02:{index:02x}", f"10.0.0.{index + 3}")
        stage.handle_port(details(given), 100 + index)
    stage.server_is_silent(False)
    assert stage.settle()
    kinds = [kind for kind, _ in stage.asked()]
    assert kinds.count(NET) == 1
    assert kinds.count("BGPVPNRouterAssociation") == 1
    assert kinds.count(PORT_KIND) <= 2


def test_a_port_association_that_is_pushed_changes_one_port_and_not_its_sibling(stage: Staged) -> None:
    stage.handle_port(details(port()), 7)
    stage.handle_port(details(port(SIBLING, SIBLING_MAC, "10.0.0.3")), 8)
    assert stage.settle()
    sibling = stage.attachments(SIBLING)
    stage.has(PORT_KIND, [port_association(own(BLUE), FOUR)])
    stage.push(PORT_KIND, [port_association(own(BLUE), FOUR)], "created")
    (mine,) = stage.attachments(PORT)
    assert mine["local_port"]["source_mac"] == MAC
    assert stage.attachments(SIBLING) == sibling
    # when routes only are left of it, the port is the network's again but for what it imports
    stage.has(PORT_KIND, [])
    stage.push(PORT_KIND, [port_association(own(BLUE), FOUR)], "deleted")
    assert stage.attachments(PORT)[0]["instance_id"] == f"ipvpn_{NETWORK}"


def test_a_migrating_port_is_attached_when_it_is_active_here_and_detached_when_it_is_elsewhere(stage: Staged) -> None:
    # given a port that comes while its machine still runs on another host
    stage.port_cached(PORT, [["there", "ACTIVE"], ["here", "INACTIVE"]])
    stage.handle_port(details(port(), migrating_to="here"), 7)
    assert stage.settle()
    # then it is not attached
    assert stage.attachments(PORT) == []
    # when its binding here becomes active, it is
    stage.port_cached(PORT, [["here", "ACTIVE"], ["there", "INACTIVE"]])
    stage.handle_port(details(port(), migrating_to="here"), 7)
    assert stage.settle()
    assert len(stage.attachments(PORT)) == 1
    # and when it moves on, it is detached before its interface goes
    stage.port_cached(PORT, [["there", "ACTIVE"], ["here", "INACTIVE"]])
    assert stage.attachments(PORT) == []


def test_an_end_that_is_told_before_it_is_in_the_database_stays_an_end(stage: Staged) -> None:
    # given a server that still has an association whose end it has told
    stage.handle_port(details(port()), 7)
    assert stage.settle()
    stage.push(NET, [net_association(IN_RED, FOUR)], "deleted")
    # when a port is handled once more and the server asked
    stage.delete_port(PORT)
    stage.handle_port(details(port()), 7)
    time.sleep(1)
    # then the answer is not believed
    assert stage.attachments(PORT) == []


def test_what_a_port_hears_of_an_l2_vpn_its_siblings_are_told_to_import_too_while_it_is_there(stage: Staged) -> None:
    # given two ports of a network that is in an L2 VPN
    far = replace(LAN, id=uuid(0xE4), import_rts=frozenset({"64512:32"}), export_rts=frozenset())
    stage.has(NET, [net_association(IN_LAN, FOUR)])
    stage.handle_port(details(port()), 7)
    stage.handle_port(details(port(SIBLING, SIBLING_MAC, "10.0.0.3")), 8)
    assert stage.settle(), stage.log()
    before = stage.attachments(SIBLING)[0]["import_rts"]
    # when one of them is associated with another by itself, then the one broadcast domain imports for both
    stage.has(PORT_KIND, [port_association(own(far), FOUR)])
    stage.push(PORT_KIND, [port_association(own(far), FOUR)], "created")
    assert stage.settle(), stage.log()
    both = sorted([*before, "64512:32"])
    assert [sorted(stage.attachments(each)[0]["import_rts"]) for each in (PORT, SIBLING)] == [both, both]
    # and when it goes, its sibling's is as before
    stage.delete_port(PORT)
    assert stage.settle(), stage.log()
    assert stage.attachments(SIBLING)[0]["import_rts"] == before


def test_what_is_on_the_bridge_is_told_to_the_link_after_a_start(stage: Staged) -> None:
    end = time.monotonic() + 5
    while not any(call[0] == "replayed" for call in stage.link_calls()) and time.monotonic() < end:
        time.sleep(0.05)
    assert ["start"] in stage.link_calls()
    assert any(call[0] == "replayed" for call in stage.link_calls())


def test_in_a_linux_bridge_agent_ports_are_attached_by_tap_and_bridge(switch: OpenVSwitch) -> None:
    with Staged(switch, REFERENCE_PYTHON, patched=True, driver_type="linuxbridge") as stage:
        stage.has(NET, [net_association(IN_RED, FOUR), net_association(IN_LAN, FOUR)])
        stage.initialize()
        stage.handle_port(details(port(vlan=None, ofport=None)))
        assert stage.settle(), stage.log()
        evpn, ipvpn = stage.attachments(PORT)
        assert evpn["local_port"]["linuxif"] == f"tap{PORT[:11]}"
        assert evpn["local_port"]["linuxbr"] == f"brq{NETWORK[:11]}"
        assert ipvpn["local_port"]["linuxif"] == f"brq{NETWORK[:11]}"
        stage.delete_port(PORT)
        assert stage.attachments(PORT) is None
