"""The link with the daemon of networking-bagpipe 20.0.0, a black box with a dummy dataplane."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bagpipe.neutron.agent.link import DaemonLink, LocalPort
from tests.neutron.link.daemons import NET, Ours, Theirs, attachment, linked, port_id, running
from tests.system.running import wait_for

INSTANCE = f"ipvpn_{NET}"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Theirs]:
    theirs = Theirs(tmp_path)
    with running(theirs):
        yield theirs.start()


def addresses(*numbers: int) -> set[tuple[str, str]]:
    return {(INSTANCE, attachment(number).addresses[0]) for number in numbers}


def endpoints(daemon: Theirs) -> set[tuple[str, str]]:
    return {(instance, ip if "/" in ip else f"{ip}/32") for instance, ip in daemon.endpoints()}


def settled(link: DaemonLink, numbers: range, timeout: float = 30.0) -> bool:
    end = time.monotonic() + timeout
    return all(link.settled(port_id(number), max(end - time.monotonic(), 0)) for number in numbers)


def test_fifty_ports_are_attached_one_after_the_other_and_detached_again(daemon: Theirs) -> None:
    fifty = range(1, 51)
    with linked(daemon.port) as link:
        begin = time.monotonic()
        for number in fifty:
            link.set_port(port_id(number), [attachment(number)])
        assert time.monotonic() - begin < 0.1
        assert settled(link, fifty)
        assert time.monotonic() - begin < 8
        assert link.state.kind == "v1"
        assert endpoints(daemon) == addresses(*fifty)
        for number in range(1, 50):
            link.forget_port(port_id(number))
        assert settled(link, fifty)
        assert endpoints(daemon) == addresses(50)


def test_a_restarted_daemon_is_told_everything_and_nothing_that_went_meanwhile(daemon: Theirs) -> None:
    with linked(daemon.port, ping_interval=0.5) as link:
        for number in range(1, 11):
            link.set_port(port_id(number), [attachment(number)])
        assert settled(link, range(1, 11))
        daemon.end()
        wait_for(lambda: not link.state.is_up, "the link knows", 3)
        link.forget_port(port_id(1))
        link.set_port(port_id(11), [attachment(11)])
        process = link.state.process
        daemon.start()
        assert settled(link, range(1, 12))
        assert endpoints(daemon) == addresses(*range(2, 12))
        assert link.state.process != process


def test_a_daemon_that_stood_still_is_told_what_it_missed_though_its_number_is_the_same(
    daemon: Theirs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bagpipe.neutron.agent.link.exchange.V1_TIMEOUT", 0.5)
    monkeypatch.setattr("bagpipe.neutron.agent.link.meeting.TIMEOUT", 0.5)
    monkeypatch.setattr("bagpipe.neutron.agent.link.ledger.LATE", 1.0)
    with linked(daemon.port, ping_interval=0.5) as link:
        for number in (1, 2, 3):
            link.set_port(port_id(number), [attachment(number)])
        assert settled(link, range(1, 4))
        process = link.state.process
        daemon.send(signal.SIGSTOP)
        link.set_port(port_id(4), [attachment(4)])  # on its way when nobody waits any more
        wait_for(lambda: not link.state.is_up, "the link knows", 5)
        link.forget_port(port_id(4))
        link.forget_port(port_id(1))
        link.set_port(port_id(5), [attachment(5)])
        time.sleep(1)
        daemon.send(signal.SIGCONT)
        assert settled(link, range(1, 6))
        wait_for(lambda: endpoints(daemon) == addresses(2, 3, 5), "late requests are made good", 10)
        time.sleep(1.5)
        assert settled(link, range(1, 6))
        assert endpoints(daemon) == addresses(2, 3, 5)
        assert link.state.process == process


def test_a_detach_of_what_is_not_there_is_done(daemon: Theirs) -> None:
    with linked(daemon.port, ping_interval=0.5) as link:
        link.set_port(port_id(1), [attachment(1)])
        assert link.settled(port_id(1), 10)
        daemon.end()
        daemon.start()
        link.forget_port(port_id(1))
        assert link.settled(port_id(1), 10)
        assert endpoints(daemon) == set()


def test_several_addresses_and_both_types_are_several_calls_and_ipv6_is_left_out(
    daemon: Theirs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with linked(daemon.port) as link:
        for number in (1, 2):
            ipvpn = attachment(number, addresses=(f"10.0.0.{number}/32", f"10.1.0.{number}/32", "2001:db8::1/128"))
            evpn = attachment(
                number, type="evpn", instance_id=f"evpn_{NET}", vni=77, local_port=LocalPort("patch2tun:5", vlan=5)
            )
            link.set_port(port_id(number), [ipvpn, evpn])
        assert settled(link, range(1, 3)), link.state
        both = {(INSTANCE, f"10.{net}.0.{number}/32") for net in (0, 1) for number in (1, 2)}
        assert endpoints(daemon) == both | {(f"evpn_{NET}", f"10.0.0.{number}/32") for number in (1, 2)}
        assert len([one for one in caplog.records if "no IPv6" in one.getMessage()]) == 1
        link.set_port(port_id(1), [])
        link.forget_port(port_id(2))
        assert settled(link, range(1, 3))
        assert endpoints(daemon) == set()


def test_ports_alone_in_their_instances_share_that_of_their_network(
    daemon: Theirs, caplog: pytest.LogCaptureFixture
) -> None:
    with linked(daemon.port) as link:
        for number in (1, 2):
            own = attachment(
                number,
                instance_id=f"{INSTANCE}_port_{port_id(number)}",
                shared_instance_id=INSTANCE,
                import_rts=frozenset({"64512:1", f"64512:{number}00"}),
                local_port=LocalPort("patch2tun:5", 3, 5, source_mac=attachment(number).mac),
            )
            link.set_port(port_id(number), [own])
            assert link.settled(port_id(number), 10)
        assert endpoints(daemon) == addresses(1, 2)
        assert daemon.targets(INSTANCE) == {"64512:1", "64512:200"}
        assert len([one for one in caplog.records if "tell the ports of a network apart" in one.getMessage()]) == 1


def test_changed_route_targets_are_taken_without_a_detach_and_a_changed_place_with_one(daemon: Theirs) -> None:
    with linked(daemon.port) as link:
        link.set_port(port_id(1), [attachment(1)])
        assert link.settled(port_id(1), 10)
        link.set_port(port_id(1), [attachment(1, import_rts=frozenset({"64512:2"}))])
        assert link.settled(port_id(1), 10)
        assert daemon.targets(INSTANCE) == {"64512:2"}
        link.set_port(port_id(1), [attachment(1, local_port=LocalPort("patch2tun:6", 3, 6))])
        assert link.settled(port_id(1), 10), link.state
        assert set(daemon.ask(f"/looking-glass/vpns/instances/{INSTANCE}/ports")) == {"patch2tun:6"}


def test_one_that_is_refused_keeps_nobody_out(daemon: Theirs, caplog: pytest.LogCaptureFixture) -> None:
    to_port = attachment(1, direction="to-port")  # which the dummy dataplane of the reference cannot
    with linked(daemon.port) as link:
        link.set_port(port_id(1), [to_port])
        link.set_port(port_id(2), [attachment(2)])
        assert link.settled(port_id(2), 10)
        (reason,) = wait_for(lambda: link.state.refused, "it is refused", 10).values()
        assert "Unsupported direction" in reason
        assert not link.settled(port_id(1), 0)
        assert len([one for one in caplog.records if "refuses" in one.getMessage()]) == 1
        link.set_port(port_id(1), [attachment(1)])
        assert link.settled(port_id(1), 10)


def test_a_daemon_is_upgraded_in_its_place_and_rolled_back(daemon: Theirs, tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    ours = Ours(tmp_path / "ours")
    text = ours.node.file.read_text().replace(f"port={ours.port}", f"port={daemon.port}")
    ours.node.file.write_text(text)
    ours.node.port = ours.port = daemon.port
    with running(ours), linked(daemon.port, ping_interval=0.5) as link:
        for number in (1, 2, 3):
            link.set_port(port_id(number), [attachment(number)])
        assert settled(link, range(1, 4))
        assert link.state.kind == "v1"
        daemon.end()
        link.forget_port(port_id(1))
        ours.start()
        wait_for(lambda: link.state.kind == "v2", "the link has found v2", 10)
        assert settled(link, range(1, 4))
        assert {ip for _, ip in ours.endpoints()} == {"10.0.0.2/32", "10.0.0.3/32"}
        ours.end()
        link.forget_port(port_id(2))
        daemon.start()
        wait_for(lambda: link.state.kind == "v1", "the link has found v1", 10)
        assert settled(link, range(1, 4))
        assert endpoints(daemon) == addresses(3)
