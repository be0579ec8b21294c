"""The Open vSwitch database: a replica of what matters here, and changes to it.

OVSDB (RFC 7047) by the IDL of python-ovs, in one thread of its own: the IDL parses JSON in plain Python, which must not
hold the event loop up. ovsdbapp is not used, though it wraps the same IDL: its connection cannot be started while the
server is away, cannot be stopped while a transaction waits for a server that is gone, and is one per process.

The thread publishes immutable :class:`Contents` and takes transactions; everybody else lives on the loop. Only the
tables and columns of the schema below are replicated, so that the statistics that Open vSwitch writes every five
seconds are not. Speaks to ``unix:`` and ``tcp:`` servers; no TLS, no clustered database.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ovs.db import idl
from ovs.poller import POLLIN, Poller

from bagpipe.dataplane.errors import DataplaneError, Unreachable
from bagpipe.errors import LocalMisuse

_log = logging.getLogger(__name__)

OWNER_KEY, OWNER = "bagpipe-owner", "bagpipe-bgp"
"""The external_ids entry of a Port row that is ours."""

_BACKOFF = (250, 2000)
_RETRY = 100
_PROBE = 0.2

_Type = dict[str, Any]
_STRING: _Type = {"type": "string"}
_NUMBER: _Type = {"type": "integer"}
_MAP: _Type = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}
_MAYBE_STRING: _Type = {"type": {"key": "string", "min": 0, "max": 1}}
_MAYBE_NUMBER: _Type = {"type": {"key": "integer", "min": 0, "max": 1}}


def _references(table: str) -> _Type:
    return {"type": {"key": {"type": "uuid", "refTable": table}, "min": 0, "max": "unlimited"}}


# What is replicated of vswitch.ovsschema (ovs-vswitchd.conf.db(5)); all of it is in Open vSwitch 2.17 and later.
_TABLES: dict[str, dict[str, _Type]] = {
    "Open_vSwitch": {"bridges": _references("Bridge"), "next_cfg": _NUMBER, "cur_cfg": _NUMBER},
    "Bridge": {"name": _STRING, "ports": _references("Port"), "datapath_type": _STRING},
    "Port": {"name": _STRING, "interfaces": _references("Interface"), "external_ids": _MAP, "other_config": _MAP},
    "Interface": {
        "name": _STRING,
        "type": _STRING,
        "options": _MAP,
        "ofport": _MAYBE_NUMBER,
        "error": _MAYBE_STRING,
        "mac_in_use": _MAYBE_STRING,
        "mtu_request": _MAYBE_NUMBER,
    },
}
_ROOT = frozenset({"Open_vSwitch"})


def _schema() -> idl.SchemaHelper:
    tables = {
        name: {"columns": columns, **({"isRoot": True} if name in _ROOT else {})} for name, columns in _TABLES.items()
    }
    helper = idl.SchemaHelper(schema_json={"name": "Open_vSwitch", "version": "8.0.0", "tables": tables})
    for name in tables:
        helper.register_table(name)
    return helper


def _vni_of(configuration: Mapping[str, str]) -> int | None:
    """What Neutron's agent notes at a port that it has wired."""
    number = configuration.get("segmentation_id", "")
    return int(number) if configuration.get("network_type") == "vxlan" and number.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Interface:
    """A row of Interface. ``number`` is its ofport (None: none, or it failed, with the reason in ``error``)."""

    name: str
    kind: str
    options: Mapping[str, str]
    number: int | None
    error: str | None
    mac: bytes | None
    mtu_request: int | None


@dataclass(frozen=True, slots=True)
class Port:
    """A row of Port: ``is_ours`` if it carries our mark; ``vni`` is that of the VXLAN network it belongs to, if Neutron
    has noted one.
    """

    name: str
    interfaces: tuple[UUID, ...]
    is_ours: bool
    vni: int | None = None


@dataclass(frozen=True, slots=True)
class Bridge:
    """A row of Bridge, its interfaces, which of its ports are ours, and the VNIs of its ports' networks."""

    name: str
    datapath_type: str
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    ours: frozenset[str] = frozenset()
    vnis: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Contents:
    """What the database held when ``is_current`` was last true.

    ``fault`` says why it is not current, ``configured`` is the last configuration that ovs-vswitchd has put in effect.
    """

    is_current: bool
    fault: str | None
    bridges: Mapping[str, Bridge] = field(default_factory=dict)
    configured: int = 0


Build = Callable[["Rows"], None]


