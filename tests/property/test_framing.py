"""Any segmentation of any stream gives the same messages, and only our faults."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.errors import RemoteFault
from bagpipe.wire.capability import UnknownCapability
from bagpipe.wire.framing import Framer
from bagpipe.wire.message import KEEPALIVE, Notification, Open, RouteRefresh, frame, update

BODIES = st.binary(min_size=4, max_size=60)
MESSAGES = st.one_of(
    BODIES.map(update),
    st.just(KEEPALIVE),
    st.binary(min_size=10, max_size=40).map(lambda body: frame(1, body)),
    st.binary(min_size=2, max_size=40).map(lambda body: frame(3, body)),
    st.binary(max_size=8).map(lambda body: frame(5, body)),
)
STREAMS = st.builds(
    lambda messages, tail: b"".join(messages) + tail, st.lists(MESSAGES, max_size=12), st.binary(max_size=40)
)


def outcome(chunks: list[bytes]) -> tuple[list[tuple[int, bytes]], object]:
    """All messages, and the fault they end with."""
    framer, found = Framer(), list[tuple[int, bytes]]()
    for chunk in chunks:
        try:
            found += framer.feed(chunk)
        except RemoteFault as error:
            assert error is framer.fault
    fault = framer.fault
    return found, fault and (fault.code, fault.subcode, fault.data)


@settings(max_examples=200)
@given(STREAMS, st.data())
def test_any_segmentation_gives_what_one_piece_gives(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert outcome(pieces) == outcome([stream])


@settings(max_examples=100)
@given(STREAMS)
def test_every_byte_alone_gives_what_one_piece_gives(stream: bytes) -> None:
    assert outcome([stream[i : i + 1] for i in range(len(stream))]) == outcome([stream])


@settings(max_examples=200)
@given(st.lists(MESSAGES, max_size=12))
def test_what_was_framed_comes_out_of_the_framer(messages: list[bytes]) -> None:
    assert outcome([b"".join(messages)]) == ([(one[18], one[19:]) for one in messages], None)


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_no_body_raises_anything_but_a_remote_fault(body: bytes) -> None:
    for decode in (Open.decode, RouteRefresh.decode):
        try:
            message = decode(body)
        except RemoteFault as fault:
            assert fault.code in (2, 7)
        else:
            assert str(message)
    if len(body) >= 2:
        assert "\n" not in str(Notification.decode(body))


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_an_open_that_can_be_read_means_the_same_when_written_again(tail: bytes) -> None:
    body = b"\x04\xfc\0\0\x5a\x0a\0\0\1" + bytes((min(len(tail) + 2, 255), 2, len(tail))) + tail
    try:
        message = Open.decode(body)
    except RemoteFault:
        message = Open(1, 90, Open.decode(b"\x04\0\1\0\x5a\x0a\0\0\1\0").router_id, (UnknownCapability(200, tail),))
    assert Open.decode(message.encode()) == message
