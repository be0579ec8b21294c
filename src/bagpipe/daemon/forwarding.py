"""VPN instances and their dataplanes, joined on the loop: attachments in, confirmed records and routes out.

The speaker says that imported routes changed, once per turn of the loop; the programmers say what came into effect;
whoever attached may wait for that. Decided here as well: when what the last process left in the dataplanes may go (once
the journal is replayed and every neighbour has told all its routes, or ``SWEEP_AFTER`` seconds have passed).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from time import monotonic

from bagpipe.daemon.attachments import Attachments, Changed
from bagpipe.daemon.happenings import Happenings
from bagpipe.daemon.journal import Journal
from bagpipe.daemon.plane import CLOSE_AFTER, Plane
from bagpipe.daemon.statements import Statement
from bagpipe.dataplane.driver import Dataplane
from bagpipe.dataplane.model import EVPN_RECORDS, Key
from bagpipe.identifiers import MacAddress
from bagpipe.speaker import Speaker
from bagpipe.vpn.attachment import InstanceType
from bagpipe.vpn.evpn.evi import Evi
from bagpipe.vpn.evpn.moves import DAMPING
from bagpipe.vpn.settings import VpnSettings
from bagpipe.vpn.vpns import Vpns

LOG = logging.getLogger(__name__)

SWEEP_AFTER = 60.0
SWEEP_LOOK = 0.5
"""Seconds between two looks at which neighbours have told all."""
SETTLING = 2.0
"""Seconds that neighbours may take to tell the routes of a route target that is asked for."""
RELEASE_LOOK = 5.0
"""Seconds between two looks at which MACs are held no longer."""
STATES = ("refused", "pending", "in-effect")
"""Worst first: the state of a statement is the worst of its endpoints'."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """What carries the VPNs of one type: the driver, and what the instances have to know."""

    driver: Dataplane
    settings: VpnSettings


