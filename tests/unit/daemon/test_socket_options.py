"""The options that BGP sets on its sockets, as the kernel has them."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import pytest

from bagpipe.daemon import socket_options
from bagpipe.daemon.socket_options import (
    MAX_TTL,
    AuthenticationKey,
    Protection,
    authentication_available,
    drop_keys,
    listening,
    outgoing,
    read_key,
    set_hops,
    set_keys,
)
from bagpipe.errors import LocalMisuse


def test_the_structures_have_the_sizes_of_the_kernels() -> None:
    # struct tcp_md5sig, tcp_ao_add and tcp_ao_del of linux/tcp.h
    assert socket_options._MD5SIG.size == 216
    assert socket_options._AO_ADD.size == 288
    assert socket_options._AO_DEL.size == 144


def test_an_address_is_a_sockaddr_of_its_version() -> None:
    four = socket_options._sockaddr(ip_network("192.0.2.1"))
    six = socket_options._sockaddr(ip_network("2001:db8::/32"))
    assert four == socket.AF_INET.to_bytes(2, "little") + bytes(2) + bytes([192, 0, 2, 1])
    assert six == socket.AF_INET6.to_bytes(2, "little") + bytes(6) + IPv6Address("2001:db8::").packed


@pytest.mark.parametrize(("address", "prefix"), [("127.0.0.1", "198.51.100.0/24"), ("::1", "2001:db8::/64")])
def test_a_key_can_be_set_for_an_address_and_for_a_prefix_and_dropped_again(address: str, prefix: str) -> None:
    version = IPv6Address if ":" in address else IPv4Address
    with listening(version(address), 0) as sock:
        protection = Protection(md5_password=b"secret")
        for remote in (ip_network(address), ip_network(prefix)):
            set_keys(sock, remote, protection)
            drop_keys(sock, remote, protection)
            drop_keys(sock, remote, protection)
        # the other IP version is no business of this socket
        set_keys(sock, ip_network("::2" if version is IPv4Address else "192.0.2.2"), protection)
        assert sock.getsockname()[0] == address


def test_a_key_that_the_kernel_does_not_take_is_the_users_mistake() -> None:
    with listening(IPv4Address("127.0.0.1"), 0) as sock, pytest.raises(LocalMisuse) as raised:
        set_keys(sock, ip_network("192.0.2.1"), Protection(md5_password=b"x" * 81))
    assert raised.value.field == "password"
    assert "x" * 81 not in str(raised.value)


def test_tcp_ao_is_set_where_the_kernel_has_it_and_refused_by_name_elsewhere() -> None:
    protection = Protection(authentication=AuthenticationKey(b"secret"))
    with listening(IPv4Address("127.0.0.1"), 0) as sock:
        if authentication_available():
            set_keys(sock, ip_network("192.0.2.1"), protection)
            drop_keys(sock, ip_network("192.0.2.1"), protection)
            assert sock.fileno() >= 0
        else:
            with pytest.raises(LocalMisuse, match="tcp_ao_key"):
                set_keys(sock, ip_network("192.0.2.1"), protection)


def test_hops_set_what_is_sent_and_what_is_accepted() -> None:
    with outgoing(IPv4Address("127.0.0.1"), IPv4Address("127.0.0.3"), Protection(ttl_security=1)) as sock:
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == MAX_TTL
        assert sock.getsockopt(socket.IPPROTO_IP, 21) == MAX_TTL
        assert sock.getsockname()[0] == "127.0.0.3"
        set_hops(sock, Protection(ttl_security=3))
        assert sock.getsockopt(socket.IPPROTO_IP, 21) == 253
        set_hops(sock, Protection(ttl=1))
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 1
        assert sock.getsockopt(socket.IPPROTO_IP, 21) == 0
    with outgoing(IPv6Address("::1"), None, Protection(ttl_security=2)) as sock:
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) == MAX_TTL
        assert sock.getsockopt(socket.IPPROTO_IPV6, 73) == 254


def test_a_listening_socket_answers_from_as_far_as_can_be() -> None:
    # a peer with RFC 5082 drops a SYN-ACK with a lower time to live
    with listening(IPv4Address("127.0.0.1"), 0) as sock:
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == MAX_TTL


def test_a_key_file_may_end_with_a_newline(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for written in (b"key", b"key\n", b"key\r\n"):
        file.write_bytes(written)
        assert read_key(file) == b"key"
    file.write_bytes(b" key \n\n")
    assert read_key(file) == b" key \n"
