"""OPEN, NOTIFICATION and ROUTE-REFRESH to bytes and back."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bagpipe.errors import RemoteFault
from bagpipe.wire.capability import FourOctetAs, Multiprotocol, RouteRefreshSupport, UnknownCapability
from bagpipe.wire.family import EVPN, VPNV4
from bagpipe.wire.message import (
    KEEPALIVE,
    CeaseSubcode,
    MessageType,
    Notification,
    Open,
    RouteRefresh,
    frame,
    update,
)

ROUTER_ID = IPv4Address("10.0.0.1")
HEAD = bytes.fromhex("04fc00005a0a000001")


def test_a_message_is_marker_length_type_and_body() -> None:
    assert frame(MessageType.NOTIFICATION, b"\6\2").hex() == "ff" * 16 + "0015" + "03" + "0602"
    assert KEEPALIVE.hex() == "ff" * 16 + "0013" + "04"
    assert update(b"\0\0\0\0").hex() == "ff" * 16 + "0017" + "02" + "00000000"


def test_an_open_puts_all_capabilities_into_one_parameter() -> None:
    message = Open(64512, 90, ROUTER_ID, (Multiprotocol(VPNV4), RouteRefreshSupport()))
    assert message.encode().hex() == HEAD.hex() + "0a" + "0208" + "010400010080" + "0200"
    assert Open.decode(message.encode()) == message


def test_an_open_without_capabilities_has_no_parameter() -> None:
    message = Open(64512, 90, ROUTER_ID)
    assert message.encode() == HEAD + b"\0"
    assert Open.decode(message.encode()) == message


def test_several_capability_parameters_are_read_as_one() -> None:
    body = HEAD + bytes.fromhex("0c" + "0206010400010080" + "02020200")
    assert Open.decode(body).capabilities == (Multiprotocol(VPNV4), RouteRefreshSupport())


@pytest.mark.parametrize(("size", "is_extended"), [(251, False), (252, True), (255, True)])
def test_only_an_open_that_needs_it_uses_the_extended_parameters_of_rfc_9072(size: int, is_extended: bool) -> None:
    message = Open(64512, 90, ROUTER_ID, (UnknownCapability(200, bytes(size)),))
    body = message.encode()
    assert (body[9:11] == b"\xff\xff") is is_extended
    assert Open.decode(body) == message


def test_an_open_with_thousands_of_octets_of_capabilities_comes_back_as_it_was() -> None:
    message = Open(64512, 90, ROUTER_ID, tuple(UnknownCapability(200, bytes([n]) * 250) for n in range(15)))
    assert Open.decode(message.encode()) == message


def test_extended_parameters_may_be_small_and_their_first_length_anything_but_zero() -> None:
    extended = bytes.fromhex("07ff" + "0005" + "020002" + "0200")
    assert Open.decode(HEAD + extended).capabilities == (RouteRefreshSupport(),)


@pytest.mark.parametrize(
    ("body", "subcode", "data"),
    [
        pytest.param(b"\x05" + HEAD[1:] + b"\0", 1, b"\0\4", id="version 5"),
        pytest.param(HEAD + b"\4\1\2ab", 4, b"", id="authentication parameter"),
        pytest.param(HEAD + b"\5\2\2\2\0", 0, b"", id="parameters end early"),
        pytest.param(HEAD + b"\4\2\2\2\0x", 0, b"", id="something after the parameters"),
        pytest.param(HEAD + b"\3\2\2\2", 0, b"", id="parameter runs over its end"),
        pytest.param(HEAD + b"\1\2", 0, b"", id="parameter without length"),
        pytest.param(HEAD + b"\4\2\2\2\1", 0, b"", id="capability runs over its end"),
        pytest.param(HEAD + b"\xff\xff\0", 0, b"", id="extended length cut short"),
        pytest.param(HEAD + b"\0\xff\0\0", 0, b"", id="extended after a zero length"),
        pytest.param(HEAD, 0, b"", id="no parameter length"),
    ],
)
def test_an_open_that_cannot_be_read_is_an_open_message_error(body: bytes, subcode: int, data: bytes) -> None:
    with pytest.raises(RemoteFault) as caught:
        Open.decode(body)
    assert (caught.value.code, caught.value.subcode, caught.value.data) == (2, subcode, data)


def test_the_4_octet_as_is_in_its_capability_and_not_in_the_field() -> None:
    body = Open(23456, 90, ROUTER_ID, (FourOctetAs(4200000001),)).encode()
    assert body[1:3].hex() == "5ba0"
    assert Open.decode(body).capabilities == (FourOctetAs(4200000001),)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (Notification(1, 1), "message header error / connection not synchronized"),
        (Notification(2, 7, b"\1\4"), "open message error / unsupported capability [0104]"),
        (Notification(2, 0), "open message error"),
        (Notification(3, 11), "update message error / malformed as path"),
        (Notification(4), "hold timer expired"),
        (Notification(5, 3, b"\1"), "finite state machine error / unexpected message in established [01]"),
        (Notification(6, 0), "cease / unspecific"),
        (Notification(6, 7), "cease / connection collision resolution"),
        (Notification(6, 77), "cease / 77"),
        (Notification(6, 9, b"\6\4\3abc"), 'cease / hard reset (cease / administrative reset: "abc")'),
        (Notification(6, 9), "cease / hard reset"),
        (Notification(6, 9, b"\6\x09\6"), "cease / hard reset (cease / hard reset [06])"),
        (Notification(7, 1), "route refresh message error / invalid message length"),
        (Notification(8), "send hold timer expired"),
        (Notification(99, 3), "99 / 3"),
    ],
)
def test_a_notification_reads_as_a_sentence(message: Notification, text: str) -> None:
    assert str(message) == text
    assert Notification.decode(message.encode()) == message


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x05hello", "hello"),
        (b"\x05hello and more", "hello"),
        (b"\xffshort", "short"),
        ("\x0cgrüße dich".encode(), "grüße dich"),
        (b"\3a\nb", r"a\nb"),
        (b"\4\x1b[2J", r"\x1b[2J"),
        (b"\2\xff\xfe", r"\xff\xfe"),
        (b"", ""),
        (b"\0", ""),
    ],
)
def test_the_shutdown_communication_is_shown_whatever_is_in_it(data: bytes, text: str) -> None:
    assert Notification(6, CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, data).communication == text
    assert Notification(6, CeaseSubcode.ADMINISTRATIVE_RESET, data).communication == text
    assert Notification(6, CeaseSubcode.PEER_DECONFIGURED, data).communication == ""


def test_a_shutdown_communication_is_cut_at_255_octets_and_between_characters() -> None:
    message = Notification.cease(CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, "ü" * 200)
    assert len(message.data) == 255
    assert message.communication == "ü" * 127
    assert Notification.cease(CeaseSubcode.CONNECTION_REJECTED, "not sent with this").data == b""


def test_a_hard_reset_carries_what_it_is_for() -> None:
    inner = Notification(6, 2, b"\2ok")
    hard = inner.as_hard_reset()
    assert hard.encode() == b"\6\x09\6\2\2ok"
    assert hard.is_hard_reset and hard.cause == inner
    assert not inner.is_hard_reset and inner.cause is inner


@pytest.mark.parametrize("message", [RouteRefresh(VPNV4), RouteRefresh(EVPN, 1), RouteRefresh(EVPN, 255)])
def test_a_route_refresh_comes_back_as_it_was(message: RouteRefresh) -> None:
    assert RouteRefresh.decode(message.encode()) == message


def test_a_route_refresh_is_afi_subtype_safi() -> None:
    assert RouteRefresh(EVPN, 2).encode().hex() == "00190246"


@pytest.mark.parametrize("body", [b"", b"\0\1\0", b"\0\1\0\x80\0"])
def test_a_route_refresh_of_another_length_is_answered_with_the_whole_message(body: bytes) -> None:
    with pytest.raises(RemoteFault) as caught:
        RouteRefresh.decode(body)
    assert (caught.value.code, caught.value.subcode) == (7, 1)
    assert caught.value.data == frame(MessageType.ROUTE_REFRESH, body)