class Forwarding:
    """Lives on the running loop. ``reattach_timeout``: seconds that v1 agents have, 0 for ever."""

    def __init__(
        self,
        speaker: Speaker,
        ipvpn: Carrier,
        evpn: Carrier,
        journal: Journal | None,
        *,
        reattach_timeout: float = 120.0,
    ) -> None:
        self.speaker = speaker
        self.happenings = Happenings()
        self.vpns = Vpns(speaker.store, speaker, ipvpn.settings, evpn.settings)
        self.vpns.evpn.clock = monotonic
        self.vpns.evpn.settling = SETTLING
        self.vpns.evpn.on_held = _held
        self.ipvpn = Plane(InstanceType.IPVPN, self.vpns.ipvpn, ipvpn.driver, self._settled)
        self.evpn = Plane(InstanceType.EVPN, self.vpns.evpn, evpn.driver, self._settled)
        self.planes = (self.ipvpn, self.evpn)
        for plane in self.planes:
            plane.programmer.state_changed = partial(self._state_changed, plane)
        self.attachments = Attachments(self.vpns, journal, self._wake)
        self._journal = journal
        self._reattach_timeout = reattach_timeout
        self._reattach: asyncio.TimerHandle | None = None
        self._routes_pending = False
        self._replayed = 0
        self._told: dict[str, tuple[int, str, str | None]] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._releasing: asyncio.TimerHandle | None = None
        speaker.importer = self._routes_changed

    def plane_of(self, key: Key) -> Plane:
        """The plane that an instance's record is in."""
        return self.evpn if isinstance(key, EVPN_RECORDS) else self.ipvpn

    def _wake(self) -> None:
        for plane in self.planes:
            plane.programmer.wake()

    def replay(self) -> None:
        """Attach what the journal has, before anybody else says something."""
        self._replayed = self.attachments.replay()
        if self._replayed:
            LOG.info("%d attachments replayed from the journal", self._replayed)

    async def start(self) -> None:
        """Begin to program. Raises LocalMisuse for settings that can never work."""
        for plane in self.planes:
            await plane.programmer.start()
        self._release_damped()
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep(self._replayed))

    async def close(self) -> None:
        """Let go of the dataplanes: what is programmed stays, traffic goes on."""
        for handle in (self._sweeping, self._reattach, self._releasing):
            if handle is not None:
                handle.cancel()
        await asyncio.gather(*(plane.close() for plane in self.planes))
        if self._journal is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._journal.close(), CLOSE_AFTER)

    # ------------------------------------------------------------------ what agents ask for

    def put(self, statements: Sequence[Statement]) -> Changed:
        """Put statements in force, all or nothing. Raises LocalMisuse."""
        return self._noting_agents(
            lambda: self.attachments.change(statements), is_v1=any(one.api == 1 for one in statements)
        )

    def replace_owner(self, owner: str, statements: Sequence[Statement]) -> Changed:
        """Put these in force and remove whatever else the owner states, all or nothing. Raises LocalMisuse."""
        return self._noting_agents(lambda: self.attachments.replace_owner(owner, statements), is_v1=False)

    def amend_owner(self, owner: str, statements: Sequence[Statement], remove: Iterable[str]) -> Changed:
        """Put these in force and remove those of this owner, all or nothing. Raises LocalMisuse."""
        return self._noting_agents(lambda: self.attachments.amend_owner(owner, statements, remove), is_v1=False)

    def remove(self, names: Iterable[str]) -> Changed:
        """Remove statements; those that were removed before and are not known to be gone are waited for again."""
        return self.attachments.change((), names)

    async def settle(self, changed: Changed, timeout: float) -> dict[Key, str]:
        """Wait until a change is in the journal and the dataplane has answered, ``timeout`` seconds at most.

        Gives the records that are not in effect, with the reason.
        """
        if changed.kept is not None:
            await changed.kept
        waits = [
            plane.programmer.wait_settled([key for key in changed.keys if self.plane_of(key) is plane], timeout)
            for plane in self.planes
        ]
        left = dict(chain.from_iterable(found.items() for found in await asyncio.gather(*waits)))
        self.attachments.forget_gone()
        if self.attachments.forgotten is not None:
            await self.attachments.forgotten
        self.tell_states(self.attachments.touched(changed.keys))
        return left

    def _noting_agents(self, change: Callable[[], Changed], *, is_v1: bool) -> Changed:
        """Change; an agent that attaches again what was attached before the restart is back.

        What is not attached again within the time after its last one is not there any more: a lost detach.
        """
        unclaimed = len(self.attachments.unclaimed)
        changed = change()
        left = len(self.attachments.unclaimed)
        is_first = is_v1 and self._reattach is None
        if left and self._reattach_timeout and (is_first or left < unclaimed):
            if self._reattach is not None:
                self._reattach.cancel()
            loop = asyncio.get_running_loop()
            self._reattach = loop.call_later(self._reattach_timeout, self._drop_unclaimed)
        return changed

    def _drop_unclaimed(self) -> None:
        names = self.attachments.drop_unclaimed()
        if names:
            LOG.warning(
                "%d attachments dropped that no agent has attached again: %s", len(names), ", ".join(names[:10])
            )

    def state_of(self, statement: Statement) -> tuple[str, str | None]:
        """``in-effect``, ``pending`` or ``refused``, and why; of what is in effect, what people have to know of it."""
        worst, reason = len(STATES) - 1, ""
        for external_id, key in statement.places:
            state = self.vpns.endpoint_state(external_id, key)
            place = STATES.index(state.state)
            if place < worst or (place == worst and not reason):
                worst, reason = place, state.reason
        if STATES[worst] == "pending" and not reason:
            kind = statement.endpoints[0].instance.type
            reason = (self.evpn if kind is InstanceType.EVPN else self.ipvpn).waiting_for
        return STATES[worst], reason or None

    def accept_from(self, addresses: Iterable[bytes]) -> None:
        """Tunnelled packets of these nodes (4 or 16 octets each) are taken whatever routes there are."""
        self.vpns.accept_from(addresses)
        self._wake()

    # ------------------------------------------------------------------ what the others say

    def _routes_changed(self) -> None:
        if not self._routes_pending:
            self._routes_pending = True
            asyncio.get_running_loop().call_soon(self._take_routes)

    def _take_routes(self) -> None:
        self._routes_pending = False
        self.vpns.routes_changed()
        self._wake()

    def _settled(self, confirmed: Sequence[Key], refused: Mapping[Key, str]) -> None:
        self.tell_states(self.attachments.touched(chain(confirmed, refused)))
        self.attachments.forget_gone()

    def tell_states(self, names: Iterable[str]) -> None:
        """Tell those who watch of statements whose state is another than the one told last."""
        for name in names:
            statement = self.attachments.stated[name]
            state, reason = self.state_of(statement)
            if self._told.get(name) != (statement.created, state, reason):
                self._told[name] = (statement.created, state, reason)
                value: dict[str, object] = {"id": name, "owner": statement.owner, "state": state, "reason": reason}
                self.happenings.tell("attachment", value)
        if len(self._told) > 2 * len(self.attachments.stated) + 100:
            self._told = {name: state for name, state in self._told.items() if name in self.attachments.stated}

    def _state_changed(self, plane: Plane) -> None:
        state = "connected" if plane.programmer.connected else "unreachable"
        self.happenings.tell("dataplane", {"plane": plane.name, "state": state, "why": plane.programmer.why or None})

    def _release_damped(self) -> None:
        """MACs that moved too often may move again after a while."""
        self.vpns.evpn.release_damped(monotonic())
        self._wake()
        self._releasing = asyncio.get_running_loop().call_later(RELEASE_LOOK, self._release_damped)

    # ------------------------------------------------------------------ leftovers

    async def _sweep(self, replayed: int) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + SWEEP_AFTER
        while loop.time() < end and not (replayed and self._all_told()):
            await asyncio.sleep(SWEEP_LOOK)
        for plane in self.planes:
            plane.programmer.sweep_when_ready()

    def _all_told(self) -> bool:
        return all(peer.has_told_all for peer in self.speaker.peers.values())


def _held(evi: Evi, mac: MacAddress) -> None:
    LOG.warning(
        "EVPN instance %s: MAC %s moves between nodes too often; it is held where it is for %d seconds",
        evi.external_id, mac, DAMPING,
    )  # fmt: skip
