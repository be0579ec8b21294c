"""Properties of the NLRI codecs: what is encoded reads back, what is split joins again, garbage is a remote fault."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bagpipe.errors import Outcome, RemoteFault
from bagpipe.identifiers import EthernetSegmentIdentifier, MacAddress, RouteDistinguisher
from bagpipe.wire.family import CARRIED, EVPN, FLOWSPEC_VPNV4, FLOWSPEC_VPNV6, RTC, VPNV4, VPNV6, Family
from bagpipe.wire.nlri import CODECS
from bagpipe.wire.nlri.codec import Nlri
from bagpipe.wire.nlri.evpn_route import (
    EthernetAutoDiscovery,
    EthernetSegment,
    InclusiveMulticast,
    IpPrefix,
    MacIpAdvertisement,
    OpaqueEvpnRoute,
)
from bagpipe.wire.nlri.flowspec import FlowSpecNlri
from bagpipe.wire.nlri.flowspec_component import Component, PrefixComponent, Term, TermsComponent
from bagpipe.wire.nlri.rtc import RtcNlri
from bagpipe.wire.nlri.vpn import VpnNlri

EXAMPLES = settings(max_examples=150, deadline=None)

distinguishers = st.binary(min_size=8, max_size=8).map(RouteDistinguisher)
segments = st.binary(min_size=10, max_size=10).map(EthernetSegmentIdentifier)
macs = st.binary(min_size=6, max_size=6).map(MacAddress)
tags = st.integers(0, 0xFFFFFFFF)
fields = st.integers(0, 0xFFFFFF)
ipv4 = st.integers(0, (1 << 32) - 1).map(IPv4Address)
ipv6 = st.integers(0, (1 << 128) - 1).map(IPv6Address)
addresses = ipv4 | ipv6
networks4 = st.builds(lambda a, n: IPv4Network((a, n), strict=False), ipv4, st.integers(0, 32))
networks6 = st.builds(lambda a, n: IPv6Network((a, n), strict=False), ipv6, st.integers(0, 128))


@st.composite
def memberships(draw: st.DrawFn) -> RtcNlri:
    length = draw(st.just(0) | st.integers(32, 96))
    octets = (length + 7) // 8
    number = draw(st.integers(0, (1 << length) - 1)) << (8 * octets - length)
    return RtcNlri(length, number.to_bytes(octets))


@st.composite
def prefix_components(draw: st.DrawFn, kind: int, *, is_ipv6: bool) -> PrefixComponent:
    length = draw(st.integers(0, 128 if is_ipv6 else 32))
    offset = draw(st.integers(0, length - 1)) if is_ipv6 and length else 0
    octets = (length - offset + 7) // 8
    return PrefixComponent(kind, length, offset, draw(st.binary(min_size=octets, max_size=octets)), is_ipv6)


@st.composite
def terms_components(draw: st.DrawFn, kind: int) -> TermsComponent:
    operators = draw(st.lists(st.integers(0, 0x7F), min_size=1, max_size=4))
    operators[-1] |= 0x80
    return TermsComponent(
        kind, tuple(Term(op, draw(st.integers(0, (1 << (8 << (op >> 4 & 3))) - 1))) for op in operators)
    )


@st.composite
def flows(draw: st.DrawFn, *, is_ipv6: bool) -> FlowSpecNlri:
    kinds = sorted(draw(st.sets(st.integers(1, 13 if is_ipv6 else 12), max_size=5)))
    components: list[Component] = []
    for kind in kinds:
        components.append(draw(prefix_components(kind, is_ipv6=is_ipv6)) if kind <= 2 else draw(terms_components(kind)))
    return FlowSpecNlri(draw(distinguishers), tuple(components))


evpn_routes = st.one_of(
    st.builds(EthernetAutoDiscovery, distinguishers, segments, tags, fields),
    st.builds(
        MacIpAdvertisement,
        distinguishers,
        segments,
        tags,
        macs,
        st.none() | addresses,
        st.tuples(fields) | st.tuples(fields, fields),
    ),
    st.builds(InclusiveMulticast, distinguishers, tags, addresses),
    st.builds(EthernetSegment, distinguishers, segments, addresses),
    st.builds(IpPrefix, distinguishers, segments, tags, networks4, ipv4, fields),
    st.builds(IpPrefix, distinguishers, segments, tags, networks6, ipv6, fields),
    st.builds(OpaqueEvpnRoute, st.integers(6, 8), st.binary(min_size=31, max_size=255)),
    st.builds(OpaqueEvpnRoute, st.just(0) | st.integers(9, 255), st.binary(max_size=255)),
)
VALUES: dict[Family, st.SearchStrategy[Nlri]] = {
    VPNV4: st.builds(VpnNlri, distinguishers, networks4, fields),
    VPNV6: st.builds(VpnNlri, distinguishers, networks6, fields),
    EVPN: evpn_routes,
    RTC: memberships(),
    FLOWSPEC_VPNV4: flows(is_ipv6=False),
    FLOWSPEC_VPNV6: flows(is_ipv6=True),
}


@pytest.mark.parametrize("family", CARRIED, ids=str)
def test_a_value_that_is_encoded_decodes_to_itself_over_the_wire(family: Family) -> None:
    codec = CODECS[family]

    @EXAMPLES
    @given(st.lists(VALUES[family], min_size=1, max_size=6))
    def check(values: list[Nlri]) -> None:
        data = b"".join(codec.join(*codec.encode(value)) for value in values)
        found = [
            codec.decode(shape, key, payload)
            for shape, keys, payloads in codec.split(data)
            for key, payload in zip(keys, payloads, strict=True)
        ]
        assert found == values
        assert all(str(value) for value in found)

    check()


@pytest.mark.parametrize("family", CARRIED, ids=str)
def test_a_route_is_withdrawn_by_its_key_alone(family: Family) -> None:
    codec = CODECS[family]

    @EXAMPLES
    @given(st.lists(VALUES[family], min_size=1, max_size=6))
    def check(values: list[Nlri]) -> None:
        identities = [codec.encode(value)[:2] for value in values]
        for data in (
            b"".join(codec.join_withdrawn(shape, key) for shape, key in identities),
            b"".join(codec.join(*codec.encode(value)) for value in values),
        ):
            withdrawn = [(shape, bytes(key)) for shape, keys in codec.split_withdrawn(data) for key in keys]
            assert withdrawn == identities

    check()


@pytest.mark.parametrize("family", CARRIED, ids=str)
def test_joining_many_is_joining_each_and_path_identifiers_change_nothing(family: Family) -> None:
    codec = CODECS[family]

    @EXAMPLES
    @given(st.lists(VALUES[family], min_size=1, max_size=4))
    def check(values: list[Nlri]) -> None:
        parts = [codec.encode(value) for value in values]
        for shape, key, payload in parts:
            assert list(codec.join_many(shape, [key, key], [payload, payload])) == [codec.join(shape, key, payload)] * 2
        data = b"".join(number.to_bytes(4) + codec.join(*part) for number, part in enumerate(parts))
        assert [tuple(route) for route in codec.split_add_path(data)] == [
            (number, *part) for number, part in enumerate(parts)
        ]

    check()


@pytest.mark.parametrize("family", CARRIED, ids=str)
def test_garbage_raises_nothing_but_a_reset_and_what_survives_joins_and_splits_the_same(family: Family) -> None:
    codec = CODECS[family]

    @settings(max_examples=400, deadline=None)
    @given(st.binary(max_size=80) | st.lists(VALUES[family], max_size=3).flatmap(partial(damaged, family)))
    def check(data: bytes) -> None:
        try:
            runs = codec.split(data)
        except RemoteFault as fault:
            assert fault.outcome is Outcome.RESET_SESSION
            return
        joined = b"".join(bytes(each) for shape, keys, items in runs for each in codec.join_many(shape, keys, items))
        again = codec.split(joined)
        flat = [(s, bytes(k), p) for s, keys, items in runs for k, p in zip(keys, items, strict=True)]
        assert [(s, bytes(k), p) for s, keys, items in again for k, p in zip(keys, items, strict=True)] == flat
        for shape, key, payload in flat:
            assert codec.encode(codec.decode(shape, key, payload)) == (shape, key, payload)

    check()


@pytest.mark.parametrize("family", CARRIED, ids=str)
def test_garbage_in_withdrawals_and_with_path_identifiers_raises_nothing_but_a_reset(family: Family) -> None:
    codec = CODECS[family]

    @EXAMPLES
    @given(st.binary(max_size=80))
    def check(data: bytes) -> None:
        for split in (codec.split_withdrawn, codec.split_add_path):
            try:
                found = list(split(data))
            except RemoteFault as fault:
                assert fault.outcome is Outcome.RESET_SESSION
                continue
            assert len(found) <= len(data)

    check()


def damaged(family: Family, values: list[Nlri]) -> st.SearchStrategy[bytes]:
    """Routes as they are encoded, with one octet of them changed."""
    codec = CODECS[family]
    data = b"".join(codec.join(*codec.encode(value)) for value in values)
    if not data:
        return st.just(b"")
    return st.builds(
        lambda at, octet: data[:at] + bytes((octet,)) + data[at + 1 :],
        st.integers(0, len(data) - 1),
        st.integers(0, 255),
    )
