"""All that is published on the RabbitMQ of a stack, read below oslo.messaging: what is on the wire, and who gets it.

RabbitMQ's tracer (``rabbitmqctl trace_on``) copies each message to the exchange ``amq.rabbitmq.trace``, with the
exchange and routing key that it was published with and the queues that it went to, if to any. Agents older than Queens,
of which a stack has none, are stood for by a queue for each host, bound as such an agent binds its own.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import amqp

from tests.system.ovs_nodes import inside

BROKER = "10.97.0.1:5672"
RABBITMQCTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
OLD_TOPIC = "q-agent-notifier-bagpipe-bgpvpn-update"
PATIENCE = 30.0
"""Seconds that expected messages may take."""


@dataclass(frozen=True, slots=True)
class Message:
    """One remote procedure call as it was published; ``queues`` are those that it was put into."""

    exchange: str
    key: str
    queues: tuple[str, ...]
    method: str
    version: str
    namespace: str | None
    args: dict[str, Any]


class Overheard:
    """What is published on a stack's broker about BGP VPNs, while the context lasts."""

    def __init__(self, stack: str, old_agents_of: Iterable[str]) -> None:
        self._controller = f"{stack}-controller"
        self._home = f"/run/{stack}/controller/rabbitmq"
        self._hosts = tuple(old_agents_of)
        self._messages: list[Message] = []
        self._ends = 0
        self._end_seen = 0

    def __enter__(self) -> Self:
        self._trace("trace_on")
        self._connection = amqp.Connection(BROKER, "lab", "lab")
        with inside(self._controller):
            self._connection.connect()
        self._channel = self._connection.channel()
        for host in self._hosts:
            self._be_an_old_agent(host)
        queue = self._channel.queue_declare("", exclusive=True).queue
        self._channel.queue_bind(queue, "amq.rabbitmq.trace", "publish.#")
        self._channel.basic_consume(queue, no_ack=True, callback=self._overhear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._trace("trace_off")

    def messages(self, least: int = 0) -> list[Message]:
        """All that was published since the last call; waits until it is so many at least. Raises AssertionError.

        What was published before this is called is there: a message of our own, published now, comes after it.
        """
        deadline = time.monotonic() + PATIENCE
        self._drain()
        while len(self._messages) < least:
            assert time.monotonic() < deadline, f"{least} messages expected, these came: {self._messages}"
            time.sleep(0.1)
            self._drain()
        found, self._messages = self._messages, []
        return found

    def _drain(self) -> None:
        self._ends += 1
        self._channel.basic_publish(amqp.Message(""), exchange="", routing_key=f"end-{self._ends}")
        while self._end_seen < self._ends:
            self._connection.drain_events(timeout=PATIENCE)

    def _overhear(self, copy: Any) -> None:
        exchange, (key,) = copy.headers["exchange_name"], copy.headers["routing_keys"]
        if not exchange and key == f"end-{self._ends}":
            self._end_seen = self._ends
        if "bgpvpn" not in f"{exchange} {key}".lower():
            return
        envelope = json.loads(copy.body)
        assert envelope.keys() == {"oslo.version", "oslo.message"}, envelope
        assert envelope["oslo.version"] == "2.0"
        said = json.loads(envelope["oslo.message"])
        queues = tuple(sorted(copy.headers["routed_queues"]))
        about = (said["method"], said["version"], said.get("namespace"), said["args"])
        self._messages.append(Message(exchange, key, queues, *about))

    def _be_an_old_agent(self, host: str) -> None:
        channel, queue, to_all = self._channel, old_agent(host), f"{OLD_TOPIC}_fanout"
        channel.queue_declare(queue, exclusive=True)
        channel.exchange_declare(to_all, "fanout", durable=False, auto_delete=True)
        channel.queue_bind(queue, to_all)
        for key in (OLD_TOPIC, f"{OLD_TOPIC}.{host}"):
            channel.queue_bind(queue, "neutron", key)

    def _trace(self, switch: str) -> None:
        command = ["ip", "netns", "exec", self._controller, "env", f"HOME={self._home}"]
        command += [RABBITMQCTL, "-n", "rabbit@localhost", switch]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def old_agent(host: str) -> str:
    """The queue of the agent older than Queens on a host."""
    return f"old-agent-of-{host}"
