"""Records of which there is one for every route are packed, and say what they were made of."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagpipe.dataplane.model import Encapsulation, ForwardKey, Prefix, Remote

prefixes = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(
        lambda length: Prefix.of(ip_network((address, length), strict=False))
    )
)
addresses = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))


@given(st.integers(0, 2**32 - 1), prefixes)
def test_the_key_of_a_route_gives_its_instance_and_prefix_back(instance: int, prefix: Prefix) -> None:
    key = ForwardKey(instance, prefix)

    assert (key.instance, key.prefix) == (instance, prefix)
    assert key == ForwardKey.scope(instance, prefix.version, prefix.length) + prefix.octets
    assert str(key) == f"route of VRF {instance} to {prefix}"
    assert str(key) in repr(key)


@given(st.tuples(st.integers(0, 3), prefixes), st.tuples(st.integers(0, 3), prefixes))
def test_keys_are_equal_where_instance_and_prefix_are(one: tuple[int, Prefix], other: tuple[int, Prefix]) -> None:
    assert (ForwardKey(*one) == ForwardKey(*other)) == (one == other)


@given(addresses, st.integers(0, 2**20 - 1), st.sampled_from(Encapsulation), st.integers(0, 2**32 - 1))
def test_a_remote_next_hop_gives_back_what_it_was_made_of(
    address: bytes, label: int, encapsulation: Encapsulation, order: int
) -> None:
    hop = Remote(address, label, encapsulation, order)

    assert (hop.address, hop.label, hop.encapsulation, hop.order) == (address, label, encapsulation, order)
    assert hop == label.to_bytes(3) + hop.way
    assert hop.way == Remote(address, 0, encapsulation, order).way
    assert str(hop) in repr(hop)


@pytest.mark.parametrize(("label", "order"), [(1 << 24, 0), (-1, 0), (16, 1 << 32), (16, -1)])
def test_a_number_out_of_range_is_not_packed(label: int, order: int) -> None:
    with pytest.raises(OverflowError):
        Remote(bytes(4), label, Encapsulation.MPLS, order)
