"""The dummy dataplane: takes every record for good; forwards nothing.

``dataplane_driver = dummy`` is this one. It has no encapsulations, and as that of networking-bagpipe no direction but
both. It keeps what it took if it is asked to; the daemon does not ask, since the tracker has it all. ``refusals``,
:meth:`MemoryDataplane.lose` and :meth:`MemoryDataplane.regain` let it fail like a real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from bagpipe.dataplane.delta import Change
from bagpipe.dataplane.driver import Carried, Difference, Foreign, Gone, Listener, Ready
from bagpipe.dataplane.errors import Unreachable
from bagpipe.dataplane.model import Address, Capabilities, Direction, Key, Value

CAPABILITIES = Capabilities("dummy", (), False, frozenset({Direction.BOTH}))


class MemoryDataplane:
    """``held`` is what it holds; ``refusals`` are the records it refuses, with the reason.

    With ``keeps`` False nothing is held: what it was told to hold is taken to be there.
    """

    def __init__(self, *, keeps: bool = True) -> None:
        self.keeps = keeps
        self.held: dict[Key, Value] = {}
        self.refusals: dict[Key, str] = {}
        self.batches = 0
        self.reachable = True
        self._listener: Listener | None = None

    @property
    def capabilities(self) -> Capabilities:
        """No encapsulation, one next hop, no direction but both."""
        return CAPABILITIES

    async def start(self, listener: Listener) -> None:
        """Ready in the next turn of the loop."""
        self._listener = listener
        if self.reachable:
            asyncio.get_running_loop().call_soon(listener, Ready())

    async def close(self) -> None:
        """Hear no more."""
        self._listener = None

    def lose(self, why: str, *, forget: bool = False) -> None:
        """Not to be programmed from now on; with ``forget`` all that it holds is gone."""
        self.reachable = False
        if forget:
            self.held.clear()
        if self._listener is not None:
            self._listener(Gone(why))

    def regain(self) -> None:
        """To be programmed again."""
        self.reachable = True
        if self._listener is not None:
            self._listener(Ready())

    def _check(self) -> None:
        if not self.reachable:
            raise Unreachable("the dummy dataplane was told to be away")

    async def adopt(self, desired: Mapping[Key, Value], *, sweep: bool) -> dict[Key, str]:
        """Hold ``desired`` but for what is refused, and with ``sweep`` nothing else."""
        self._check()
        refused = {key: reason for key, reason in self.refusals.items() if key in desired}
        if not self.keeps:
            return refused
        if sweep:
            for key in [key for key in self.held if key not in desired]:
                del self.held[key]
        self.held.update((key, value) for key, value in desired.items() if key not in refused)
        return refused

    async def apply(self, changes: Sequence[Change]) -> dict[Key, str]:
        """Take the changes but for what is refused, in the next turn of the loop at the earliest."""
        await asyncio.sleep(0)
        self._check()
        self.batches += 1
        refused: dict[Key, str] = {}
        if not (self.keeps or self.refusals):
            return refused
        for key, _, new in changes:
            reason = self.refusals.get(key) if self.refusals else None
            if reason is not None:
                refused[key] = reason
            elif new is None:
                self.held.pop(key, None)
            elif self.keeps:
                self.held[key] = new
        return refused

    async def carried(self, key: Key, value: Value) -> Carried:
        """One line that says whether the record is held, or that it was taken if it is not kept."""
        self._check()
        if not self.keeps or self.held.get(key) == value:
            how = "held in memory" if self.keeps else "taken"
            return Carried((f"{key}: {how}",), {}, {}, ("the dummy dataplane forwards nothing",))
        return Carried((), {}, {}, (f"{key}: not held",))

    async def audit(self, desired: Mapping[Key, Value]) -> list[Difference]:
        """What is held and should not be, or should be and is not, or is otherwise; nothing if it does not keep."""
        self._check()
        if not self.keeps:
            return []
        found = [Difference("extra", key, f"{key}: held") for key in self.held if key not in desired]
        for key, value in desired.items():
            if key not in self.held:
                found.append(Difference("missing", key, f"{key}: not held"))
            elif self.held[key] != value:
                found.append(Difference("changed", key, f"{key}: {self.held[key]} held, {value} desired"))
        return found

    async def foreign(self, records: Mapping[Key, Value], destination: Address | None = None) -> list[Foreign]:
        """Nobody else has anything in it."""
        self._check()
        return []

    async def reset(self) -> int:
        """Hold nothing."""
        self._check()
        number = len(self.held)
        self.held.clear()
        return number

    def overview(self) -> dict[str, object]:
        """How many records are held, if they are kept."""
        return {"reachable": self.reachable, **({"records": len(self.held)} if self.keeps else {})}
