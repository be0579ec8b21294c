"""Messages out of a byte stream, and what is wrong with a header (RFC 4271 section 6.1, RFC 8654)."""

from __future__ import annotations

import time

import pytest

from bagpipe.errors import RemoteFault
from bagpipe.wire.framing import Framer
from bagpipe.wire.message import KEEPALIVE, MARKER, MessageType, frame, update

OPEN = frame(MessageType.OPEN, b"\x04\xfc\0\0\x5a\x0a\0\0\1\0")


def header(length: int, kind: int, marker: bytes = MARKER) -> bytes:
    return marker + length.to_bytes(2) + kind.to_bytes(1)


def test_whole_messages_come_out_with_type_and_body() -> None:
    assert Framer().feed(OPEN + KEEPALIVE + update(b"body")) == [(1, OPEN[19:]), (4, b""), (2, b"body")]


def test_consecutive_messages_of_one_type_come_as_one_run() -> None:
    framer = Framer()
    assert framer.runs(update(b"aaaa") + update(b"bbbb") + KEEPALIVE + update(b"cccc") + update(b"d")[:20]) == [
        (2, [b"aaaa", b"bbbb"]),
        (4, [b""]),
        (2, [b"cccc"]),
    ]


def test_the_rest_of_a_message_is_waited_for() -> None:
    framer = Framer()
    message = update(b"a body")
    assert framer.feed(message[:1]) == framer.feed(message[1:18]) == framer.feed(message[18:-1]) == []
    assert framer.feed(message[-1:] + KEEPALIVE[:5]) == [(2, b"a body")]
    assert framer.feed(KEEPALIVE[5:]) == [(4, b"")]


def test_an_open_pauses_the_framer_so_that_the_length_can_be_settled() -> None:
    framer = Framer()
    long = update(bytes(5000))
    assert framer.runs(OPEN + long) == [(1, [OPEN[19:]])]
    assert framer.paused
    framer.maximum = 65535
    assert framer.runs(b"") == [(2, [bytes(5000)])]
    assert not framer.paused


@pytest.mark.parametrize(
    ("data", "subcode", "detail"),
    [
        pytest.param(header(19, 4, b"\xfe" + b"\xff" * 15), 1, b"", id="marker"),
        pytest.param(header(18, 2), 2, b"\0\x12", id="shorter than a header"),
        pytest.param(header(0, 2), 2, b"\0\0", id="length 0"),
        pytest.param(header(4097, 2), 2, b"\x10\x01", id="longer than 4096"),
        pytest.param(header(65535, 2), 2, b"\xff\xff", id="longest"),
        pytest.param(header(28, 1), 2, b"\0\x1c", id="short OPEN"),
        pytest.param(header(22, 2), 2, b"\0\x16", id="short UPDATE"),
        pytest.param(header(20, 3), 2, b"\0\x14", id="short NOTIFICATION"),
        pytest.param(header(20, 4), 2, b"\0\x14", id="KEEPALIVE with a body"),
        pytest.param(header(19, 0), 3, b"\0", id="type 0"),
        pytest.param(header(19, 6), 3, b"\6", id="type 6"),
        pytest.param(header(18, 99), 2, b"\0\x12", id="length is judged before type"),
    ],
)
def test_each_header_fault_has_its_subcode_and_data_and_costs_nothing_before_it(
    data: bytes, subcode: int, detail: bytes
) -> None:
    framer = Framer()
    assert framer.feed(update(b"good") + KEEPALIVE + data + KEEPALIVE) == [(2, b"good"), (4, b"")]
    assert framer.fault is not None
    assert (framer.fault.code, framer.fault.subcode, framer.fault.data) == (1, subcode, detail)
    with pytest.raises(RemoteFault) as caught:
        framer.feed(KEEPALIVE)
    assert caught.value is framer.fault


@pytest.mark.parametrize(("length", "kind"), [(4096, 1), (4096, 2), (4096, 3), (4096, 5), (29, 1), (23, 2), (21, 3)])
def test_the_lengths_at_the_limits_are_fine(length: int, kind: int) -> None:
    body = bytes(length - 19)
    assert Framer().feed(frame(kind, body)) == [(kind, body)]


def test_extended_messages_go_up_to_65535_octets() -> None:
    framer = Framer(65535)
    assert [len(body) for _, body in framer.feed(update(bytes(65516)) + frame(3, bytes(65516)))] == [65516, 65516]


@pytest.mark.parametrize("kind", [MessageType.OPEN, MessageType.KEEPALIVE])
def test_open_and_keepalive_are_never_extended(kind: MessageType) -> None:
    framer = Framer(65535)
    assert framer.feed(header(4097, kind)) == []
    assert framer.fault is not None and framer.fault.subcode == 2


def test_a_fault_shows_as_soon_as_the_header_is_whole() -> None:
    framer = Framer()
    framer.feed(header(20, 4)[:18])
    assert framer.fault is None
    framer.feed(header(20, 4)[18:])
    assert framer.fault is not None


def test_a_message_of_64_kib_byte_by_byte_costs_no_more_than_its_bytes() -> None:
    message = update(bytes(65516))

    def cost(size: int) -> float:
        """Processor seconds for the first ``size`` bytes, one by one, and the number of messages in the end."""
        framer = Framer(65535)
        begin = time.process_time()
        for offset in range(size):
            framer.feed(message[offset : offset + 1])
        return time.process_time() - begin

    # A copy of all that waits with every byte would make four times the bytes sixteen times the work.
    quarter = min(cost(len(message) // 4) for _ in range(3))
    whole = min(cost(len(message)) for _ in range(3))
    assert whole < 10 * quarter
    framer = Framer(65535)
    assert [m for i in range(len(message)) for m in framer.feed(message[i : i + 1])] == [(2, bytes(65516))]
