"""Graceful restart (helper), refresh and first exchange, as a neighbour sees them: each test stands in ``rfc/``."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from bagpipe.session.outputs import Action, Send
from bagpipe.speaker import Peer, PeerSettings, Retain, Speaker, SpeakerSettings, local_attributes
from bagpipe.wire import update
from bagpipe.wire.capability import Capability, GracefulRestart, Multiprotocol
from bagpipe.wire.family import EVPN, RTC, VPNV4, Family
from bagpipe.wire.message import KEEPALIVE, MessageType, Open, RouteRefresh, frame
from tests.unit.rib.routes import announcement, attribute, body, common, key
from tests.unit.session.script import LOCAL_AS, LOCAL_ID, peer_open, refresh, settings

RESTART_TIME = 90
RESTARTS = GracefulRestart(RESTART_TIME, ((VPNV4, True), (EVPN, True)))


class Neighbour:
    """A neighbour played by the test, and the speaker under test beside it."""

    def __init__(self, *, families: tuple[Family, ...] = (VPNV4, EVPN), client: bool = False) -> None:
        self.now = 1000.0
        self.speaker = Speaker(SpeakerSettings(LOCAL_AS, LOCAL_ID, retain=Retain.ALWAYS), jitter=lambda: 1.0)
        chosen = PeerSettings("peer", "192.0.2.2", settings(families=families), client)
        self.peer: Peer = self.speaker.add_peer(chosen, self.now)
        self.peer.start(self.now)
        self.connection = -1

    def come_up(self, *capabilities: Capability, at_once: bytes = b"") -> list[tuple[int, bytes]]:
        """Connect and exchange OPENs; what the speaker says, as (type, body), until it has nothing more to say.

        ``at_once`` are messages that come in one piece with the OPEN and KEEPALIVE, before the speaker can say more.
        """
        self.connection += 2
        actions = self.peer.accepted(self.connection, self.now)
        return self._heard([*actions, *self._receive(peer_open(*capabilities), KEEPALIVE, at_once)])

    def say(self, *messages: bytes) -> list[tuple[int, bytes]]:
        """Send whole messages; what the speaker answers."""
        return self._heard(self._receive(*messages))

    def tell(self, *bodies: bytes) -> None:
        """Send UPDATE bodies."""
        self.say(*(frame(MessageType.UPDATE, body) for body in bodies))

    def lose(self) -> None:
        """The TCP connection ends without a word."""
        self.peer.closed(self.connection, self.now, "connection reset")

    def wait(self, seconds: float) -> None:
        """Let time pass with every deadline served; the connection, if there is one, is kept alive."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 5)
            if self.peer.established_connection is not None:
                self._receive(KEEPALIVE)
            self.peer.tick(self.now)

    def originate(self, address: str) -> bytes:
        """The speaker announces a VPNv4 route of its own; its NLRI, once the neighbour has heard it."""
        nlri = self.hold(address)
        assert len(self.say()) == 1
        return nlri

    def hold(self, address: str) -> bytes:
        """The speaker has a VPNv4 route of its own, whether or not the neighbour is there to hear it; its NLRI."""
        reached = update.take_apart(announcement(address)).reach
        assert reached is not None
        table = self.speaker.store.table(VPNV4, 120)
        ((shape, keys, payloads),) = table.codec.split(reached.nlri)
        self.speaker.originate(VPNV4, shape, keys, payloads, local_attributes(VPNV4, LOCAL_ID))
        return reached.nlri

    def _receive(self, *messages: bytes) -> list[Action]:
        return self.peer.received(self.connection, b"".join(messages), self.now)

    def _heard(self, actions: Iterable[Action]) -> list[tuple[int, bytes]]:
        said = b"".join(action.data for action in actions if isinstance(action, Send))
        while data := self.peer.outbound(self.now):
            said += data
        messages = []
        while said:
            size = int.from_bytes(said[16:18])
            messages.append((said[18], said[19:size]))
            said = said[size:]
        return messages

    @property
    def held(self) -> set[bytes]:
        """The keys of the /32 routes that the speaker holds."""
        return set(self.speaker.store.table(VPNV4, 120).entries)