class Rows:
    """The database inside a transaction, used in the thread only: rows by name, with the IDL's own setters."""

    def __init__(self, replica: idl.Idl, transaction: idl.Transaction) -> None:
        self._tables = replica.tables
        self._transaction = transaction
        self._counts = False

    def named(self, table: str, name: str) -> Any:
        """The row of this name; None if there is none."""
        return next((row for row in self._tables[table].rows.values() if row.name == name), None)

    def by_name(self, table: str) -> dict[str, Any]:
        """All rows of a table by name."""
        return {row.name: row for row in self._tables[table].rows.values()}

    def bridge_of(self, port: Any) -> Any:
        """The bridge that a port is on; None if it is on none."""
        return next((row for row in self._tables["Bridge"].rows.values() if port in row.ports), None)

    def insert(self, table: str, name: str) -> Any:
        """A new row of this name."""
        row = self._transaction.insert(self._tables[table])
        row.name = name
        return row

    def count(self) -> None:
        """Have ovs-vswitchd tell when it has put this transaction in effect; asking again changes nothing."""
        if self._counts:
            return
        self._counts = True
        for row in self._tables["Open_vSwitch"].rows.values():
            row.increment("next_cfg")


class _Replica(idl.Idl):  # type: ignore[misc]
    """The IDL, which remembers whose rows have changed."""

    def __init__(self, remote: str) -> None:
        self.touched: set[UUID] = set()
        super().__init__(remote, _schema(), leader_only=False)
        self._session.reconnect.set_backoff(*_BACKOFF)

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        """Called by the IDL for each row that has changed."""
        self.touched.add(row.uuid)

    @property
    def is_current(self) -> bool:
        """Whether the replica is what the server has."""
        return bool(self._session.is_connected()) and self.state == self.IDL_S_MONITORING


@dataclass(slots=True)
class _Job:
    build: Build
    deadline: float
    done: concurrent.futures.Future[int | None]
    transaction: idl.Transaction | None = None


