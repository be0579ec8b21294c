"""The ledger: whatever order things happen in, in the end the daemon holds just what is wanted."""

from __future__ import annotations

import dataclasses

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bagpipe.neutron.agent.link import ledger as ledgers
from bagpipe.neutron.agent.link.ledger import Batch, Body, Ledger, Standing, Told
from bagpipe.neutron.agent.link.wishes import GRACE, Wishes
from tests.neutron.link.daemons import attachment

PORTS = ("p1", "p2", "p3")
Bodies = dict[str, Body]


def port_of(name: str) -> str:
    return name.partition("/")[0]


def is_bad(body: Body) -> bool:
    return body.get("colour") == "bad"


def replaces(held: Body, wanted: Body) -> bool:
    return held.get("shape") != wanted.get("shape")


class Daemon:
    """Takes a batch all or nothing, refuses bad bodies, and refuses to change the shape of what it has."""

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps
        self.held: Bodies = {}

    def does(self, batch: Batch) -> str:
        """What is faulty in a batch; empty if it was done."""
        for name, body in batch.puts.items():
            known = None if name in batch.removals else self.held.get(name)
            if is_bad(body) or (known is not None and replaces(known, body)):
                return name
        for name in batch.removals:
            self.held.pop(name, None)
        self.held.update(batch.puts)
        return ""

    def restart(self) -> None:
        if not self.keeps:
            self.held = {}


