"""ovsdbapp for a server that may be away: a connection that starts without it, and ends whatever it does.

What ovsdbapp does by itself would not do here. Its connection waits for the server when it is started, its transactions
wait for an answer without an end, and its API has one connection for the whole process. Each of these is a method or
an attribute that is overridden below. Its thread, queue, commands and events are used as they are, and so is the IDL of
python-ovs that it stands on.

Only the tables and columns of the schema below are replicated, so that the statistics that Open vSwitch writes every
five seconds are not. The schema is not asked of the server, which need not be there.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from ovs.db import idl
from ovs.poller import Poller
from ovsdbapp.backend.ovs_idl import command, connection, idlutils, transaction
from ovsdbapp.event import RowEvent, RowEventHandler
from ovsdbapp.schema.open_vswitch import impl_idl

from bagpipe.dataplane.errors import DataplaneError, Unreachable

_log = logging.getLogger(__name__)

BACKOFF = (250, 2000)
"""Milliseconds between attempts to connect, at first and at last."""

_RETRY = 100
_ANY = (RowEvent.ROW_CREATE, RowEvent.ROW_UPDATE, RowEvent.ROW_DELETE)
_NOTHING_YET = str(UUID(int=0))

_Type = dict[str, Any]
_STRING: _Type = {"type": "string"}
_NUMBER: _Type = {"type": "integer"}
_MAP: _Type = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}
_STRINGS: _Type = {"type": {"key": "string", "min": 0, "max": "unlimited"}}
_MAYBE_STRING: _Type = {"type": {"key": "string", "min": 0, "max": 1}}
_MAYBE_NUMBER: _Type = {"type": {"key": "integer", "min": 0, "max": 1}}


def _references(table: str) -> _Type:
    return {"type": {"key": {"type": "uuid", "refTable": table}, "min": 0, "max": "unlimited"}}


# What is replicated of vswitch.ovsschema (ovs-vswitchd.conf.db(5)); all of it is in Open vSwitch 2.17 and later.
_TABLES: dict[str, dict[str, _Type]] = {
    "Open_vSwitch": {"bridges": _references("Bridge"), "next_cfg": _NUMBER, "cur_cfg": _NUMBER},
    "Bridge": {
        "name": _STRING,
        "ports": _references("Port"),
        "datapath_type": _STRING,
        "fail_mode": _MAYBE_STRING,
        "protocols": _STRINGS,
        "external_ids": _MAP,
    },
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
    helper = idlutils.create_schema_helper({"name": "Open_vSwitch", "version": "8.0.0", "tables": tables})
    helper.register_all()
    return helper


Build = Callable[["Rows"], None]


class Rows:
    """The database inside a transaction, used in the thread only: rows by name, with the IDL's own setters."""

    def __init__(self, api: Api, change: idl.Transaction) -> None:
        self._idl = api.idl
        self._change = change
        self._counts = False

    def named(self, table: str, name: str) -> Any:
        """The row of this name; None if there is none."""
        return idlutils.row_by_value(self._idl, table, "name", name, None)

    def by_name(self, table: str) -> dict[str, Any]:
        """All rows of a table by name."""
        return {row.name: row for row in self._idl.tables[table].rows.values()}

    def bridge_of(self, port: Any) -> Any:
        """The bridge that a port is on; None if it is on none."""
        return next((row for row in self._idl.tables["Bridge"].rows.values() if port in row.ports), None)

    @property
    def root(self) -> Any:
        """The one row of Open_vSwitch."""
        return next(iter(self._idl.tables["Open_vSwitch"].rows.values()))

    def insert(self, table: str, name: str) -> Any:
        """A new row of this name."""
        row = self._change.insert(self._idl.tables[table])
        row.name = name
        return row

    def count(self) -> None:
        """Have ovs-vswitchd tell when it has put this transaction in effect; asking again changes nothing."""
        if self._counts:
            return
        self._counts = True
        for row in self._idl.tables["Open_vSwitch"].rows.values():
            row.increment("next_cfg")


class _Built(command.BaseCommand):  # type: ignore[misc]
    """The command that does what a function does to the rows."""

    def __init__(self, api: Api, build: Build) -> None:
        super().__init__(api)
        self.build = build

    def run_idl(self, txn: idl.Transaction) -> None:
        """Called by the transaction, again for each attempt."""
        self.build(Rows(self.api, txn))


class _Touch(RowEvent):  # type: ignore[misc]
    """Notes which rows of a table have come, changed or gone."""

    def __init__(self, table: str, touched: set[UUID]) -> None:
        super().__init__(_ANY, table, None)
        self.touched = touched

    def matches(self, event: str, row: Any, old: Any = None) -> bool:
        """Whether it is about this table."""
        return bool(row._table.name == self.table)

    def run(self, event: str, row: Any, old: Any) -> None:
        """Note the row."""
        self.touched.add(row.uuid)


class _Watch(RowEventHandler):  # type: ignore[misc]
    """Runs events at once, in the thread that takes them: the contents are read right after, by what was noted."""

    def __init__(self) -> None:
        super().__init__()
        atexit.unregister(self.shutdown)

    def start(self) -> None:
        """Start no thread."""

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        """Called for each row that has come, changed or gone."""
        for match in self.matching_events(event, row, updates):
            match.run(event, row, updates)


