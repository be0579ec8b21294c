"""What the bench sends of EVPN is what it promises: decoded here by hand, and by the codec of the project."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from bagpipe.wire.family import EVPN
from bagpipe.wire.nlri import CODECS
from bagpipe.wire.nlri.evpn_route import MacIpAdvertisement
from bench import evpn_inputs
from tests.unit.bench.test_inputs import fields_of

Told = tuple[bytes, bytes, bytes, int, bytes]


def told(messages: list[bytes], address_octets: int = 4) -> dict[bytes, Told]:
    """MAC to RD, next hop, address, VNI and communities, as MP_REACH_NLRI of all messages has it (RFC 7432 7.2)."""
    found: dict[bytes, Told] = {}
    size = 33 + address_octets
    for message in messages:
        fields = fields_of(message)
        reach = fields[14]
        assert reach[:4] == b"\x00\x19\x46\x04"
        assert fields[9] == reach[4:8]
        for start in range(9, len(reach), size + 2):
            nlri = reach[start : start + size + 2]
            assert nlri[:2] == bytes((2, size))
            assert nlri[10:24] == bytes(14)
            assert (nlri[24], nlri[31]) == (48, 8 * address_octets)
            mac = nlri[25:31]
            assert mac not in found
            found[mac] = (nlri[2:10], reach[4:8], nlri[32:-3], int.from_bytes(nlri[-3:]), fields[16])
    return found


def promised(n: int, *, addresses: bool = True) -> dict[bytes, Told]:
    return {
        r.mac: (r.route_distinguisher, r.edge, r.address, r.vni, r.route_target + evpn_inputs.ENCAPSULATION_VXLAN)
        for r in evpn_inputs.routes(n, addresses=addresses)
    }


@pytest.mark.parametrize("n", [1, 49, 50, 51, 1000, 10_000])
def test_packed_messages_say_exactly_the_promised_macs(n: int) -> None:
    messages = evpn_inputs.packed(n)
    assert told(messages) == promised(n)
    assert len(promised(n)) == n
    assert len(messages) == -(-n // 50)


def test_macs_without_an_address_say_no_address() -> None:
    found = told(evpn_inputs.packed(200, addresses=False), 0)
    assert found == promised(200, addresses=False)
    assert {address for _, _, address, _, _ in found.values()} == {b""}


def test_churn_says_the_same_macs_one_by_one_in_another_order() -> None:
    messages = evpn_inputs.churn(2000)
    assert len(messages) == 2000
    assert told(messages) == told(evpn_inputs.packed(2000))
    assert list(told(messages)) != list(told(evpn_inputs.packed(2000)))
    assert messages == evpn_inputs.churn(2000)


def test_withdrawals_name_the_same_keys() -> None:
    codec = CODECS[EVPN]
    announced = [
        key for m in evpn_inputs.packed(1000) for _, keys, _ in codec.split(fields_of(m)[14][9:]) for key in keys
    ]
    withdrawn = []
    for message in evpn_inputs.withdraw_packed(1000):
        fields = fields_of(message)
        assert set(fields) == {15}
        assert fields[15][:3] == b"\x00\x19\x46"
        withdrawn += [key for _, keys in codec.split_withdrawn(fields[15][3:]) for key in keys]
    assert withdrawn == announced


def test_the_codec_of_the_project_reads_what_the_bench_writes() -> None:
    codec = CODECS[EVPN]
    read = []
    for message in evpn_inputs.packed(1000):
        for shape, keys, payloads in codec.split(fields_of(message)[14][9:]):
            read += [codec.decode(shape, key, payload) for key, payload in zip(keys, payloads, strict=True)]
    for route, promise in zip(read, evpn_inputs.routes(1000), strict=True):
        assert isinstance(route, MacIpAdvertisement)
        assert (route.mac.packed, route.ip) == (promise.mac, IPv4Address(promise.address))
        assert route.label_fields == (promise.vni,)
        assert route.route_distinguisher.packed == promise.route_distinguisher


def test_all_instances_and_all_edges_are_used() -> None:
    population = evpn_inputs.routes(100_000)
    assert len({route.route_target for route in population}) == 1000
    assert len({route.vni for route in population}) == 1000
    assert len({route.edge for route in population}) == 50
    assert max(route.vni for route in population) < 1 << 24
    assert all(IPv4Address(route.edge) in evpn_inputs.EDGES for route in population)


def test_sizes_on_the_wire_are_the_stated_ones() -> None:
    assert sum(map(len, evpn_inputs.packed(10_000))) / 10_000 == pytest.approx(40.7, abs=0.05)
    assert sum(map(len, evpn_inputs.churn(10_000))) / 10_000 == 121


def test_end_of_rib_is_the_marker_of_rfc_4724() -> None:
    assert fields_of(evpn_inputs.END_OF_RIB) == {15: b"\x00\x19\x46"}


def test_more_routes_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="routes asked"):
        evpn_inputs.routes(evpn_inputs.MAX_ROUTES + 1)