class Interleaving(RuleBasedStateMachine):
    """A daemon that can be read (v2), which keeps what it has over a restart or loses it."""

    can_be_read = True
    most = 3

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.wishes = Wishes()
        self.ledger = Ledger(self.wishes, replaces, can_be_read=self.can_be_read)
        self.desired: dict[str, Bodies] = {}
        self.flying: Batch | None = None
        self.late: list[Batch] = []
        self.answered_at: float | None = None

    @initialize(keeps=st.booleans(), leftovers=st.sets(st.sampled_from(["p1/x", "p3/x", "p9/x"])))
    def begin(self, keeps: bool, leftovers: set[str]) -> None:
        self.daemon = Daemon(keeps=keeps)
        if self.can_be_read:
            self.daemon.held = {name: {"shape": 0, "colour": "old"} for name in leftovers}
            self.ledger.look_again(self.now)

    # -------------------------------------------------- the agent

    @rule(
        port=st.sampled_from(PORTS),
        bodies=st.dictionaries(
            st.sampled_from("xyz"),
            st.fixed_dictionaries({"shape": st.integers(0, 1), "colour": st.sampled_from(["red", "blue", "bad"])}),
            max_size=3,
        ),
    )
    def the_agent_states_a_port(self, port: str, bodies: Bodies) -> None:
        self.desired[port] = {f"{port}/{name}": body for name, body in bodies.items()}
        stated = [dataclasses.replace(attachment(), port_id=port, instance_id=name) for name in bodies]
        self.wishes.state(port, stated)
        self.ledger.want(port, self.desired[port])

    @rule(port=st.sampled_from((*PORTS, "p9")))
    def a_port_goes(self, port: str) -> None:
        self.desired.pop(port, None)
        self.wishes.forget(port)
        self.ledger.want(port, {})

    @rule(present=st.sets(st.sampled_from((*PORTS, "p9"))))
    def the_agent_has_stated_all(self, present: set[str]) -> None:
        self.wishes.replayed(present, self.now)

    # -------------------------------------------------- requests

    @precondition(lambda self: self.flying is None)
    @rule()
    def a_request_is_sent(self) -> None:
        self.send()

    def send(self) -> bool:
        if self.ledger.look_at is not None and self.ledger.look_at <= self.now:
            self.read()
            return True
        batch = self.ledger.plan(self.now, self.most)
        if batch:
            self.ledger.sending(batch)
            self.flying = batch
        return bool(batch)

    def read(self) -> None:
        present = {name: Told(Standing.IN_EFFECT, "", body) for name, body in self.daemon.held.items()}
        self.ledger.learn(present, port_of, self.now)
        self.wishes.heard()

    @precondition(lambda self: self.flying is not None)
    @rule(is_named=st.booleans())
    def it_is_answered(self, is_named: bool) -> None:
        assert self.flying is not None
        left, self.flying = [self.flying], None
        self.answered_at = self.now
        while left:
            batch = left.pop()
            faulty = self.daemon.does(batch)
            if not faulty:
                self.ledger.accepted(batch, {}, self.now)
            elif len(batch) == 1:
                self.ledger.refused(batch, "no", self.now)
            elif is_named:
                self.ledger.refused(batch.only([faulty]), "no", self.now)
                left.append(batch.only(set(batch.names) - {faulty}))
            else:
                left += batch.halves()

    @precondition(lambda self: self.flying is not None)
    @rule(fate=st.sampled_from(["lost", "done", "late"]))
    def there_is_no_answer(self, fate: str) -> None:
        assert self.flying is not None
        batch, self.flying = self.flying, None
        if fate == "done":
            self.daemon.does(batch)
        elif fate == "late":
            self.late.append(batch)
            self.answered_at = None
        self.ledger.failed(batch)

    @precondition(lambda self: self.late)
    @rule()
    def an_old_request_is_done_after_all(self) -> None:
        for batch in self.late:
            self.daemon.does(batch)
        self.late.clear()

    # -------------------------------------------------- the daemon and time

    @rule()
    def the_daemon_restarts(self) -> None:
        self.late.clear()
        self.daemon.restart()
        if self.flying is not None:
            self.ledger.failed(self.flying)
            self.flying = None
        if self.can_be_read:
            self.ledger.look_again(self.now)
        else:
            self.ledger.doubt()

    @rule(seconds=st.sampled_from([0.1, 2.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        if self.answered_at is not None and self.now + seconds >= self.answered_at + ledgers.LATE:
            self.an_old_request_is_done_after_all()
        self.now += seconds

    # -------------------------------------------------- what holds

    @invariant()
    def what_it_waits_for_has_a_moment(self) -> None:
        moment = self.ledger.next_moment()
        if self.flying is None and self.ledger.unconfirmed(self.now):
            is_due = moment is not None or bool(self.ledger.plan(self.now, self.most))
            assert is_due, self.ledger.unconfirmed(self.now)

    def teardown(self) -> None:
        if not hasattr(self, "daemon"):
            return
        if self.flying is not None:
            self.it_is_answered(True)
        self.the_agent_has_stated_all(set())
        self.work_until_quiet()
        self.answered_at = self.now
        self.an_old_request_is_done_after_all()
        self.now += GRACE + ledgers.LATE
        self.work_until_quiet()
        wanted = {name: body for bodies in self.desired.values() for name, body in bodies.items()}
        good = {name: body for name, body in wanted.items() if not is_bad(body)}
        held = {name: body for name, body in self.daemon.held.items() if name not in wanted or name in good}
        assert held == good
        assert set(self.ledger.refusals()) == set(wanted) - set(good)
        for port, bodies in self.desired.items():
            assert self.ledger.is_settled(port) == (not any(map(is_bad, bodies.values())))

    def work_until_quiet(self) -> None:
        for _ in range(300):
            if not self.send():
                return
            if self.flying is not None:
                self.it_is_answered(True)
        raise AssertionError("it never becomes quiet")


class InterleavingV1(Interleaving):
    """A daemon that cannot be read: it takes one at a time."""

    can_be_read = False
    most = 1


class TestInterleaving(Interleaving.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


class TestInterleavingV1(InterleavingV1.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


# ---------------------------------------------------------------------- by hand


def told(ledger: Ledger, now: float, bodies: Bodies, port: str = "p1", most: int = 9) -> Batch:
    """State a port and send what there is to send."""
    ledger.want(port, bodies)
    batch = ledger.plan(now, most)
    ledger.sending(batch)
    return batch


def test_an_attach_that_a_stopped_daemon_does_late_is_detached_once_more() -> None:
    ledger = Ledger(Wishes(), can_be_read=False)
    ledger.failed(told(ledger, 0.0, {"p1/x": {"shape": 1}}))
    detach = told(ledger, 1.0, {})
    assert set(detach.removals) == {"p1/x"}
    ledger.accepted(detach, {}, 1.0)
    assert not ledger.plan(1.1, 9)
    assert ledger.next_moment() == 1.0 + ledgers.LATE
    assert dict(ledger.plan(1.0 + ledgers.LATE, 9).removals) == {"p1/x": {"shape": 1}}


def test_a_daemon_that_can_be_read_is_read_again_when_old_requests_are_done() -> None:
    ledger = Ledger(Wishes())
    ledger.failed(told(ledger, 0.0, {"p1/x": {"shape": 1}}))
    ledger.accepted(told(ledger, 1.0, {}), {}, 1.0)
    assert ledger.look_at == 1.0 + ledgers.LATE


def test_what_was_refused_is_tried_at_longer_and_longer_pauses_alone_and_last() -> None:
    ledger = Ledger(Wishes())
    now, pauses = 0.0, []
    batch = told(ledger, now, {"p1/x": {"colour": "bad"}})
    assert ledger.refused(batch, "no", now)
    for _ in range(8):
        moment = ledger.next_moment()
        assert moment is not None
        pauses.append(moment - now)
        now = moment
        assert not ledger.plan(now - 0.01, 9)
        batch = ledger.plan(now, 9)
        ledger.sending(batch)
        assert not ledger.refused(batch, "no", now), "the same reason is no news"
    assert pauses == [30, 60, 120, 240, 480, 600, 600, 600]
    assert ledger.refusals() == {"p1/x": "no"}

    other = told(ledger, now + 0.5, {"p2/y": {"colour": "red"}}, "p2")
    assert other.names == ("p2/y",)
    ledger.accepted(other, {}, now + 0.5)
    assert ledger.next_moment() == now + ledgers.EARLY_RETRY, "something changed, so it may go well now"
    assert told(ledger, now, {"p1/x": {"colour": "blue"}}).names == ("p1/x",), "and another body goes at once"


def test_what_changes_while_a_request_is_on_its_way_is_sent_after_it() -> None:
    ledger = Ledger(Wishes())
    batch = told(ledger, 0.0, {"p1/x": {"shape": 1}})
    ledger.want("p1", {})
    assert not ledger.plan(0.0, 9)
    ledger.accepted(batch, {}, 0.1)
    assert set(ledger.plan(0.1, 9).removals) == {"p1/x"}


def test_a_daemon_is_asked_again_while_its_dataplane_has_not_confirmed() -> None:
    ledger = Ledger(Wishes())
    ledger.accepted(told(ledger, 0.0, {"p1/x": {}}), {"p1/x": Told(Standing.PENDING, "no dataplane")}, 0.0)
    assert ledger.look_at == ledgers.FIRST_LOOK
    assert not ledger.is_settled("p1")
    assert ledger.unconfirmed(0.0) == {"p1/x": "no dataplane"}
    ledger.learn({"p1/x": Told(Standing.PENDING, "", {})}, port_of, 1.0)
    assert ledger.look_at == 1.0 + ledgers.FIRST_LOOK
    ledger.learn({"p1/x": Told(Standing.PENDING, "", {})}, port_of, 2.0)
    assert ledger.look_at == 2.0 + 2 * ledgers.FIRST_LOOK
    ledger.told("p1/x", Told(Standing.IN_EFFECT))
    assert ledger.is_settled("p1")


def test_what_the_daemon_has_from_before_is_spared_until_the_agent_has_spoken_of_it() -> None:
    wishes = Wishes()
    ledger = Ledger(wishes)
    before = {f"{port}/x": Told(Standing.IN_EFFECT, "", {"shape": 1}) for port in ("p1", "p2", "p3", "p4", "gone")}
    ledger.learn(before, port_of, 0.0)
    assert not ledger.plan(1e6, 9)
    wishes.state("p1", ())
    ledger.want("p1", {"p1/x": {"shape": 1}})
    wishes.state("p2", ())
    ledger.want("p2", {})
    assert set(ledger.plan(0.0, 9).names) == {"p2/x"}
    wishes.replayed(["p3", "p4"], 10.0)
    assert set(ledger.plan(10.0, 9).names) == {"p2/x", "gone/x"}
    wishes.forget("p4")
    ledger.want("p4", {})
    assert set(ledger.plan(10.0, 9).names) == {"p2/x", "gone/x", "p4/x"}
    ledger.look_at = None
    assert ledger.next_moment() == 10.0 + GRACE
    assert set(ledger.plan(10.0 + GRACE, 9).names) == {"p2/x", "gone/x", "p4/x", "p3/x"}


def test_evpn_is_attached_first_and_detached_last() -> None:
    rank = {"evpn": 0, "ipvpn": 1}
    ledger = Ledger(Wishes(), rank=lambda body: rank[str(body["type"])], can_be_read=False)
    both: Bodies = {"p1/a": {"type": "ipvpn"}, "p1/b": {"type": "evpn"}}
    batch = told(ledger, 0.0, both)
    assert list(batch.puts) == ["p1/b", "p1/a"]
    ledger.accepted(batch, {}, 0.0)
    assert list(told(ledger, 1.0, {}).removals) == ["p1/a", "p1/b"]


def test_a_batch_is_no_larger_than_asked_and_removals_go_first() -> None:
    ledger = Ledger(Wishes())
    ledger.accepted(told(ledger, 0.0, {f"p1/{n}": {} for n in range(4)}), {}, 0.0)
    batch = told(ledger, 1.0, {f"p1/{n}": {} for n in range(10, 20)}, most=6)
    assert (len(batch), len(batch.removals)) == (6, 4)
    first, second = batch.halves()
    assert {*first.names, *second.names} == set(batch.names)
    assert (len(first), len(second)) == (3, 3)
