"""Questions to the server: asked together, asked again until answered, and not believed when they may be old."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import oslo_messaging
import pytest

from bagpipe.neutron.agent import pulling
from bagpipe.neutron.agent.pulling import NetworkAnswer, PortAnswer, Puller


class Server:
    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.during: Callable[[str], None] = lambda kind: None

    def bulk_pull(self, context: Any, resource_type: str, filter_kwargs: Mapping[str, Any]) -> list[Any]:
        ((_, value),) = filter_kwargs.items()
        self.asked.append((resource_type, value))
        self.during(resource_type)
        values = value if isinstance(value, list) else [value]
        return [SimpleNamespace(port_id=each) for each in values] if "Port" in resource_type else []


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def answers() -> list[Any]:
    return []


@pytest.fixture
def puller(server: Server, answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Puller]:
    monkeypatch.setattr(pulling, "FIRST_PAUSE", 0.05)
    made = Puller(server, None, answers.append)
    yield made
    made.stop()


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.01)


def test_many_ports_of_one_network_are_three_questions(puller: Puller, server: Server, answers: list[Any]) -> None:
    for index in range(50):
        puller.ask_network("net")
        puller.ask_port(f"port{index}")
    puller.start()
    wait(puller.is_idle)
    assert [kind for kind, _ in server.asked] == [
        pulling.PORT_ASSOCIATION,
        pulling.NETWORK_ASSOCIATION,
        pulling.ROUTER_ASSOCIATION,
    ]
    ports = [each for each in answers if isinstance(each, PortAnswer)]
    assert {each.port_id: len(each.associations) for each in ports} == {f"port{index}": 1 for index in range(50)}


def test_a_question_that_fails_is_asked_until_it_is_answered(
    puller: Puller, server: Server, answers: list[Any]
) -> None:
    failures = iter([True, True, True])

    def fail(kind: str) -> None:
        if next(failures, False):
            raise oslo_messaging.MessagingTimeout

    server.during = fail
    puller.ask_network("net")
    puller.start()
    wait(puller.is_idle)
    assert answers == [NetworkAnswer("net", [], [])]
    assert len(server.asked) == 5


def test_an_answer_during_which_something_was_pushed_is_asked_again(
    puller: Puller, server: Server, answers: list[Any]
) -> None:
    pushes = iter([True])

    def push(kind: str) -> None:
        if next(pushes, False):
            puller.pushed(network_id="net")

    server.during = push
    puller.ask_network("net")
    puller.start()
    wait(puller.is_idle)
    assert len(server.asked) == 4
    assert len(answers) == 1


def test_what_is_withdrawn_is_not_answered(puller: Puller, server: Server, answers: list[Any]) -> None:
    asked, go = threading.Event(), threading.Event()

    def hold(kind: str) -> None:
        asked.set()
        go.wait(5)

    server.during = hold
    puller.ask_port("port")
    puller.start()
    assert asked.wait(5)
    puller.withdraw_port("port")
    go.set()
    wait(puller.is_idle)
    time.sleep(0.05)
    assert answers == []


def test_a_server_that_takes_no_lists_is_asked_port_by_port(puller: Puller, server: Server, answers: list[Any]) -> None:
    def refuse(kind: str) -> None:
        if isinstance(server.asked[-1][1], list):
            raise oslo_messaging.RemoteError("TypeError", "no lists")

    server.during = refuse
    for name in ("one", "two"):
        puller.ask_port(name)
    puller.start()
    wait(puller.is_idle)
    assert sorted(each.port_id for each in answers) == ["one", "two"]
