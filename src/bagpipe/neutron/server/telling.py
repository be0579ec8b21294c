"""Tells agents about associations, once the database has them.

What is told inside a transaction leaves when that transaction has been committed, and never if it is rolled back. What
Neutron cannot hand to its message queue is logged: the database holds what was asked for, and agents read it again with
the next event of a port.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from neutron.api.rpc.handlers import resources_rpc
from oslo_log import log
from sqlalchemy import event

LOG = log.getLogger(__name__)


def after_commit(context: Any, act: Callable[[], None]) -> None:
    """Act once the transaction of ``context`` is committed; at once if it has none."""
    scope = getattr(context, "transaction_ctx", None)
    session = None if scope is None else scope.session
    if session is None:
        act()
        return
    waiting = [act]

    def committed(session: Any) -> None:
        if not session.in_nested_transaction() and waiting:
            waiting.pop()()

    # A session lives as long as its outermost transaction: after a rollback nothing is left to remove.
    event.listen(session, "after_commit", committed)


class Agents:
    """All agents that subscribe to the objects."""

    @functools.cached_property
    def _rpc(self) -> Any:
        # Made when first needed: a service plugin may be made before the transport.
        return resources_rpc.ResourcesPushRpcApi()

    def tell(self, context: Any, what_happened: str, objects: Iterable[Any]) -> None:
        """Push objects with an event (``created``, ``updated``, ``deleted``), after the commit if one is to come.

        Objects of one type travel in one message; nothing is sent for no object.
        """
        told = list(objects)
        if told:
            after_commit(context, functools.partial(self._push, context, what_happened, told))

    def _push(self, context: Any, what_happened: str, objects: Sequence[Any]) -> None:
        try:
            self._rpc.push(context, objects, what_happened)
        except Exception:
            kinds = sorted({one.obj_name() for one in objects})
            LOG.exception("Agents could not be told that %s of %s", what_happened, ", ".join(kinds))