def hosts(*numbers: int) -> set[bytes]:
    return {key(f"10.0.0.{number}") for number in numbers}


def ends_of_rib(messages: Iterable[tuple[int, bytes]]) -> list[Family]:
    found = [update.take_apart(body).end_of_rib for kind, body in messages if kind == MessageType.UPDATE]
    return [family for family in found if family is not None]


def end_of_rib(family: Family) -> bytes:
    return update.end_of_rib(family)


def up_with_routes(*numbers: int) -> Neighbour:
    """A neighbour that restarts gracefully, has told its routes and its End-of-RIB."""
    neighbour = Neighbour()
    neighbour.come_up(RESTARTS)
    neighbour.tell(*(announcement(f"10.0.0.{number}") for number in numbers))
    neighbour.say(end_of_rib(VPNV4), end_of_rib(EVPN))
    assert neighbour.held == hosts(*numbers)
    return neighbour


def test_end_of_rib_is_sent_for_each_family_even_without_routes() -> None:
    assert sorted(ends_of_rib(Neighbour().come_up())) == [VPNV4, EVPN]


def test_end_of_rib_is_sent_at_once_to_a_neighbour_that_has_restarted() -> None:
    restarted = GracefulRestart(RESTART_TIME, ((VPNV4, True),), restarting=True)

    assert VPNV4 in ends_of_rib(Neighbour().come_up(restarted))


def test_the_restart_state_bit_is_not_set_by_who_has_not_restarted() -> None:
    neighbour = Neighbour()

    opens = [body for kind, body in neighbour.come_up(RESTARTS) if kind == MessageType.OPEN]

    offered = [one for one in Open.decode(opens[0]).capabilities if isinstance(one, GracefulRestart)]
    assert [(one.restarting, one.families) for one in offered] == [(False, ())]


def test_the_routes_of_a_restarting_neighbour_stay_and_are_used_meanwhile() -> None:
    neighbour = up_with_routes(1, 2)

    neighbour.lose()
    neighbour.wait(RESTART_TIME - 10)

    assert neighbour.held == hosts(1, 2)
    best = neighbour.speaker.store.table(VPNV4, 120).entries[key("10.0.0.1")].best
    assert best in best.source.stale


def test_who_is_not_back_in_its_restart_time_loses_its_routes() -> None:
    neighbour = up_with_routes(1)

    neighbour.lose()
    neighbour.wait(RESTART_TIME + 10)

    assert neighbour.held == set()


def test_what_is_not_told_again_goes_with_end_of_rib() -> None:
    neighbour = up_with_routes(1, 2)
    neighbour.lose()
    neighbour.come_up(RESTARTS)
    neighbour.tell(announcement("10.0.0.2", label=222))
    assert neighbour.held == hosts(1, 2)

    neighbour.say(end_of_rib(VPNV4))

    assert neighbour.held == hosts(2)


def test_end_of_rib_of_another_family_sweeps_nothing() -> None:
    neighbour = up_with_routes(1)
    neighbour.lose()
    neighbour.come_up(RESTARTS)

    neighbour.say(end_of_rib(EVPN))

    assert neighbour.held == hosts(1)


@pytest.mark.parametrize(
    "capabilities",
    [
        (),
        (GracefulRestart(RESTART_TIME),),
        (GracefulRestart(RESTART_TIME, ((EVPN, True),)),),
        (GracefulRestart(RESTART_TIME, ((VPNV4, False),)),),
    ],
    ids=["no capability", "no family", "another family", "forwarding bit clear"],
)
def test_who_comes_back_without_its_forwarding_state_loses_its_old_routes(capabilities: tuple[Capability, ...]) -> None:
    neighbour = up_with_routes(1)
    neighbour.lose()

    neighbour.come_up(*capabilities)

    assert neighbour.held == set()