class Database:
    """A lasting connection to an OVSDB server. ``published`` is called on the loop with each new :class:`Contents`.

    Raises LocalMisuse for a server that is neither ``unix:PATH`` nor ``tcp:ADDRESS:PORT``.
    """

    def __init__(self, remote: str, published: Callable[[Contents], None]) -> None:
        if not remote.startswith(("unix:/", "tcp:")):
            raise LocalMisuse("OVSDB server", remote, "expected unix:PATH or tcp:ADDRESS:PORT")
        self.remote = remote
        self._published = published
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._jobs: deque[_Job] = deque()
        self._closing = False
        self._seqno = -1
        self._next_look = 0.0
        self._contents = Contents(False, f"{remote}: not connected yet")
        self._interfaces: dict[UUID, Interface] = {}
        self._ports: dict[UUID, Port] = {}
        self._inbox: deque[_Job] = deque()
        self._wake_reader, self._wake_writer = -1, -1

    def start(self) -> None:
        """Begin to connect, for ever."""
        self._loop = asyncio.get_running_loop()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="ovsdb", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """End the connection and its thread. Whoever waits for a transaction is told Unreachable."""
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._closing = True
        self._wake()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    async def change(self, build: Build, timeout: float) -> int | None:
        """Do a transaction: ``build`` is called in the thread, again for each attempt.

        Gives the number of the configuration that it made, or None if it changed nothing. Raises DataplaneError with
        the text of OVSDB, or what ``build`` raised; Unreachable after ``timeout`` seconds without an answer.
        """
        if self._thread is None:
            raise Unreachable(f"{self.remote}: closed")
        job = _Job(build, time.monotonic() + timeout, concurrent.futures.Future())
        self._inbox.append(job)
        self._wake()
        return await asyncio.wrap_future(job.done)

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, b"\0")
        except BlockingIOError:
            _log.debug("the thread of %s has been woken already", self.remote)

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        replica = _Replica(self.remote)
        poller = Poller()
        while not self._closing:
            try:
                replica.run()
                self._publish(replica)
                self._advance(replica)
                replica.wait(poller)
            except Exception:  # a defect of ours or of the IDL: what is replicated may be wrong from here on
                _log.exception("following %s failed; beginning anew", self.remote)
                replica.close()
                replica = _Replica(self.remote)
                poller.timer_wait(_BACKOFF[1])
            if self._jobs:
                poller.timer_wait(_RETRY)
            poller.fd_wait(self._wake_reader, POLLIN)
            poller.block()
            self._drain()
        replica.close()
        self._drain()
        for job in self._jobs:
            self._fail(job, Unreachable(f"{self.remote}: closed"))

    def _drain(self) -> None:
        try:
            while os.read(self._wake_reader, 512):
                pass
        except BlockingIOError:
            pass
        while self._inbox:
            self._jobs.append(self._inbox.popleft())

    def _publish(self, replica: _Replica) -> None:
        is_current = replica.is_current
        if is_current:
            if self._contents.is_current and replica.change_seqno == self._seqno:
                return
            self._seqno = replica.change_seqno
            contents = self._read(replica)
        else:
            before, now = self._contents, time.monotonic()
            if not before.is_current and now < self._next_look:
                return
            self._next_look = now + _BACKOFF[1] / 1000
            contents = Contents(False, self._why(), before.bridges, before.configured)
        if contents != self._contents:
            self._contents = contents
            self._tell(contents)

    def _tell(self, contents: Contents) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._published, contents)
        except RuntimeError:
            # The loop has ended without closing this.
            self._closing = True

    def _why(self) -> str:
        """Why the server cannot be reached, as the IDL does not say it."""
        kind, _, rest = self.remote.partition(":")
        try:
            if kind == "tcp":
                host, _, port = rest.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), _PROBE).close()
            else:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.settimeout(_PROBE)
                    probe.connect(rest)
        except (OSError, ValueError) as cause:
            return f"{self.remote}: {getattr(cause, 'strerror', None) or cause}"
        return f"{self.remote}: reachable, no contents yet"

    def _read(self, replica: _Replica) -> Contents:
        if not self._contents.is_current:
            self._interfaces.clear()
            self._ports.clear()
        for touched in replica.touched:
            self._interfaces.pop(touched, None)
            self._ports.pop(touched, None)
        replica.touched.clear()
        bridges = [self._read_bridge(row) for row in replica.tables["Bridge"].rows.values()]
        configured = max((row.cur_cfg for row in replica.tables["Open_vSwitch"].rows.values()), default=0)
        return Contents(True, None, {bridge.name: bridge for bridge in bridges}, configured)

    def _read_bridge(self, row: Any) -> Bridge:
        interfaces, ours, vnis = [], set(), set()
        for port_row in row.ports:
            port = self._ports.get(port_row.uuid)
            if port is None:
                members = tuple(member.uuid for member in port_row.interfaces)
                is_ours = port_row.external_ids.get(OWNER_KEY) == OWNER
                port = Port(port_row.name, members, is_ours, _vni_of(port_row.other_config))
                self._ports[port_row.uuid] = port
            if port.is_ours:
                ours.add(port.name)
            if port.vni is not None:
                vnis.add(port.vni)
            known = [self._interfaces.get(member) for member in port.interfaces]
            if None in known:
                known = [self._read_interface(member) for member in port_row.interfaces]
            interfaces += [interface for interface in known if interface is not None]
        by_name = {interface.name: interface for interface in interfaces}
        return Bridge(row.name, row.datapath_type, by_name, frozenset(ours), frozenset(vnis))

    def _read_interface(self, row: Any) -> Interface:
        number = next(iter(row.ofport), -1)
        mac, error = next(iter(row.mac_in_use), None), next(iter(row.error), None)
        interface = Interface(
            row.name,
            row.type,
            dict(row.options),
            number if number > 0 else None,
            "; ".join(error.splitlines()) if error else None,
            bytes.fromhex(mac.replace(":", "")) if mac else None,
            next(iter(row.mtu_request), None),
        )
        self._interfaces[row.uuid] = interface
        return interface

    def _advance(self, replica: _Replica) -> None:
        now = time.monotonic()
        while self._jobs and self._jobs[0].deadline <= now:
            job = self._jobs.popleft()
            if job.transaction is not None:
                job.transaction.abort()
            self._fail(job, Unreachable(f"{self._contents.fault or self.remote}: no answer to a transaction"))
        while self._jobs:
            job = self._jobs[0]
            if job.done.cancelled():
                self._jobs.popleft()
                continue
            if job.transaction is None:
                if not replica.is_current:
                    return
                self._begin(replica, job)
                continue
            status = job.transaction.commit()
            if status == idl.Transaction.INCOMPLETE:
                return
            if status == idl.Transaction.TRY_AGAIN:
                job.transaction = None
                return
            self._jobs.popleft()
            self._answer(job, status)

    def _begin(self, replica: _Replica, job: _Job) -> None:
        """Begin the job's transaction; one that cannot be built is answered and gone."""
        transaction = idl.Transaction(replica)
        try:
            job.build(Rows(replica, transaction))
        except Exception as cause:  # told to whoever waits
            transaction.abort()
            self._jobs.popleft()
            self._fail(job, cause)
        else:
            job.transaction = transaction

    def _answer(self, job: _Job, status: str) -> None:
        if status == idl.Transaction.UNCHANGED:
            self._settle(job, None)
        elif status == idl.Transaction.SUCCESS:
            assert job.transaction is not None
            self._settle(job, job.transaction.get_increment_new_value())
        else:
            assert job.transaction is not None
            self._fail(job, DataplaneError(f"OVSDB: {job.transaction.get_error()}"))

    @staticmethod
    def _settle(job: _Job, configuration: int | None) -> None:
        if job.done.set_running_or_notify_cancel():
            job.done.set_result(configuration)

    @staticmethod
    def _fail(job: _Job, why: Exception) -> None:
        if job.done.set_running_or_notify_cancel():
            job.done.set_exception(why)
