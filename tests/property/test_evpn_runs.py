"""Many routes of EVPN in one field are read as they are one by one: runs are there to be quick, not to be different."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bagpipe.errors import RemoteFault
from bagpipe.wire.nlri.evpn import EVPN_CODEC

# Few values, and those of lengths and types among them, so that one route looks like the beginning of another.
FEW = st.sampled_from([0, 2, 33, 37, 48])


def _octets(number: int) -> st.SearchStrategy[bytes]:
    return st.one_of(st.just(bytes(number)), st.lists(FEW, min_size=number, max_size=number).map(bytes))


@st.composite
def _mac_route(draw: st.DrawFn, heads: list[bytes], tails: list[bytes]) -> bytes:
    """A route of type 2, nearly always a right one."""
    bits = draw(st.sampled_from([0, 32, 32, 32, 128]))
    stated = draw(st.sampled_from([bits] * 9 + [48]))
    mac_bits = draw(st.sampled_from([48] * 9 + [40]))
    value = draw(st.sampled_from(heads)) + draw(_octets(4)) + bytes((mac_bits,)) + draw(_octets(6))
    value += bytes((stated,)) + draw(_octets(bits // 8)) + draw(st.sampled_from(tails))
    return bytes((2, len(value))) + value


@st.composite
def _fields(draw: st.DrawFn) -> list[bytes]:
    heads = draw(st.lists(_octets(18), min_size=1, max_size=2))
    tails = draw(st.lists(st.one_of(_octets(3), _octets(6)), min_size=1, max_size=2))
    other = st.just(bytes.fromhex("03 11 0001c0000201000a 00000000 20 c0000201"))
    route = _mac_route(heads, tails)
    alike = st.lists(route, min_size=1, max_size=8)
    return draw(st.one_of(alike, st.lists(st.one_of(route, other), min_size=1, max_size=5)))


@given(_fields())
def test_many_routes_in_a_field_are_the_same_routes_one_by_one(field: list[bytes]) -> None:
    # given routes that stand alone
    try:
        alone = [run for each in field for run in EVPN_CODEC.split(each)]
    except RemoteFault:
        alone = None
    # when they stand together
    try:
        together = EVPN_CODEC.split(b"".join(field))
    except RemoteFault:
        together = None
    # then they are read as the same, or are the same fault
    if alone is None or together is None:
        assert alone is together is None
        return
    keys, payloads = ([part for run in alone for part in run[at]] for at in (1, 2))
    assert together == ([(0, keys, payloads)] if keys else [])
    # and those that are withdrawn as well
    ((_, withdrawn),) = EVPN_CODEC.split_withdrawn(b"".join(field)) or [(0, [])]
    assert withdrawn == keys


@given(st.lists(st.tuples(_octets(11), _octets(4)), min_size=1, max_size=60), _octets(18), _octets(3))
def test_routes_of_one_instance_are_told_apart_whatever_their_octets(
    varied: list[tuple[bytes, bytes]], head: bytes, tail: bytes
) -> None:
    # given routes with the same RD, ESI and label, of which tag, MAC and address are any octets
    field = [
        b"\x02\x25" + head + tag_and_mac[:4] + b"\x30" + tag_and_mac[4:10] + b"\x20" + address + tail
        for tag_and_mac, address in varied
    ]
    # when they are read
    ((_, keys, payloads),) = EVPN_CODEC.split(b"".join(field))
    # then each has its own key, and put together they are what was read
    assert keys == [b"\x02" + head[:8] + one[20:36] for one in field]
    assert EVPN_CODEC.join_many(0, keys, payloads) == field
