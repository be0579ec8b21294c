"""The PMSI Tunnel attribute (RFC 6514 section 5)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from bagpipe.errors import LocalMisuse, Outcome, RemoteFault
from bagpipe.wire import pmsi
from bagpipe.wire.pmsi import PmsiTunnel, PmsiTunnelType


def test_ingress_replication_names_a_vni_and_where_copies_go() -> None:
    packed = bytes.fromhex("00 06 0003e9 7f000001")
    found = pmsi.decode(packed)
    assert found == PmsiTunnel.ingress_replication(ip_address("127.0.0.1"), 1001)
    assert (found.label_field, found.endpoint) == (1001, ip_address("127.0.0.1"))
    assert found.packed == packed
    assert str(found) == "ingress-replication 127.0.0.1 label field 1001"


def test_an_ipv6_endpoint_is_read() -> None:
    endpoint = ip_address("2001:db8::1")
    assert pmsi.decode(PmsiTunnel.ingress_replication(endpoint, 16).packed).endpoint == endpoint


@pytest.mark.parametrize(("kind", "name"), [(0, "none"), (1, "rsvp-te-p2mp"), (5, "bidir-pim"), (11, "type-11")])
def test_other_tunnel_types_keep_their_identifier_as_octets(kind: int, name: str) -> None:
    found = pmsi.decode(bytes((1, kind)) + b"\0\1\0" + b"abc")
    assert (found.flags, found.tunnel_type, found.identifier, found.endpoint) == (1, kind, b"abc", None)
    assert str(found) == f"{name} 0x616263 label field 256"


@pytest.mark.parametrize("packed", ["", "00060003", "00060003e9", "00060003e97f0000"])
def test_a_value_too_short_or_an_endpoint_that_is_no_address_is_treated_as_withdraw(packed: str) -> None:
    with pytest.raises(RemoteFault) as caught:
        pmsi.decode(bytes.fromhex(packed))
    assert caught.value.outcome is Outcome.TREAT_AS_WITHDRAW


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LocalMisuse) as caught:
        PmsiTunnel(0, PmsiTunnelType.NONE, 1 << 24, b"")
    assert caught.value.field == "label field"