def test_a_second_restart_in_a_row_keeps_only_what_was_told_since_the_first() -> None:
    neighbour = up_with_routes(1, 2)
    neighbour.lose()
    neighbour.come_up(RESTARTS)
    neighbour.tell(announcement("10.0.0.2"))

    neighbour.lose()

    assert neighbour.held == hosts(2)


def subtypes(messages: Iterable[tuple[int, bytes]]) -> list[int]:
    """What was heard in order: the subtypes of ROUTE-REFRESH messages, -1 for an UPDATE."""
    return [RouteRefresh.decode(body).subtype if kind == MessageType.ROUTE_REFRESH else -1 for kind, body in messages]


def test_a_refresh_is_answered_with_everything_between_its_two_marks() -> None:
    neighbour = Neighbour()
    neighbour.come_up()
    nlri = neighbour.originate("10.9.0.1")

    messages = neighbour.say(refresh(RouteRefresh(VPNV4)))

    assert subtypes(messages) == [1, -1, 2]
    reached = update.take_apart(messages[1][1]).reach
    assert reached is not None
    assert reached.nlri == nlri


def test_a_refresh_for_a_family_that_was_not_offered_is_ignored() -> None:
    neighbour = Neighbour(families=(VPNV4,))
    neighbour.come_up()
    neighbour.originate("10.9.0.1")

    assert neighbour.say(refresh(RouteRefresh(EVPN))) == []


def test_what_is_not_told_again_between_the_marks_of_a_refresh_goes() -> None:
    neighbour = Neighbour()
    neighbour.come_up()
    neighbour.tell(announcement("10.0.0.1"), announcement("10.0.0.2"))

    neighbour.say(refresh(RouteRefresh(VPNV4, 1)))
    neighbour.tell(announcement("10.0.0.2"))
    assert neighbour.held == hosts(1, 2)
    neighbour.say(refresh(RouteRefresh(VPNV4, 2)))

    assert neighbour.held == hosts(2)


def test_with_memberships_their_end_of_rib_comes_first_and_the_others_wait_for_the_neighbours() -> None:
    neighbour = Neighbour(families=(VPNV4, RTC))

    assert ends_of_rib(neighbour.come_up(Multiprotocol(RTC))) == [RTC]
    assert ends_of_rib(neighbour.say(end_of_rib(RTC))) == [VPNV4]


def test_the_wait_for_the_memberships_of_a_neighbour_has_an_end() -> None:
    neighbour = Neighbour(families=(VPNV4, RTC))
    neighbour.come_up(Multiprotocol(RTC))

    neighbour.wait(70)

    assert ends_of_rib(neighbour.say()) == [VPNV4]


def test_the_default_membership_that_a_reflector_gives_back_is_not_told_it_again() -> None:
    """GoBGP before 3.36 reflects it to its author, and dies of hearing it a second time (osrg/gobgp#2900)."""
    neighbour = Neighbour(families=(VPNV4, RTC))
    first = neighbour.come_up(Multiprotocol(RTC))
    assert [p.reach.nlri for p in (update.take_apart(b) for k, b in first if k == MessageType.UPDATE) if p.reach] == [
        b"\0"
    ]
    neighbour.say(end_of_rib(RTC))
    given_back = body(
        common(originator="192.0.2.2", clusters=("192.0.2.2",)),
        attribute(0x80, 14, b"\x00\x01\x84\x04" + bytes((192, 0, 2, 2)) + b"\0" + b"\0"),
    )
    taken_back = body(attribute(0x80, 15, b"\x00\x01\x84" + b"\0"))

    answers = [neighbour.say(frame(MessageType.UPDATE, one)) for one in (given_back, taken_back)]

    assert answers == [[], []]
