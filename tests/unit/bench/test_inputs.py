"""What the bench sends is what it promises: decoded here by hand, and by the codec of the project."""

from __future__ import annotations

import struct

import pytest

from bagpipe.wire.family import VPNV4
from bagpipe.wire.nlri import CODECS
from bench import inputs

HEADER = struct.Struct("!16sHB")


def fields_of(message: bytes) -> dict[int, bytes]:
    """Path attributes of a whole UPDATE, read step by step from RFC 4271 section 4.3."""
    marker, size, kind = HEADER.unpack_from(message)
    assert (marker, size, kind) == (b"\xff" * 16, len(message), 2)
    withdrawn, total = struct.unpack_from("!HH", message, 19)
    assert (withdrawn, total) == (0, len(message) - 23)
    found: dict[int, bytes] = {}
    position = 23
    while position < len(message):
        flags, attribute = message[position], message[position + 1]
        start = position + (4 if flags & 0x10 else 3)
        position = start + int.from_bytes(message[position + 2 : start])
        assert attribute not in found
        found[attribute] = message[start:position]
    assert position == len(message)
    return found


def told(messages: list[bytes]) -> dict[tuple[bytes, bytes], tuple[bytes, int, bytes]]:
    """RD and prefix to next hop, label and communities, as MP_REACH_NLRI of all messages has it."""
    found: dict[tuple[bytes, bytes], tuple[bytes, int, bytes]] = {}
    for message in messages:
        fields = fields_of(message)
        reach = fields[14]
        assert reach[:4] == b"\x00\x01\x80\x0c"
        assert reach[4:12] == b"\x00" * 8
        assert fields[9] == reach[12:16]
        for start in range(17, len(reach), 16):
            nlri = reach[start : start + 16]
            assert nlri[0] == 24 + 64 + 32
            key = (nlri[4:12], nlri[12:])
            assert key not in found
            found[key] = (reach[12:16], int.from_bytes(nlri[1:4]) >> 4, fields[16])
    return found


def promised(n: int) -> dict[tuple[bytes, bytes], tuple[bytes, int, bytes]]:
    return {
        (r.route_distinguisher, r.prefix): (r.edge, r.label, r.route_target + inputs.ENCAPSULATION_MPLS)
        for r in inputs.routes(n)
    }


@pytest.mark.parametrize("n", [1, 49, 50, 51, 1000, 10_000])
def test_packed_messages_say_exactly_the_promised_routes(n: int) -> None:
    messages = inputs.packed(n)
    assert told(messages) == promised(n)
    assert len(promised(n)) == n
    assert len(messages) == -(-n // 50)


def test_churn_says_the_same_routes_one_by_one_in_another_order() -> None:
    messages = inputs.churn(2000)
    assert len(messages) == 2000
    assert told(messages) == told(inputs.packed(2000))
    assert list(told(messages)) != list(told(inputs.packed(2000)))


def test_churn_is_the_same_each_time() -> None:
    assert inputs.churn(500) == inputs.churn(500)
    assert inputs.churn(500) != inputs.churn(500, seed=2)


def test_withdrawals_name_the_same_keys_and_carry_the_label_of_rfc_8277() -> None:
    keys = set()
    for message in inputs.withdraw_packed(1000):
        fields = fields_of(message)
        assert set(fields) == {15}
        assert fields[15][:3] == b"\x00\x01\x80"
        for start in range(3, len(fields[15]), 16):
            nlri = fields[15][start : start + 16]
            assert nlri[1:4] == b"\x80\x00\x00"
            keys.add((nlri[4:12], nlri[12:]))
    assert keys == set(promised(1000))


def test_the_codec_of_the_project_reads_what_the_bench_writes() -> None:
    codec = CODECS[VPNV4]
    expected = inputs.routes(1000)
    read = []
    for message in inputs.packed(1000):
        for shape, keys, payloads in codec.split(fields_of(message)[14][17:]):
            read += [codec.join(shape, key, payload) for key, payload in zip(keys, payloads, strict=True)]
    assert read == [route.nlri for route in expected]
    withdrawn = []
    for message in inputs.withdraw_packed(1000):
        for shape, keys in codec.split_withdrawn(fields_of(message)[15][3:]):
            withdrawn += [codec.join_withdrawn(shape, key) for key in keys]
    assert withdrawn == [route.withdrawn_nlri for route in expected]


@pytest.mark.parametrize(("n", "instances"), [(1, 1), (99, 1), (1000, 10), (100_000, 1000), (500_000, 1000)])
def test_routes_lie_in_the_stated_number_of_vrfs(n: int, instances: int) -> None:
    assert inputs.vrfs(n) == instances


def test_all_vrfs_and_all_edges_are_used() -> None:
    population = inputs.routes(100_000)
    assert len({route.route_target for route in population}) == 1000
    assert len({route.edge for route in population}) == 50
    assert len({route.label for route in population}) == 100_000
    assert max(route.label for route in population) < 1 << 20


def test_sizes_on_the_wire_are_the_stated_ones() -> None:
    assert sum(map(len, inputs.packed(10_000))) / 10_000 == pytest.approx(17.8, abs=0.05)
    assert sum(map(len, inputs.churn(10_000))) / 10_000 == 106


def test_more_routes_than_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="routes asked"):
        inputs.routes(inputs.MAX_ROUTES + 1)


def test_end_of_rib_is_the_marker_of_rfc_4724() -> None:
    assert fields_of(inputs.end_of_rib()) == {15: b"\x00\x01\x80"}
