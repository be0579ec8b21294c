"""Records of which there is one for every route are packed, and say what they were made of."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bagpipe.dataplane.model import ARRIVING, Encapsulation, ForwardKey, Prefix, Remote

prefixes = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(
        lambda length: Prefix.of(ip_network((address, length), strict=False))
    )
)
macs = st.one_of(st.just(b""), st.binary(min_size=6, max_size=6))
addresses = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))


@given(st.integers(0, ARRIVING - 1), prefixes)
def test_the_key_of_a_route_gives_its_instance_and_prefix_back(instance: int, prefix: Prefix) -> None:
    key = ForwardKey(instance, prefix)

    assert (key.instance, key.prefix) == (instance, prefix)
    assert key == ForwardKey.scope(instance, prefix.version, prefix.length) + prefix.octets
    assert str(key) == f"route of VRF {instance} to {prefix}"
    assert str(key) in repr(key)


def test_the_key_of_what_comes_from_other_nodes_says_so() -> None:
    key = ForwardKey(7 | ARRIVING, Prefix.of(ip_network("10.0.0.0/8")))

    assert key.instance & ~ARRIVING == 7
    assert str(key) == "route of what comes to VRF 7 from other nodes, to 10.0.0.0/8"


@given(st.tuples(st.integers(0, 3), prefixes), st.tuples(st.integers(0, 3), prefixes))
def test_keys_are_equal_where_instance_and_prefix_are(one: tuple[int, Prefix], other: tuple[int, Prefix]) -> None:
    assert (ForwardKey(*one) == ForwardKey(*other)) == (one == other)


@given(addresses, st.integers(0, 2**24 - 1), st.sampled_from(Encapsulation), st.integers(0, 2**32 - 1), macs)
def test_a_remote_next_hop_gives_back_what_it_was_made_of(
    address: bytes, label: int, encapsulation: Encapsulation, order: int, mac: bytes
) -> None:
    hop = Remote(address, label, encapsulation, order, mac)

    assert (hop.address, hop.label, hop.encapsulation, hop.order) == (address, label, encapsulation, order)
    assert hop.mac == mac
    assert hop == label.to_bytes(3) + hop.way
    assert hop.way == Remote(address, 0, encapsulation, order, mac).way
    assert str(hop) in repr(hop) and (not mac or mac.hex(":") in str(hop))


def test_a_next_hop_with_another_router_is_another() -> None:
    one, other = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
    hops = {Remote(bytes(4), 7, Encapsulation.VXLAN, 0, mac) for mac in (b"", one, other)}
    assert len(hops) == 3


@pytest.mark.parametrize(("label", "order"), [(1 << 24, 0), (-1, 0), (16, 1 << 32), (16, -1)])
def test_a_number_out_of_range_is_not_packed(label: int, order: int) -> None:
    with pytest.raises(OverflowError):
        Remote(bytes(4), label, Encapsulation.MPLS, order)
