"""Properties of communities, paths, tunnels and identifiers: they read back, and garbage is a remote fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault
from bagpipe.identifiers import EthernetSegmentIdentifier, MacAddress, RouteDistinguisher, RouteTarget
from bagpipe.wire import as_path, pmsi, tunnel_encapsulation
from bagpipe.wire.as_path import Segment, SegmentKind
from bagpipe.wire.community import (
    Community,
    LargeCommunity,
    decode_communities,
    decode_large_communities,
)
from bagpipe.wire.extended_community import (
    decode_extended_communities,
    encode_extended_communities,
    route_targets_of,
)
from bagpipe.wire.ipv6_extended_community import decode_ipv6_extended_communities
from bagpipe.wire.pmsi import PmsiTunnel
from bagpipe.wire.tunnel_encapsulation import SubTlv, Tunnel

EXAMPLES = settings(max_examples=200, deadline=None)
u32 = st.integers(0, 0xFFFFFFFF)

numbers = st.integers(1, 0xFFFFFFFF)
segments = st.builds(Segment, st.sampled_from(SegmentKind), st.lists(numbers, min_size=1, max_size=5).map(tuple))
paths = st.lists(segments, max_size=4)
sub_tlvs = st.builds(SubTlv, st.integers(0, 127), st.binary(max_size=20)) | st.builds(
    SubTlv, st.integers(128, 255), st.binary(max_size=300)
)
tunnels = st.builds(Tunnel, st.integers(0, 0xFFFF), st.lists(sub_tlvs, max_size=4).map(tuple))
# Types and sub-types that have a class of their own, as often as any others.
extended = st.builds(
    lambda kind, rest: kind + rest,
    st.sampled_from([bytes((kind, sub)) for kind in (0, 1, 2, 3, 6, 0x80, 0x81, 0x82) for sub in range(0x15)])
    | st.binary(min_size=2, max_size=2),
    st.binary(min_size=6, max_size=6),
)


@EXAMPLES
@given(st.binary(min_size=8, max_size=8))
def test_the_text_of_any_route_target_and_distinguisher_reads_back(packed: bytes) -> None:
    assert RouteTarget.from_text(str(RouteTarget(packed))).packed == packed
    assert RouteDistinguisher.from_text(str(RouteDistinguisher(packed))).packed == packed


@EXAMPLES
@given(st.sampled_from([0, 1, 2]), st.binary(min_size=6, max_size=6))
def test_the_text_of_the_three_known_kinds_reads_back(kind: int, six: bytes) -> None:
    target = RouteTarget(bytes((kind, 2)) + six)
    assert not str(target).startswith("0x")
    assert RouteTarget.from_text(f"target:{target}") == target
    assert RouteDistinguisher.from_text(str(target)).packed == bytes((0, kind)) + six


@EXAMPLES
@given(st.binary(min_size=6, max_size=6), st.binary(min_size=10, max_size=10))
def test_the_text_of_any_mac_and_esi_reads_back(mac: bytes, esi: bytes) -> None:
    assert MacAddress.from_text(str(MacAddress(mac))).packed == mac
    assert EthernetSegmentIdentifier.from_text(str(EthernetSegmentIdentifier(esi))).packed == esi


@EXAMPLES
@given(st.text(max_size=24) | st.from_regex(r"[0-9a-fx.:]{1,20}", fullmatch=True))
def test_any_text_is_an_identifier_or_local_misuse(text: str) -> None:
    readers: list[Callable[[str], object]] = [
        RouteTarget.from_text,
        RouteDistinguisher.from_text,
        MacAddress.from_text,
        EthernetSegmentIdentifier.from_text,
        Community.from_text,
        LargeCommunity.from_text,
    ]
    for reader in readers:
        try:
            found = reader(text)
        except LocalMisuse as refusal:
            assert refusal.value == text
        else:
            assert reader(str(found)) == found


@EXAMPLES
@given(st.lists(extended, min_size=1, max_size=6))
def test_extended_communities_read_back_octet_for_octet_and_have_a_text(pieces: list[bytes]) -> None:
    value = b"".join(pieces)
    found = decode_extended_communities(value)
    assert encode_extended_communities(found) == value
    assert all(str(community) for community in found)
    known = [piece for piece in pieces if piece[0] <= 2 and piece[1] == 2]
    assert list(route_targets_of(value)) == known


@EXAMPLES
@given(st.lists(u32.map(Community), min_size=1), st.lists(st.builds(LargeCommunity, u32, u32, u32), min_size=1))
def test_standard_and_large_communities_read_back(standard: list[Community], large: list[LargeCommunity]) -> None:
    assert list(decode_communities(b"".join(each.packed for each in standard))) == standard
    assert list(decode_large_communities(b"".join(each.packed for each in large))) == large


@EXAMPLES
@given(paths, numbers)
def test_paths_read_back_and_their_quick_answers_are_those_of_the_segments(path: list[Segment], number: int) -> None:
    packed = as_path.encode(path)
    assert list(as_path.decode(packed)) == path
    assert as_path.length(packed) == sum(segment.length for segment in path)
    everyone = {each for segment in path for each in segment.numbers}
    assert as_path.contains(packed, number) is (number in everyone)
    assert all(as_path.contains(packed, each) for each in everyone)
    assert as_path.needs_four_octets(packed) is any(each > 0xFFFF for each in everyone)
    longer = as_path.prepend(packed, number)
    assert as_path.length(longer) == as_path.length(packed) + 1
    assert as_path.first_as(longer) == number


@EXAMPLES
@given(paths)
def test_a_path_through_an_old_peer_keeps_its_length_and_its_numbers(path: list[Segment]) -> None:
    real = as_path.encode(path)
    heard = as_path.widen(as_path.narrow(real))
    merged = as_path.merge(heard, as_path.without_confederations(real))
    assert as_path.length(merged) == as_path.length(real)
    plain = [each for s in path if not s.kind.is_confederation for each in s.numbers]
    if plain:
        found = as_path.decode(merged)
        assert [each for s in found if not s.kind.is_confederation for each in s.numbers] == plain


@EXAMPLES
@given(st.lists(tunnels, max_size=3), st.binary(max_size=20), st.integers(0, 0xFFFFFF))
def test_tunnels_read_back(values: list[Tunnel], identifier: bytes, field: int) -> None:
    found = tunnel_encapsulation.decode(tunnel_encapsulation.encode(values))
    assert list(found) == values
    assert all(str(tunnel) for tunnel in found)
    tunnel = PmsiTunnel(0, 3, field, identifier)
    assert pmsi.decode(tunnel.packed) == tunnel
    assert str(tunnel)


@pytest.mark.parametrize(
    "decode",
    [
        decode_communities,
        decode_large_communities,
        decode_extended_communities,
        decode_ipv6_extended_communities,
        as_path.decode,
        as_path.widen,
        tunnel_encapsulation.decode,
        pmsi.decode,
    ],
)
def test_garbage_is_read_or_treated_as_withdraw(decode: Callable[[bytes], object]) -> None:
    @EXAMPLES
    @given(st.binary(max_size=60))
    def check(data: bytes) -> None:
        try:
            found = decode(data)
        except RemoteFault as fault:
            assert fault.outcome is Outcome.TREAT_AS_WITHDRAW
        else:
            assert found is not None

    check()
