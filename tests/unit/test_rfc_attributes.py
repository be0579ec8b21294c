"""Obligations of RFC 4271, 6793, 7606, 8654 and 9012 towards attributes: each test stands in ``rfc/``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bagpipe.errors import Outcome, RemoteFault
from bagpipe.peer import MALFORMED_PAUSE
from bagpipe.rib.store import Store
from bagpipe.rib.update_group import UpdateGroup
from bagpipe.speaker import Notice, NoticeKind
from bagpipe.wire import update
from bagpipe.wire.attributes import Attributes, Context, parse, walk
from bagpipe.wire.family import EVPN, VPNV4
from bagpipe.wire.message import MessageType, RefreshSubtype, RouteRefresh
from tests.unit.rib.routes import announcement, attribute, body, common, nlri, reach, targets
from tests.unit.rib.test_update_group import CLIENTS, Ear, neighbour
from tests.unit.session.script import refresh
from tests.unit.test_rfc_obligations import attributes_in, told
from tests.unit.test_rfc_restart_and_refresh import RESTARTS, Neighbour, end_of_rib, ends_of_rib, subtypes

WIDE_AS = (4_200_000_001).to_bytes(4)
TRANS = b"\x5b\xa0"
NEW = Context(four_octet_as=True, is_ibgp=True)
OLD = Context(four_octet_as=False, is_ibgp=True)


def read(block: bytes, context: Context = NEW) -> Attributes:
    return parse(VPNV4, bytes(12), block, context)


def values(attributes: Attributes) -> dict[int, bytes]:
    return {code: value for _, code, value in walk(attributes.block)}


def flags_told(said: bytes) -> dict[int, int]:
    (message,) = told(CLIENTS, said)
    return {code: flags for flags, code, _ in walk(update.take_apart(message).block)}


def test_the_four_unused_flag_bits_are_sent_as_zero() -> None:
    said = body(common(), attribute(0xC7, 8, b"\0\1\0\2"), reach(nlri("10.0.0.1")), targets(1))

    assert flags_told(said)[8] == 0xC0


def test_a_partial_bit_on_a_well_known_attribute_is_not_passed_on() -> None:
    said = body(attribute(0x60, 1, b"\0"), common(origin=None), reach(nlri("10.0.0.1")), targets(1))

    assert flags_told(said)[1] == 0x40


def test_confederation_segments_are_left_out_of_as4_path() -> None:
    sequence = b"\x02\x01" + WIDE_AS
    path = b"\x03\x01\0\0\xfd\xe9" + sequence

    (message,) = told(replace(CLIENTS, four_octet_as=False), announcement("10.0.0.1", as_path=path))

    assert attributes_in(message)[17] == sequence


def test_as4_path_is_ignored_beside_an_aggregator_with_a_real_as() -> None:
    old = attribute(0xC0, 7, b"\0\1\1\1\1\1")
    wide = attribute(0xC0, 17, b"\2\1" + WIDE_AS) + attribute(0xC0, 18, bytes(8))

    found = read(common(as_path=b"\2\1" + TRANS) + old + wide, OLD)

    assert found.as_path == b"\2\1\0\0" + TRANS
    assert values(found)[7] == b"\0\0\0\1\1\1\1\1"


def test_as4_aggregator_takes_the_place_of_an_aggregator_with_as_trans() -> None:
    old = attribute(0xC0, 7, TRANS + b"\1\1\1\1")
    wide = attribute(0xC0, 17, b"\2\1" + WIDE_AS) + attribute(0xC0, 18, WIDE_AS + b"\1\1\1\1")

    found = read(common(as_path=b"\2\1" + TRANS) + old + wide, OLD)

    assert found.as_path == b"\2\1" + WIDE_AS
    assert values(found)[7] == WIDE_AS + b"\1\1\1\1"


@pytest.mark.parametrize(
    ("number", "narrow", "beside"),
    [(WIDE_AS, TRANS, True), ((65001).to_bytes(4), (65001).to_bytes(2), False)],
)
def test_an_old_neighbour_gets_an_aggregator_of_six_octets(number: bytes, narrow: bytes, beside: bool) -> None:
    said = body(common(as_path=b"\2\1" + number), attribute(0xC0, 7, number + bytes(4)), reach(nlri("10.0.0.1")))

    (message,) = told(replace(CLIENTS, four_octet_as=False), said)

    sent = attributes_in(message)
    assert sent[7] == narrow + bytes(4)
    assert (18 in sent) is beside


@pytest.mark.parametrize(("context", "size"), [(NEW, 6), (OLD, 8)])
def test_an_aggregator_of_the_wrong_size_for_the_session_is_discarded(context: Context, size: int) -> None:
    found = read(common() + attribute(0xC0, 7, bytes(size)), context)

    assert len(found.discarded) == 1
    assert 7 not in values(found)


def test_of_several_faults_the_strongest_decides() -> None:
    with pytest.raises(RemoteFault) as raised:
        read(common(origin=7) + attribute(0x40, 200, b"x"))

    assert raised.value.outcome is Outcome.RESET_SESSION


def test_a_sub_tlv_that_overruns_its_tunnel_withdraws_the_routes() -> None:
    with pytest.raises(RemoteFault) as raised:
        read(common() + attribute(0xC0, 23, b"\0\x08\0\x03\x01\x09a"))

    assert raised.value.outcome is Outcome.TREAT_AS_WITHDRAW


def test_a_route_grown_too_long_for_a_neighbour_is_withdrawn_from_it() -> None:
    store = Store()
    group = UpdateGroup(store, CLIENTS)
    ear, speaker = Ear(group, "ear"), neighbour(store, 1)
    speaker.learn([announcement("10.0.0.1")])
    ear.listen()
    assert len(ear.routes) == 1

    speaker.learn([body(common(), attribute(0xD0, 8, bytes(4060)), reach(nlri("10.0.0.1")), targets(1))])
    ear.listen()

    assert ear.routes == {}


def test_a_malformed_update_is_told_whole_and_not_again_at_once() -> None:
    peer = Neighbour()
    notices: list[Notice] = []
    peer.speaker.notice = notices.append
    peer.come_up()
    bad = body(common(origin=7), reach(nlri("10.0.0.1")), targets(1))

    peer.tell(bad)
    peer.tell(bad)
    peer.tell(bad)
    malformed = [notice for notice in notices if notice.kind is NoticeKind.MALFORMED]
    assert len(malformed) == 1
    assert bad.hex() in malformed[0].text
    peer.now += MALFORMED_PAUSE + 1
    peer.tell(bad)

    assert "3 times" in notices[-1].text


def test_an_update_that_resets_the_session_is_told_whole() -> None:
    peer = Neighbour()
    notices: list[Notice] = []
    peer.speaker.notice = notices.append
    peer.come_up()
    bad = body(common(), reach(nlri("10.0.0.1")[:-1]), targets(1))

    peer.tell(bad)

    malformed = [notice for notice in notices if notice.kind is NoticeKind.MALFORMED]
    assert len(malformed) == 1
    assert bad.hex() in malformed[0].text


def test_before_the_first_end_of_rib_a_refresh_is_answered_without_marks() -> None:
    peer = Neighbour()
    nlri_held = peer.hold("10.0.0.1")

    messages = peer.come_up(at_once=refresh(RouteRefresh(VPNV4, RefreshSubtype.REQUEST)))

    assert [kind for kind, _ in messages[:2]] == [MessageType.OPEN, MessageType.KEEPALIVE]
    answer = messages[2:]
    assert set(subtypes(answer)) == {-1}
    assert len(answer) >= 3
    told = [parts.reach.nlri for parts in (update.take_apart(body) for _, body in answer) if parts.reach is not None]
    assert set(told) == {nlri_held}
    assert sorted(ends_of_rib(answer)) == [VPNV4, EVPN]


def test_a_mark_before_the_end_of_rib_of_a_restarting_neighbour_is_ignored() -> None:
    peer = Neighbour()
    peer.come_up(RESTARTS)
    peer.tell(announcement("10.0.0.1"))
    marks = [refresh(RouteRefresh(VPNV4, subtype)) for subtype in (RefreshSubtype.BEGIN, RefreshSubtype.END)]

    peer.say(*marks)
    assert len(list(peer.speaker.routes(VPNV4))) == 1
    peer.say(end_of_rib(VPNV4))
    peer.say(*marks)

    assert list(peer.speaker.routes(VPNV4)) == []
