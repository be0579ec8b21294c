"""From nothing to Established, and what the two OPENs agree on."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest

from bagpipe.errors import LocalMisuse
from bagpipe.session.fsm import State
from bagpipe.session.outputs import Close, Connect, Send, Up
from bagpipe.session.settings import Mode, SessionSettings
from bagpipe.wire.capability import (
    AddPath,
    Capability,
    ExtendedNextHop,
    FourOctetAs,
    GracefulRestart,
    LongLivedGracefulRestart,
    Multiprotocol,
    UnknownCapability,
)
from bagpipe.wire.family import EVPN, FLOWSPEC_VPNV4, IPV4_UNICAST, RTC, VPNV4, VPNV6
from bagpipe.wire.message import KEEPALIVE, MessageType, Notification, Open, frame
from tests.unit.session.script import (
    HIGHER_ID,
    LOCAL_AS,
    LOCAL_ID,
    Script,
    capabilities,
    closed_connections,
    messages,
    notification,
    notifications,
    of,
    peer_open,
)

REFERENCE_OPEN = bytes.fromhex("04fc0000b47f000001200206010400010080020601040001008402060104000100860206010400190046")
FRR_OPEN = bytes.fromhex(
    "045ba000b40a0000045c0206010400010080020601040019004602028000020202000202460002064104fa56ea010202060002"
    "0a450800018001001946010206490402766d00020c400ac07800018000001946000210470e0001808000000000194680000000"
)
GOBGP_OPEN = bytes.fromhex(
    "04fc00005a0a00000340023e0200490402766d0001040001008001040019004601040001008441040000fc00"
    "400640140001800047000512000100800002001900460002000100840002"
)
BIRD_OPEN = bytes.fromhex(
    "04fc0000f00a00000228022601040001008001040002008002000600400a0078000180000002800041040000fc0046004700"
)


def raw_open(
    *offered: Capability, my_as: int = LOCAL_AS, hold_time: int = 90, router_id: IPv4Address = HIGHER_ID
) -> bytes:
    return frame(MessageType.OPEN, Open(my_as, hold_time, router_id, offered).encode())


def test_a_session_that_dials_comes_up_in_the_order_of_the_rfc() -> None:
    script = Script()
    connection = script.start_and_dial()
    states = [script.neighbor.state]

    opened = script.neighbor.connected(connection, script.now)
    assert [kind for kind, _ in messages(opened)] == [MessageType.OPEN]
    states.append(script.neighbor.state)

    confirmed = script.receive(connection, peer_open())
    assert [kind for kind, _ in messages(confirmed)] == [MessageType.KEEPALIVE]
    states.append(script.neighbor.state)

    (up,) = script.receive(connection, KEEPALIVE)
    assert isinstance(up, Up)
    assert up.connection == connection == script.neighbor.connection
    states.append(script.neighbor.state)
    assert [str(state) for state in states] == ["Connect", "OpenSent", "OpenConfirm", "Established"]
    assert up.negotiated == script.neighbor.negotiated


def test_a_passive_neighbour_never_dials_and_takes_the_peers_connection() -> None:
    script = Script(mode=Mode.PASSIVE)
    assert script.neighbor.start(script.now) == []
    assert script.neighbor.state is State.ACTIVE
    assert script.pass_time(3600) == []

    connection, outputs = script.accept()
    assert [kind for kind, _ in messages(outputs, connection)] == [MessageType.OPEN]
    assert of(Up, script.receive(connection, peer_open(), KEEPALIVE))


def test_an_active_neighbour_rejects_the_peers_connection() -> None:
    script = Script(mode=Mode.ACTIVE)
    script.start_and_dial()
    connection, outputs = script.accept()
    assert [str(one) for one in notifications(outputs, connection)] == ["cease / connection rejected"]
    assert closed_connections(outputs) == [connection]


def test_a_neighbour_that_is_not_started_turns_the_peer_away_as_shut_down() -> None:
    script = Script()
    connection, outputs = script.accept()
    assert [str(one) for one in notifications(outputs)] == ["cease / administrative shutdown"]
    assert closed_connections(outputs) == [connection]


def test_both_ways_open_at_once_a_connection_of_the_peer_can_win_before_ours_is_there() -> None:
    script = Script()
    ours = script.start_and_dial()
    theirs, _ = script.accept()
    outputs = script.receive(theirs, peer_open(), KEEPALIVE)
    assert closed_connections(outputs) == [ours]
    assert script.neighbor.connection == theirs
    assert script.neighbor.connected(ours, script.now) == [Close(ours)]


def test_a_refused_connection_is_tried_again_after_connect_retry() -> None:
    script = Script(connect_retry=5.0)
    first = script.start_and_dial()
    assert script.neighbor.refused(first, script.now, "connection refused") == []
    assert script.neighbor.state is State.ACTIVE
    assert script.neighbor.last_down == "connection refused"
    assert script.pass_time(4.9) == []
    (connect,) = script.pass_time(0.1)
    assert isinstance(connect, Connect)
    assert connect.connection not in (first,) and connect.connection % 2 == 0


def test_a_connection_attempt_without_an_answer_is_given_up_for_a_new_one() -> None:
    script = Script(connect_retry=5.0)
    first = script.start_and_dial()
    outputs = script.pass_time(5)
    assert outputs == [Close(first), Connect(first + 2)]
    assert script.neighbor.last_down == "no answer to the connection attempt"


def test_connect_retry_has_the_jitter_of_the_rfc() -> None:
    script = Script(jitter=0.75, connect_retry=8.0)
    script.start_and_dial()
    assert script.neighbor.deadline() == script.now + 6.0


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed"), [(90, 180, 90), (180, 90, 90), (90, 3, 3), (0, 90, 0), (90, 0, 0), (0, 0, 0)]
)
def test_the_smaller_hold_time_counts_and_a_third_of_it_is_the_keepalive_time(
    ours: int, theirs: int, agreed: int
) -> None:
    script = Script(hold_time=ours)
    script.establish(hold_time=theirs)
    negotiated = script.neighbor.negotiated
    assert negotiated is not None
    assert (negotiated.hold_time, negotiated.keepalive) == (agreed, agreed / 3)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        pytest.param(peer_open(asn=64513), (2, 2, b""), id="another AS than configured"),
        pytest.param(raw_open(my_as=0), (2, 2, b""), id="AS 0"),
        pytest.param(raw_open(my_as=23456), (2, 2, b""), id="AS_TRANS without the 4-octet AS"),
        pytest.param(raw_open(FourOctetAs(0)), (2, 2, b""), id="4-octet AS 0"),
        pytest.param(raw_open(FourOctetAs(LOCAL_AS), my_as=100), (2, 2, b""), id="two different ASes"),
        pytest.param(peer_open(router_id=IPv4Address(0)), (2, 3, b""), id="identifier zero"),
        pytest.param(peer_open(router_id=LOCAL_ID), (2, 3, b""), id="our own identifier in our AS"),
        pytest.param(peer_open(hold_time=1), (2, 6, b""), id="hold time 1"),
        pytest.param(peer_open(hold_time=2), (2, 6, b""), id="hold time 2"),
        pytest.param(
            raw_open(Multiprotocol(IPV4_UNICAST)),
            (2, 7, Multiprotocol(VPNV4).encode() + Multiprotocol(EVPN).encode()),
            id="no family in common",
        ),
        pytest.param(peer_open().replace(b"\x04\xfc\x00", b"\x03\xfc\x00", 1), (2, 1, b"\0\x04"), id="version 3"),
        pytest.param(frame(1, b"\x04\xfc\0\0\x5a\x0a\0\0\2\x03\x01\x01\xff"), (2, 4, b""), id="authentication"),
        pytest.param(frame(1, b"\x04\xfc\0\0\x5a\x0a\0\0\2\x09\x02\x01\x01"), (2, 0, b""), id="parameters too short"),
    ],
)
def test_an_open_that_cannot_be_accepted_ends_in_its_notification(message: bytes, code: tuple[int, int, bytes]) -> None:
    script = Script()
    connection = script.dial_and_connect()
    outputs = script.receive(connection, message)
    assert [(one.code, one.subcode, one.data) for one in notifications(outputs)] == [code]
    assert outputs[-1] == Close(connection)
    assert script.neighbor.state is State.IDLE
    assert "sent NOTIFICATION: open message error" in script.neighbor.last_down


def test_in_another_as_the_same_identifier_is_fine() -> None:
    script = Script(peer_as=64513)
    script.establish(asn=64513, router_id=LOCAL_ID)
    assert script.neighbor.negotiated is not None
    assert not script.neighbor.negotiated.is_ibgp


def test_without_a_configured_as_any_as_of_the_peer_will_do() -> None:
    script = Script(peer_as=None)
    script.establish(asn=4200000001)
    assert script.neighbor.negotiated is not None
    assert script.neighbor.negotiated.peer_as == 4200000001


def test_an_as_number_of_four_octets_is_sent_as_as_trans_with_the_capability() -> None:
    script = Script(local_as=4200000001)
    connection = script.start_and_dial()
    ((_, body),) = messages(script.neighbor.connected(connection, script.now))
    sent = Open.decode(body)
    assert sent.my_as == 23456
    assert FourOctetAs(4200000001) in sent.capabilities


def test_the_open_offers_what_the_settings_say() -> None:
    script = Script(add_path_receive=(VPNV4,), graceful_restart_time=77)
    connection = script.start_and_dial()
    ((_, body),) = messages(script.neighbor.connected(connection, script.now))
    assert [str(one) for one in Open.decode(body).capabilities] == [
        "multiprotocol vpnv4",
        "multiprotocol evpn",
        "route-refresh",
        "enhanced-route-refresh",
        "4-octet-as 64512",
        "extended-message",
        "extended-next-hop vpnv4 via afi-2",
        "add-path vpnv4 receive",
        "graceful-restart 77 s, notification",
    ]


def test_the_open_leaves_out_what_the_settings_switch_off() -> None:
    script = Script(extended_message=False, graceful_restart_time=None, extended_next_hop=False)
    connection = script.start_and_dial()
    ((_, body),) = messages(script.neighbor.connected(connection, script.now))
    names = {one.name for one in Open.decode(body).capabilities}
    assert not names & {"extended-message", "graceful-restart", "extended-next-hop", "add-path"}


def negotiated_with(script: Script, *offered: Capability, **changes: Any) -> Any:
    connection = script.dial_and_connect()
    script.receive(connection, raw_open(*offered, **changes), KEEPALIVE)
    return script.neighbor.negotiated


def test_only_what_both_offer_is_used() -> None:
    everything = (
        *capabilities(),
        Multiprotocol(RTC),
        ExtendedNextHop(((VPNV4, 2), (VPNV6, 2))),
        AddPath(((VPNV4, 3), (EVPN, 1), (VPNV6, 2))),
        GracefulRestart(90, ((VPNV4, True),), notification=True),
        LongLivedGracefulRestart(((VPNV4, True, 3600),)),
    )
    negotiated = negotiated_with(Script(add_path_receive=(VPNV4, EVPN)), *everything)
    assert negotiated.families == {VPNV4, EVPN}
    assert negotiated.extended_next_hop == {(VPNV4, 2)}
    assert negotiated.add_path_receive == {VPNV4}
    assert negotiated.graceful_notification
    assert negotiated.peer_long_lived is not None
    assert negotiated.max_message == 65535

    plain = negotiated_with(
        Script(extended_message=False, graceful_restart_time=None, extended_next_hop=False), *everything
    )
    assert plain.extended_next_hop == plain.add_path_receive == frozenset()
    assert plain.peer_graceful_restart is None and plain.peer_long_lived is None and not plain.graceful_notification
    assert plain.max_message == 4096
    assert plain.peer_capabilities == everything


def test_an_unknown_add_path_mode_is_ignored() -> None:
    negotiated = negotiated_with(Script(add_path_receive=(VPNV4,)), *capabilities(), AddPath(((VPNV4, 7),)))
    assert negotiated.add_path_receive == frozenset()


def test_of_several_graceful_restart_capabilities_the_last_counts() -> None:
    negotiated = negotiated_with(Script(), *capabilities(), GracefulRestart(10), GracefulRestart(20, ((EVPN, False),)))
    assert negotiated.peer_graceful_restart == GracefulRestart(20, ((EVPN, False),))


def test_unknown_capabilities_do_not_matter_and_are_kept_to_be_shown() -> None:
    unknown = UnknownCapability(199, b"\1\2\3")
    negotiated = negotiated_with(Script(), *capabilities(), unknown)
    assert unknown in negotiated.peer_capabilities
    assert str(unknown) == "capability-199 010203"


def test_a_peer_without_capabilities_comes_up_with_no_family_of_ours() -> None:
    negotiated = negotiated_with(Script())
    assert negotiated.families == frozenset()
    assert not negotiated.four_octet_as and not negotiated.route_refresh


def test_a_peer_without_capabilities_speaks_ipv4_unicast_if_that_is_configured() -> None:
    negotiated = negotiated_with(Script(families=(IPV4_UNICAST, VPNV4)))
    assert negotiated.families == {IPV4_UNICAST}


def test_a_peer_that_does_not_know_capabilities_is_tried_once_without_them() -> None:
    script = Script(idle_hold=1.0)
    connection = script.dial_and_connect()
    script.receive(connection, notification(2, 4))
    seen = []
    for _ in range(2):
        (connect,) = of(Connect, script.pass_time(2))
        ((_, body),) = messages(script.neighbor.connected(connect.connection, script.now))
        seen.append(bool(Open.decode(body).capabilities))
        script.receive(connect.connection, notification(6, 5))
    assert seen == [False, True]


@pytest.mark.parametrize(("code", "subcode"), [(2, 7), (2, 2), (6, 5), (2, 0)])
def test_another_complaint_does_not_cost_the_capabilities(code: int, subcode: int) -> None:
    script = Script()
    connection = script.dial_and_connect()
    script.receive(connection, notification(code, subcode))
    (connect,) = of(Connect, script.pass_time(2))
    ((_, body),) = messages(script.neighbor.connected(connect.connection, script.now))
    assert Open.decode(body).capabilities


@pytest.mark.parametrize(
    ("body", "families", "peer_as", "hold_time", "four_octet_as", "graceful"),
    [
        pytest.param(REFERENCE_OPEN, {VPNV4, RTC, FLOWSPEC_VPNV4, EVPN}, 64512, 90, False, None, id="reference 20.0.0"),
        pytest.param(FRR_OPEN, {VPNV4, EVPN}, 4200000001, 90, True, 120, id="FRR 8.4"),
        pytest.param(GOBGP_OPEN, {VPNV4, EVPN, RTC}, 64512, 90, True, 20, id="GoBGP 3.10"),
        pytest.param(BIRD_OPEN, {VPNV4, VPNV6}, 64512, 90, True, 120, id="BIRD 2.0.12"),
    ],
)
def test_the_opens_of_real_speakers_are_understood(
    body: bytes, families: set[Any], peer_as: int, hold_time: int, four_octet_as: bool, graceful: int | None
) -> None:
    script = Script(peer_as=None, families=(VPNV4, VPNV6, EVPN, RTC, FLOWSPEC_VPNV4))
    connection = script.dial_and_connect()
    script.receive(connection, frame(MessageType.OPEN, body), KEEPALIVE)
    negotiated = script.neighbor.negotiated
    assert negotiated is not None, script.neighbor.last_down
    assert negotiated.families == families
    assert (negotiated.peer_as, negotiated.hold_time, negotiated.four_octet_as) == (peer_as, hold_time, four_octet_as)
    restart = negotiated.peer_graceful_restart
    assert (restart and restart.restart_time) == graceful


def test_data_after_the_open_in_the_same_piece_is_read_with_the_negotiated_length() -> None:
    script = Script()
    connection = script.dial_and_connect()
    big = frame(MessageType.UPDATE, bytes(60000))
    outputs = script.receive(connection, peer_open(), KEEPALIVE, big)
    assert [len(body) for one in outputs if hasattr(one, "bodies") for body in one.bodies] == [60000]


def test_no_open_within_the_large_hold_time_ends_the_attempt() -> None:
    script = Script(open_hold=240.0)
    connection = script.dial_and_connect()
    assert script.pass_time(239.9) == []
    outputs = script.pass_time(0.1)
    assert notifications(outputs) == [Notification(4)]
    assert Close(connection) in outputs


def test_a_connection_that_ends_before_the_open_is_tried_again_after_connect_retry() -> None:
    script = Script(connect_retry=5.0)
    connection = script.dial_and_connect()
    assert script.neighbor.closed(connection, script.now, "connection reset") == []
    assert script.neighbor.state is State.ACTIVE
    assert of(Connect, script.pass_time(5))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("local_as", 0),
        ("peer_as", 1 << 32),
        ("router_id", IPv4Address(0)),
        ("hold_time", 2),
        ("hold_time", 65536),
        ("connect_retry", 0.0),
        ("idle_hold", -1.0),
        ("graceful_restart_time", 4096),
    ],
)
def test_a_setting_that_bgp_cannot_carry_is_refused_by_name(field: str, value: object) -> None:
    values: dict[str, Any] = {"local_as": 1, "peer_as": 1, "router_id": LOCAL_ID, "families": ()}
    with pytest.raises(LocalMisuse) as caught:
        SessionSettings(**(values | {field: value}))
    assert caught.value.field == field


def test_what_goes_to_the_peer_first_is_one_send_with_the_open() -> None:
    script = Script()
    connection = script.start_and_dial()
    (only,) = script.neighbor.connected(connection, script.now)
    assert isinstance(only, Send)
    assert only.connection == connection
