"""The link with our daemon: told at once, told again when it restarts, whatever happens in between."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from bagpipe.neutron.agent.link import DaemonLink, Interface, LocalPort, Readvertise, body_v2
from tests.neutron.link.daemons import NET, Ours, attachment, linked, port_id, running
from tests.system.running import wait_for

FIFTY = range(1, 51)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Ours]:
    ours = Ours(tmp_path)
    with running(ours):
        yield ours.start()


def state_fifty(link: DaemonLink) -> None:
    for number in FIFTY:
        link.set_port(port_id(number), [attachment(number)])


def settled(link: DaemonLink, numbers: range = FIFTY, timeout: float = 15.0) -> bool:
    end = time.monotonic() + timeout
    return all(link.settled(port_id(number), max(end - time.monotonic(), 0)) for number in numbers)


def addresses(numbers: range = FIFTY) -> set[tuple[str, str]]:
    return {(f"ipvpn_{NET}", attachment(number).addresses[0].removesuffix("/32")) for number in numbers}


def endpoints(daemon: Ours) -> set[tuple[str, str]]:
    return {(instance, ip.partition("/")[0]) for instance, ip in daemon.endpoints()}


def test_fifty_ports_at_once_are_in_effect_in_a_second_and_nobody_waits(daemon: Ours) -> None:
    with linked(daemon.port) as link:
        link.set_port(port_id(99), [attachment(99)])
        assert link.settled(port_id(99), 15)
        begin = time.monotonic()
        state_fifty(link)
        said = time.monotonic()
        assert settled(link)
        assert said - begin < 0.1
        assert time.monotonic() - begin < 1
        assert endpoints(daemon) == addresses() | addresses(range(99, 100))
        state = link.state
        assert (state.is_up, state.kind, state.ports, state.attachments) == (True, "v2", 51, 51)
        assert state.pending == state.refused == {}
        for number in FIFTY:
            link.forget_port(port_id(number))
        assert settled(link)
        assert endpoints(daemon) == addresses(range(99, 100))


def test_a_daemon_may_come_long_after_the_agent(tmp_path: Path) -> None:
    ours = Ours(tmp_path)
    states: list[bool] = []
    with running(ours), linked(ours.port, on_state=states.append) as link:
        state_fifty(link)
        for number in range(1, 11):
            link.forget_port(port_id(number))
        assert not link.settled(port_id(20), 0.1)
        state = link.state
        assert (state.is_up, state.kind, state.process) == (False, "", None)
        assert (state.why, len(state.pending)) == ("Connection refused", 40)
        ours.start()
        assert settled(link)
        assert endpoints(ours) == addresses(range(11, 51))
        assert states == [True]


@pytest.mark.parametrize("keeps", [True, False], ids=["with its journal", "without"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_restarted_daemon_is_told_what_it_missed(daemon: Ours, how: signal.Signals, keeps: bool) -> None:
    states: list[bool] = []
    with linked(daemon.port, on_state=states.append) as link:
        state_fifty(link)
        assert settled(link)
        daemon.end(how)
        wait_for(lambda: not link.state.is_up, "the link knows", 1)
        assert not link.settled(port_id(20), 0)
        for number in range(1, 11):
            link.forget_port(port_id(number))
        link.set_port(port_id(60), [attachment(60)])
        link.set_port(port_id(20), [attachment(20, addresses=("10.9.9.9/32",))])
        if not keeps:
            daemon.lose_journal()
        before = link.state.process
        daemon.start()
        begin = time.monotonic()
        assert settled(link, range(1, 61))
        assert time.monotonic() - begin < 2
        expected = addresses(range(11, 51)) - addresses(range(20, 21)) | addresses(range(60, 61))
        assert endpoints(daemon) == expected | {(f"ipvpn_{NET}", "10.9.9.9")}
        assert link.state.process not in {None, before}
        assert states == [True, False, True]


def test_a_restart_within_a_moment_is_noticed_within_a_second(daemon: Ours) -> None:
    with linked(daemon.port) as link:
        state_fifty(link)
        assert settled(link)
        process = link.state.process
        daemon.end()
        daemon.lose_journal()
        daemon.start()
        begin = time.monotonic()
        wait_for(lambda: link.state.process != process, "it is noticed", 2)
        assert settled(link)
        assert time.monotonic() - begin < 1.5
        assert endpoints(daemon) == addresses()


def test_a_daemon_that_stands_still_holds_up_nobody_and_misses_nothing(
    daemon: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bagpipe.neutron.agent.link.exchange.V2_TIMEOUT", 0.5)
    monkeypatch.setattr("bagpipe.neutron.agent.link.meeting.TIMEOUT", 0.5)
    monkeypatch.setattr("bagpipe.neutron.agent.link.ledger.LATE", 0.5)
    with linked(daemon.port) as link:
        state_fifty(link)
        assert settled(link)
        daemon.send(signal.SIGSTOP)
        begin = time.monotonic()
        for number in range(51, 101):
            link.set_port(port_id(number), [attachment(number)])
        for number in range(1, 11):
            link.forget_port(port_id(number))
        assert time.monotonic() - begin < 0.2
        wait_for(lambda: link.state.why == "no answer in time", "the link knows", 3)
        for number in range(91, 101):  # stated in the request that nobody waits for any more
            link.forget_port(port_id(number))
        time.sleep(1)
        daemon.send(signal.SIGCONT)
        assert settled(link, range(1, 101))
        time.sleep(1)
        assert settled(link, range(1, 101))
        assert endpoints(daemon) == addresses(range(11, 91))


def test_one_that_is_refused_is_named_once_and_keeps_nobody_out(daemon: Ours, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    wrong = attachment(7, mac="nonsense")
    odd = attachment(8, import_rts=frozenset({"many"}))
    with linked(daemon.port) as link:
        state_fifty(link)
        link.set_port(port_id(7), [wrong])
        link.set_port(port_id(8), [odd])
        good = [number for number in FIFTY if number not in (7, 8)]
        assert all(link.settled(port_id(number), 5) for number in good)
        wait_for(lambda: len(link.state.refused) == 2, "both are refused", 5)
        assert link.state.refused.keys() == {wrong.name, odd.name}
        assert "'nonsense'" in link.state.refused[wrong.name]
        assert "many" in link.state.refused[odd.name]
        assert not link.settled(port_id(7), 0)
        link.set_port(port_id(60), [attachment(60)])
        assert link.settled(port_id(60), 5)
        time.sleep(1.5)  # in which they are tried once more
        said = [record.getMessage() for record in caplog.records if "refuses" in record.getMessage()]
        assert len(said) == 2, said
        link.set_port(port_id(7), [attachment(7)])
        assert link.settled(port_id(7), 5)
        link.forget_port(port_id(8))
        assert link.settled(port_id(8), 5)
        assert link.state.refused == {}
        assert endpoints(daemon) == addresses(range(1, 51)) - addresses(range(8, 9)) | addresses(range(60, 61))


def test_what_is_refused_for_the_sake_of_another_goes_well_when_that_is_gone(daemon: Ours) -> None:
    name = f"{port_id(9)}/taken"
    path = f"/v2/attachments/{quote(name)}"
    foreign = body_v2.body(attachment(1))
    assert daemon.ask("PUT", path, foreign)["state"] == "in-effect"
    with linked(daemon.port) as link:
        link.set_port(port_id(1), [attachment(1)])
        wait_for(lambda: link.state.refused, "it is refused")
        assert "is attached as" in link.state.refused[attachment(1).name]
        daemon.ask("DELETE", path)
        link.set_port(port_id(2), [attachment(2)])
        assert link.settled(port_id(1), 5)


def test_an_agent_that_starts_again_changes_nothing_that_it_still_wants(daemon: Ours) -> None:
    with linked(daemon.port) as link:
        state_fifty(link)
        assert settled(link)
    assert len(daemon.held()) == 50
    puts_before = daemon.ask("GET", f"/v2/attachments/{quote(attachment(1).name)}")
    with linked(daemon.port) as link:
        wait_for(lambda: link.state.is_up, "the link is up")
        time.sleep(0.3)
        assert len(daemon.held()) == 50, "nothing goes before the agent has spoken"
        for number in range(1, 31):
            link.set_port(port_id(number), [attachment(number)])
        link.set_port(port_id(31), [])
        link.forget_port(port_id(32))
        assert settled(link, range(1, 33))
        assert endpoints(daemon) == addresses() - addresses(range(31, 33))
        link.replayed([port_id(number) for number in range(1, 41)])
        wait_for(lambda: len(daemon.held()) == 38, "ports that are not there any more are dropped")
        assert endpoints(daemon) == addresses(range(1, 41)) - addresses(range(31, 33))
        assert daemon.ask("GET", f"/v2/attachments/{quote(attachment(1).name)}") == puts_before


def test_what_others_attach_is_left_alone(daemon: Ours) -> None:
    daemon.ask("PUT", "/v2/attachments/mine", {**body_v2.body(attachment(200)), "owner": "somebody"})
    with linked(daemon.port) as link:
        link.set_port(port_id(1), [attachment(1)])
        link.replayed([])
        assert link.settled(port_id(1), 5)
        link.forget_port(port_id(1))
        assert link.settled(port_id(1), 5)
        assert daemon.ask("GET", "/v2/attachments/mine")["owner"] == "somebody"


def test_a_port_alone_in_its_instance_shares_its_place_with_others(daemon: Ours) -> None:
    alone = [
        attachment(
            number,
            instance_id=f"ipvpn_{NET}_port_{port_id(number)}",
            local_port=LocalPort("patch2tun:5", 3, 5, source_mac=attachment(number).mac),
        )
        for number in (1, 2)
    ]
    with linked(daemon.port) as link:
        for one in alone:
            link.set_port(one.port_id, [one])
        assert settled(link, range(1, 3)), link.state
        assert len({instance for instance, _ in endpoints(daemon)}) == 2


def test_changed_leaks_are_taken_though_an_instance_has_them_from_its_creation(daemon: Ours) -> None:
    def leak(target: str) -> None:
        readvertise = Readvertise(frozenset({target}), frozenset({"64512:1"}))
        link.set_port(port_id(1), [attachment(1, readvertise=readvertise)])
        assert link.settled(port_id(1), 5), link.state

    with linked(daemon.port) as link:
        for target in ("64512:8", "64512:9"):
            leak(target)
            told = daemon.ask("GET", f"/looking-glass/vpns/instances/ipvpn_{NET}")
            assert target in str(told["readvertise"])


def test_it_speaks_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    ours = Ours(tmp_path, socket=path)
    with running(ours), linked(1, address=str(path)) as link:
        link.set_port(port_id(1), [attachment(1)])
        assert "No such file" in wait_for(lambda: link.state.why if link.state.why != "not asked yet" else "", "tried")
        ours.start()
        assert link.settled(port_id(1), 10)
        assert link.state.kind == "v2"


def test_the_old_interface_of_our_daemon_serves_as_well_with_ipv6(daemon: Ours) -> None:
    both = attachment(1, addresses=("10.0.0.1/32", "2001:db8::1/128"))
    with linked(daemon.port, interface=Interface.V1, ping_interval=0.2) as link:
        link.set_port(port_id(1), [both])
        link.set_port(port_id(2), [attachment(2)])
        assert settled(link, range(1, 3))
        assert link.state.kind == "v1"
        assert endpoints(daemon) == addresses(range(1, 3)) | {(f"ipvpn_{NET}", "2001:db8::1")}
        daemon.end()
        link.forget_port(port_id(2))
        daemon.start()
        assert settled(link, range(1, 3))
        assert endpoints(daemon) == addresses(range(1, 2)) | {(f"ipvpn_{NET}", "2001:db8::1")}


def test_what_watches_the_link_may_fail(daemon: Ours, caplog: pytest.LogCaptureFixture) -> None:
    def fails(is_up: bool) -> None:
        raise RuntimeError(f"up: {is_up}")

    with linked(daemon.port, on_state=fails) as link:
        link.set_port(port_id(1), [attachment(1)])
        assert link.settled(port_id(1), 5)
    assert "what was called for the state of the link failed" in caplog.text


@pytest.mark.parametrize("is_stopped", [False, True], ids=["running", "standing still"])
def test_a_link_ends_at_once_and_leaves_no_thread(daemon: Ours, is_stopped: bool) -> None:
    with contextlib.ExitStack() as held:
        link = held.enter_context(linked(daemon.port))
        link.set_port(port_id(1), [attachment(1)])
        assert link.settled(port_id(1), 5)
        if is_stopped:
            daemon.send(signal.SIGSTOP)
            link.set_port(port_id(2), [attachment(2)])
            time.sleep(0.2)
        begin = time.monotonic()
        link.stop()
        assert time.monotonic() - begin < 0.5
        assert not [one for one in threading.enumerate() if one.name.startswith("bagpipe-")]
        link.set_port(port_id(3), [attachment(3)])
        link.forget_port(port_id(1))
