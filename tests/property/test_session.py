"""Two sessions on a virtual clock always find each other again; one session survives any peer."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.session.fsm import State
from bagpipe.session.outputs import Close, Down, Output, Send, Up, Updates
from bagpipe.session.settings import Mode, SessionSettings
from bagpipe.wire.family import EVPN, VPNV4
from bagpipe.wire.message import KEEPALIVE, Notification, RouteRefresh, frame, update
from tests.unit.session.pair import Pair
from tests.unit.session.script import HELPED_WITH_N, Script, notification, of, peer_open, refresh

MODES = st.sampled_from(
    [(Mode.BOTH, Mode.BOTH), (Mode.ACTIVE, Mode.PASSIVE), (Mode.PASSIVE, Mode.ACTIVE), (Mode.BOTH, Mode.PASSIVE)]
)
TROUBLES = st.sampled_from(
    ["reset", "lose silently", "restart 0", "restart 1", "silent restart 0", "silent restart 1", "bounce 0", "bounce 1"]
)


def session(number: int, mode: Mode, graceful: bool = True, hold_time: int = 9) -> SessionSettings:
    return SessionSettings(
        local_as=64512,
        peer_as=64512,
        router_id=IPv4Address(f"10.0.0.{number}"),
        families=(VPNV4, EVPN),
        hold_time=hold_time,
        mode=mode,
        connect_retry=5.0,
        idle_hold_max=30.0,
        graceful_restart_time=120 if graceful else None,
    )


def make_trouble(pair: Pair, trouble: str) -> None:
    if trouble == "reset":
        pair.reset_connections()
    elif trouble == "lose silently":
        pair.lose_silently()
    elif trouble.startswith("bounce"):
        pair.bounce(int(trouble[-1]))
    else:
        pair.restart(int(trouble[-1]), silently=trouble.startswith("silent"))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    modes=MODES,
    graceful=st.tuples(st.booleans(), st.booleans()),
    delay=st.sampled_from([0.0, 0.001, 0.05, 0.9]),
    troubles=st.lists(st.tuples(TROUBLES, st.sampled_from([0.0, 0.01, 0.5, 2.0, 20.0, 90.0])), max_size=8),
    loses_connects=st.booleans(),
)
def test_two_sessions_are_established_again_whatever_happened_to_them(
    seed: int,
    modes: tuple[Mode, Mode],
    graceful: tuple[bool, bool],
    delay: float,
    troubles: list[tuple[str, float]],
    loses_connects: bool,
) -> None:
    pair = Pair((session(1, modes[0], graceful[0]), session(2, modes[1], graceful[1])), seed, delay)
    pair.loses_connects = loses_connects
    for trouble, pause in troubles:
        pair.run(pause)
        make_trouble(pair, trouble)
    pair.loses_connects = False
    pair.run(300)
    assert pair.is_up, [(side.state, side.last_down) for side in pair.sides]
    for side in (0, 1):
        kinds = pair.ups_and_downs(side)
        assert kinds[-1] is Up


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), modes=MODES, delay=st.sampled_from([0.0, 0.001, 0.05, 0.9]))
def test_two_sessions_left_alone_come_up_and_stay_up(seed: int, modes: tuple[Mode, Mode], delay: float) -> None:
    pair = Pair((session(1, modes[0]), session(2, modes[1])), seed, delay)
    pair.run(120)
    assert pair.is_up
    flaps = [side.counters.flaps for side in pair.sides]
    pair.run(600)
    assert [side.counters.flaps for side in pair.sides] == flaps


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), troubles=st.lists(TROUBLES.filter(lambda one: "restart" not in one), max_size=5))
def test_up_and_down_alternate(seed: int, troubles: list[str]) -> None:
    pair = Pair((session(1, Mode.BOTH), session(2, Mode.BOTH)), seed)
    for trouble in troubles:
        pair.run(40)
        make_trouble(pair, trouble)
    pair.run(100)
    for side in (0, 1):
        kinds = pair.ups_and_downs(side)
        assert kinds[0] is Up
        assert all(one is not other for one, other in pairwise(kinds))


MESSAGES = st.one_of(
    st.just(KEEPALIVE),
    st.just(peer_open()),
    st.just(peer_open(HELPED_WITH_N)),
    st.just(peer_open(asn=64999)),
    st.binary(min_size=4, max_size=30).map(update),
    st.just(update(bytes(30000))),
    st.sampled_from([RouteRefresh(VPNV4), RouteRefresh(EVPN, 1), RouteRefresh(EVPN, 9)]).map(refresh),
    st.tuples(st.integers(0, 9), st.integers(0, 12)).map(lambda pair: notification(*pair)),
    st.tuples(st.integers(0, 255), st.binary(max_size=40)).map(lambda pair: frame(*pair)),
    st.binary(max_size=40),
)
STREAMS = st.tuples(st.booleans(), st.lists(MESSAGES, max_size=8)).map(
    lambda pair: (peer_open() + KEEPALIVE if pair[0] else b"") + b"".join(pair[1])
)


def played(chunks: list[bytes]) -> tuple[list[Output], Script]:
    """All outputs of a session that is fed ``chunks``, consecutive Updates joined."""
    script = Script()
    connection = script.dial_and_connect()
    joined: list[Output] = []
    for output in (one for chunk in chunks for one in script.receive(connection, chunk)):
        if isinstance(output, Updates) and joined and isinstance(joined[-1], Updates):
            joined[-1] = Updates(joined[-1].bodies + output.bodies)
        else:
            joined.append(output)
    return joined, script


@settings(max_examples=200)
@given(STREAMS, st.data())
def test_any_segmentation_of_what_the_peer_sends_means_the_same(stream: bytes, data: st.DataObject) -> None:
    whole, _ = played([stream])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces, _ = played([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)])
    assert pieces == whole


@settings(max_examples=30)
@given(STREAMS.filter(lambda stream: len(stream) < 5000))
def test_every_byte_alone_means_the_same(stream: bytes) -> None:
    assert played([stream[i : i + 1] for i in range(len(stream))])[0] == played([stream])[0]


@settings(max_examples=300)
@given(STREAMS)
def test_whatever_the_peer_sends_ends_in_a_notification_and_a_close_or_not_at_all(stream: bytes) -> None:
    outputs, script = played([stream])
    closes = of(Close, outputs)
    if not closes:
        assert script.neighbor.state in (State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED)
        assert of(Down, outputs) == []
        return
    assert len(closes) == 1
    assert script.neighbor.state is State.IDLE
    assert script.neighbor.last_down
    before = outputs[: outputs.index(closes[0])]
    sent_notification = [one for one in of(Send, before) if one.data[18] == 3]
    if "received NOTIFICATION" not in script.neighbor.last_down:
        assert before[-1] == sent_notification[-1]
        assert Notification.decode(sent_notification[-1].data[19:]).code in (1, 2, 5, 7)
    else:
        assert sent_notification == []
    assert len(of(Up, outputs)) == len(of(Down, outputs))


@settings(max_examples=100)
@given(st.binary(min_size=19, max_size=200))
def test_pure_garbage_is_answered_and_the_next_attempt_follows(garbage: bytes) -> None:
    outputs, script = played([garbage])
    if of(Close, outputs):
        script.pass_time(2)
        assert script.neighbor.state is State.CONNECT
    else:
        assert garbage.startswith(b"\xff" * 16)
