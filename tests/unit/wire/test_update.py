"""UPDATE messages are taken apart and packed as RFC 4271, 4760 and 7606 say."""

from __future__ import annotations

import pytest

from bagpipe.errors import Outcome, RemoteFault
from bagpipe.wire import update
from bagpipe.wire.family import IPV4_UNICAST, VPNV4, VPNV6
from tests.unit.rib.routes import announcement, attribute, body, common, nlri, reach, targets, unreach, withdrawal

BODY_AT = 19


def test_an_announcement_gives_family_next_hop_nlri_and_block() -> None:
    parts = update.take_apart(announcement("10.0.0.1/32", rt=(7,)))

    assert parts.reach is not None
    assert parts.reach.family == VPNV4
    assert parts.reach.next_hop == bytes(8) + bytes((192, 0, 2, 1))
    assert parts.reach.nlri == nlri("10.0.0.1/32")
    assert parts.block == common() + targets(7)
    assert parts.end_of_rib is None


def test_a_withdrawal_gives_the_withdrawn_nlri() -> None:
    parts = update.take_apart(withdrawal("10.0.0.1/32"))

    assert parts.unreach == (VPNV4, nlri("10.0.0.1/32", 0x80000))
    assert parts.reach is None


def test_end_of_rib_is_understood_for_every_family() -> None:
    assert update.take_apart(b"\0\0\0\0").end_of_rib == IPV4_UNICAST
    assert update.take_apart(body(attribute(0x80, 15, VPNV6.packed))).end_of_rib == VPNV6
    assert update.take_apart(update.end_of_rib(VPNV4)[BODY_AT:]).end_of_rib == VPNV4
    assert update.take_apart(withdrawal("10.0.0.1/32")).end_of_rib is None


def test_old_ipv4_fields_are_noticed_and_left_alone() -> None:
    parts = update.take_apart(announcement("10.0.0.1/32") + b"\x18\x0a\x00\x00")

    assert parts.plain_ipv4
    assert parts.reach is not None
    assert parts.reach.nlri == nlri("10.0.0.1/32")


@pytest.mark.parametrize(
    ("bad", "subcode"),
    [
        (b"", 1),
        (b"\0\0\0", 1),
        (b"\xff\xff\0\0", 1),
        (b"\0\0\xff\xff", 1),
        (body(reach(nlri("10.0.0.1/32")), reach(nlri("10.0.0.2/32"))), 1),
        (body(unreach(nlri("10.0.0.1/32")), unreach(nlri("10.0.0.2/32"))), 1),
        (body(attribute(0x80, 14, b"\0\1\x80\xff\0")), 9),
        (body(attribute(0x80, 14, b"\0\1")), 9),
        (body(attribute(0x80, 15, b"\0\1")), 9),
        (body(attribute(0xC0, 14, VPNV4.packed + b"\0\0")), 4),
    ],
)
def test_what_leaves_the_routes_unknown_resets_the_session(bad: bytes, subcode: int) -> None:
    with pytest.raises(RemoteFault) as raised:
        update.take_apart(bad)

    assert raised.value.outcome is Outcome.RESET_SESSION
    assert (raised.value.code, raised.value.subcode) == (3, subcode)


def test_an_overrun_after_the_routes_is_reported_with_the_routes() -> None:
    parts = update.take_apart(body(reach(nlri("10.0.0.1/32")), b"\xc0\x10\xff\0\0"))

    assert parts.reach is not None
    assert parts.fault is not None
    assert parts.fault.outcome is Outcome.TREAT_AS_WITHDRAW


def test_packing_fills_messages_up_to_the_limit_and_loses_nothing() -> None:
    routes = [nlri(f"10.{i >> 8}.{i & 255}.1/32") for i in range(1000)]

    messages = update.announce(VPNV4, bytes(12), common() + targets(1), routes, 4096)

    assert all(len(message) <= 4096 for message in messages)
    assert len(messages) == 4
    found = b"".join(_routes_of(message) for message in messages)
    assert found == b"".join(routes)


def test_packing_keeps_routes_of_different_sizes_whole() -> None:
    routes = [nlri(f"10.0.{i & 255}.0/{24 + i % 9}", rd=i) for i in range(600)]

    messages = update.announce(VPNV4, bytes(12), common(), routes, 4096)

    assert b"".join(_routes_of(message) for message in messages) == b"".join(routes)
    for message in messages:
        position, field = 0, _routes_of(message)
        while position < len(field):
            position += 1 + (field[position] + 7) // 8
        assert position == len(field)


def test_a_route_whose_attributes_fill_the_message_is_not_told() -> None:
    block = common() + attribute(0xD0, 99, bytes(4050))

    assert update.announce(VPNV4, bytes(12), block, [nlri("10.0.0.1/32")], 4096) == []
    assert len(update.announce(VPNV4, bytes(12), block, [nlri("10.0.0.1/32")], 65535)) == 1


def test_withdrawals_are_packed_too() -> None:
    routes = [nlri(f"10.{i >> 8}.{i & 255}.1/32", 0x80000) for i in range(1000)]

    messages = update.withdraw(VPNV4, routes, 4096)

    assert len(messages) == 4
    whole = b"".join(parts[1] for m in messages if (parts := update.take_apart(m[BODY_AT:]).unreach))
    assert whole == b"".join(routes)


def _routes_of(message: bytes) -> bytes:
    reached = update.take_apart(message[BODY_AT:]).reach
    assert reached is not None
    return reached.nlri
