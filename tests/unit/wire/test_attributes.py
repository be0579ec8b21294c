"""Path attributes are judged as RFC 7606 section 7 says."""

from __future__ import annotations

import pytest

from bagpipe.errors import Outcome, RemoteFault
from bagpipe.wire.attributes import Attributes, Context, parse, walk
from bagpipe.wire.family import EVPN, VPNV4
from tests.unit.rib.routes import attribute, common, route_target, targets

IBGP = Context(four_octet_as=True, is_ibgp=True)
EBGP = Context(four_octet_as=True, is_ibgp=False)
OLD = Context(four_octet_as=False, is_ibgp=False)
NEXT_HOP = bytes(8) + bytes((192, 0, 2, 1))


def read(block: bytes, context: Context = IBGP, next_hop: bytes = NEXT_HOP) -> Attributes:
    return parse(VPNV4, next_hop, block, context)


def outcome_of(block: bytes, context: Context = IBGP) -> tuple[Outcome, int]:
    with pytest.raises(RemoteFault) as raised:
        read(block, context)
    return raised.value.outcome, raised.value.subcode


def test_what_the_decision_needs_is_read() -> None:
    block = common(local_pref=250, originator="198.51.100.7", clusters=("10.0.0.1", "10.0.0.2")) + targets(3, 4)

    found = read(block)

    assert (found.origin, found.local_pref, found.med) == (0, 250, 0)
    assert found.originator_id == bytes((198, 51, 100, 7))
    assert len(found.cluster_list) == 8
    assert found.route_targets == (route_target(3), route_target(4))
    assert found.next_hop_address == bytes((192, 0, 2, 1))
    assert found.block == block


@pytest.mark.parametrize(
    ("name", "bad", "subcode"),
    [
        ("ORIGIN of two octets", attribute(0x40, 1, b"\0\0") + common(origin=None), 5),
        ("ORIGIN 3", attribute(0x40, 1, b"\3") + common(origin=None), 5),
        ("ORIGIN with optional flag", attribute(0xC0, 1, b"\0") + common(origin=None), 4),
        ("AS_PATH cut short", attribute(0x40, 2, b"\2\2\0\0\0\1") + common(as_path=None), 11),
        ("AS_PATH with a wrong segment type", attribute(0x40, 2, b"\x09\1\0\0\0\1") + common(as_path=None), 11),
        ("MED of 3 octets", common() + attribute(0x80, 4, b"\0\0\0"), 5),
        ("LOCAL_PREF of 3 octets", common(local_pref=None) + attribute(0x40, 5, b"\0\0\0"), 5),
        ("COMMUNITIES of 5 octets", common() + attribute(0xC0, 8, bytes(5)), 5),
        ("COMMUNITIES of 0 octets", common() + attribute(0xC0, 8, b""), 5),
        ("ORIGINATOR_ID of 5 octets", common() + attribute(0x80, 9, bytes(5)), 5),
        ("CLUSTER_LIST of 6 octets", common() + attribute(0x80, 10, bytes(6)), 5),
        ("EXTENDED_COMMUNITIES of 7 octets", common() + attribute(0xC0, 16, bytes(7)), 5),
        ("PMSI_TUNNEL of 4 octets", common() + attribute(0xC0, 22, bytes(4)), 5),
        ("LARGE_COMMUNITIES of 11 octets", common() + attribute(0xC0, 32, bytes(11)), 5),
        ("IPv6 extended communities of 19 octets", common() + attribute(0xC0, 25, bytes(19)), 5),
        ("tunnel encapsulation that overruns", common() + attribute(0xC0, 23, b"\0\x08\0\x09\0"), 5),
        ("no ORIGIN", common(origin=None), 3),
        ("no AS_PATH", common(as_path=None), 3),
        ("no LOCAL_PREF from an internal peer", common(local_pref=None), 3),
        ("an attribute that overruns", common() + b"\xc0\x10\xff\0", 1),
    ],
)
def test_a_malformed_attribute_withdraws_the_routes(name: str, bad: bytes, subcode: int) -> None:
    assert outcome_of(bad) == (Outcome.TREAT_AS_WITHDRAW, subcode), name


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("ATOMIC_AGGREGATE with a value", attribute(0x40, 6, b"\0")),
        ("AGGREGATOR of 5 octets", attribute(0xC0, 7, bytes(5))),
        ("AS4_AGGREGATOR of 7 octets", attribute(0xC0, 18, bytes(7))),
        ("AS4_PATH from a four-octet AS speaker", attribute(0xC0, 17, b"\2\1\0\0\0\1")),
        ("a second EXTENDED_COMMUNITIES", targets(1) + targets(2)),
    ],
)
def test_a_lesser_fault_costs_only_the_attribute(name: str, extra: bytes) -> None:
    found = read(common() + extra)

    assert len(found.discarded) == 1, name
    assert found.route_targets in ((), (route_target(1),))


@pytest.mark.parametrize("code", [5, 9, 10])
def test_internal_attributes_from_an_external_peer_are_discarded(code: int) -> None:
    found = read(
        common(local_pref=None, as_path=b"\2\1\0\0\0\1") + attribute(0x40 if code == 5 else 0x80, code, b"\0\0\0\1"),
        EBGP,
    )

    assert len(found.discarded) == 1
    assert (found.local_pref, found.originator_id, found.cluster_list) == (100, None, b"")
    assert code not in [c for _, c, _ in walk(found.block)]


def test_an_unknown_well_known_attribute_resets_the_session() -> None:
    assert outcome_of(common() + attribute(0x40, 200, b"x")) == (Outcome.RESET_SESSION, 2)


def test_an_unknown_transitive_attribute_is_kept_and_marked_partial() -> None:
    found = read(common() + attribute(0xC0, 200, b"x"))

    assert attribute(0xE0, 200, b"x") in found.block


def test_an_unknown_optional_non_transitive_attribute_is_not_passed_on() -> None:
    assert read(common() + attribute(0x80, 200, b"x")).block == common()


def test_a_next_hop_of_impossible_length_resets_the_session() -> None:
    with pytest.raises(RemoteFault) as raised:
        read(common(), next_hop=bytes(5))
    assert raised.value.outcome is Outcome.RESET_SESSION


@pytest.mark.parametrize(
    ("family", "field", "address"),
    [
        (VPNV4, bytes(8) + bytes(range(4)), bytes(range(4))),
        (VPNV4, bytes(8) + bytes(range(16)), bytes(range(16))),
        (VPNV4, bytes(8) + bytes(range(16)) + bytes(24), bytes(range(16))),
        (EVPN, bytes(range(4)), bytes(range(4))),
        (EVPN, bytes(range(16)), bytes(range(16))),
    ],
)
def test_the_next_hop_address_is_found_in_its_field(family: object, field: bytes, address: bytes) -> None:
    assert parse(family, field, common(), IBGP).next_hop_address == address  # type: ignore[arg-type]


def test_two_octet_paths_of_old_speakers_are_widened_and_merged() -> None:
    path = attribute(0x40, 2, b"\2\2\x5b\xa0\xfd\xe9")
    wide = attribute(0xC0, 17, b"\2\1" + (4_200_000_001).to_bytes(4))

    found = read(common(local_pref=None, as_path=None) + path + wide, OLD)

    assert found.as_path[:2] == b"\2\2" or found.as_path_length == 2
    assert (4_200_000_001).to_bytes(4) in found.as_path
    assert found.first_as == 23456


def test_the_path_keeps_its_place_among_the_attributes() -> None:
    block = common(as_path=b"\2\1\0\0\0\1") + targets(1)

    assert read(block).block == block