class Replica(connection.OvsdbIdl):  # type: ignore[misc]
    """The replicated tables. ``seen`` is called in the thread each time that something may have happened.

    ``touched`` has the ports and interfaces that have come, changed or gone, until whoever reads them empties it.
    """

    def __init__(self, remote: str, seen: Callable[[Replica], None]) -> None:
        super().__init__(remote, _schema(), leader_only=False)
        self._session.reconnect.set_backoff(*BACKOFF)
        self._seen = seen
        self.touched: set[UUID] = set()
        self._watch = _Watch()
        self._watch.watch_events([_Touch("Port", self.touched), _Touch("Interface", self.touched)])

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        """Called by the IDL for each row."""
        self._watch.notify(event, row, updates)

    def run(self) -> bool:
        """Take what the server has sent. Gives whether the replica has changed."""
        try:
            changed = bool(super().run())
            self._seen(self)
        except Exception:  # a defect of ours or of the IDL: what is replicated may be wrong from here on
            _log.exception("following the database failed; beginning anew")
            self.last_id = _NOTHING_YET
            self.force_reconnect()
            return True
        return changed

    def cooperative_yield(self) -> None:
        """Called for each row. Give nothing up: the interpreter lets other threads run by itself."""

    @property
    def is_current(self) -> bool:
        """Whether the replica is what the server has."""
        return bool(self._session.is_connected()) and self.state == self.IDL_S_MONITORING


class Link(connection.Connection):  # type: ignore[misc]
    """A connection that is started whether or not the server is there, and takes changes without making anyone wait."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica, timeout=None)
        self.txns.maxsize = 0  # ovsdbapp's has one place; the loop must not wait for it

    def start(self) -> None:
        """Begin to connect, for ever."""
        self.poller = Poller()
        self.is_running = True
        self.thread = threading.Thread(target=self.run, name="ovsdb", daemon=True)
        self.thread.start()

    def end(self, timeout: float) -> bool:
        """Stop and tell Unreachable to whoever waits. Gives whether the thread has ended within ``timeout`` seconds."""
        has_ended = bool(self.stop(timeout))
        while self.txns.qsize():
            change = self.txns.get_nowait()
            if change is not None:
                change.do_commit()
        return has_ended


class Api(impl_idl.OvsdbIdl):  # type: ignore[misc]
    """ovsdbapp's API with a connection of its own, where ovsdbapp has one for all of the process."""

    def __init__(self, link: Link) -> None:
        super().__init__(link, start=False, auto_index=False)

    @property
    def ovsdb_connection(self) -> Link:
        """The connection."""
        return self._link

    @ovsdb_connection.setter
    def ovsdb_connection(self, link: Link) -> None:
        self._link = link


class Change(transaction.Transaction):  # type: ignore[misc]
    """A transaction that ends at ``deadline`` (monotonic clock) or with the connection, whatever the server does.

    ``done`` gets the number of the configuration that it made, None if it changed nothing; or DataplaneError with the
    text of OVSDB, what ``build`` raised, or Unreachable, which begins with what ``why`` gives.
    """

    def __init__(self, api: Api, build: Build, deadline: float, why: Callable[[], str]) -> None:
        super().__init__(api, api.ovsdb_connection, check_error=True, log_errors=False)
        self.done: concurrent.futures.Future[int | None] = concurrent.futures.Future()
        self._deadline = deadline
        self._why = why
        self.add(_Built(api, build))

    def do_commit(self) -> list[Any]:
        """Called in the thread of the connection."""
        if self.done.set_running_or_notify_cancel():
            try:
                self.done.set_result(self._commit())
            except Exception as cause:  # told to whoever waits
                self.done.set_exception(cause)
        return []

    def _commit(self) -> int | None:
        replica = self.api.idl
        while True:
            while not replica.is_current:
                self._pause(None)
            change = idl.Transaction(replica)
            try:
                for each in self.commands:
                    each.run_idl(change)
            except Exception:
                change.abort()
                raise
            while (status := change.commit()) == idl.Transaction.INCOMPLETE:
                self._pause(change)
            if status == idl.Transaction.UNCHANGED:
                return None
            if status == idl.Transaction.SUCCESS:
                configuration: int = change.get_increment_new_value()
                return configuration
            if status != idl.Transaction.TRY_AGAIN:
                raise DataplaneError(f"OVSDB: {change.get_error()}")
            self._pause(None)

    def _pause(self, change: idl.Transaction | None) -> None:
        """Wait a moment for the server. Raises Unreachable if there is no time any more."""
        left = self._deadline - time.monotonic()
        is_running = self.ovsdb_connection.is_running
        if left > 0 and is_running:
            poller = Poller()
            self.api.idl.wait(poller)
            if change is not None:
                change.wait(poller)
            poller.timer_wait(min(_RETRY, int(left * 1000) + 1))
            poller.block()
            self.api.idl.run()
            return
        if change is not None:
            change.abort()
        raise Unreachable(f"{self._why()}: {'no answer to a transaction' if is_running else 'closed'}")
