"""Socket options that BGP asks of TCP: signatures, time to live, source address.

Implements TCP MD5 signatures (RFC 2385), TCP-AO (RFC 5925), the generalized TTL security mechanism (RFC 5082) and the
TTL of external sessions (RFC 4271 section 5, customary TTL of 1), with the Linux socket interface.
Does not roll keys over: a TCP-AO master key is one key with one identifier.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from bagpipe.errors import LocalMisuse

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_TTL = 255
MAX_KEY = 80
_TCP_MD5SIG = 14
_TCP_MD5SIG_EXT = 32
_MD5_FLAG_PREFIX = 1
_TCP_AO_ADD_KEY = 38
_TCP_AO_DEL_KEY = 39
_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73
_MD5SIG = struct.Struct("=128sBBHI80s")
_AO_ADD = struct.Struct("=128s64siIHBBBBBB80s")
_AO_DEL = struct.Struct("=128siIHBBBBxx")


@dataclass(frozen=True, slots=True)
class AuthenticationKey:
    """A TCP-AO master key (RFC 5925 section 3.1): ``identifier`` is both SendID and RecvID, 0..255."""

    secret: bytes
    identifier: int = 100
    algorithm: str = "hmac(sha1)"


@dataclass(frozen=True, slots=True)
class Protection:
    """What guards the TCP connections of one peer, or of every peer in a prefix. At most one of the two keys is set.

    ``ttl_security`` is the number of hops the peer may be away (1: directly connected), None when RFC 5082 is off.
    ``ttl`` is the time to live of what is sent, None for the system's default; RFC 5082 overrides it with 255.
    """

    md5_password: bytes | None = None
    authentication: AuthenticationKey | None = None
    ttl_security: int | None = None
    ttl: int | None = None

    @property
    def lowest_ttl(self) -> int:
        """The least time to live that is accepted (RFC 5082 section 3), 0 for any."""
        return 0 if self.ttl_security is None else MAX_TTL + 1 - self.ttl_security


def authentication_available() -> bool:
    """Whether this kernel has TCP-AO (Linux 6.7 or later, built with CONFIG_TCP_AO)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, _TCP_AO_ADD_KEY, bytes(_AO_ADD.size))
        except OSError as error:
            return error.errno != errno.ENOPROTOOPT
    return True


def read_key(path: Path) -> bytes:
    """The octets of a key file, without the newline that editors put at its end. Raises OSError."""
    return path.read_bytes().removesuffix(b"\n").removesuffix(b"\r")


def set_keys(sock: socket.socket, remote: IPNetwork, protection: Protection) -> None:
    """Demand the peer's signature on ``sock``, listening or not yet connected.

    Sets nothing when the prefix is of the other IP version than the socket, or when there is no key.
    Raises LocalMisuse when the kernel does not take the key.
    """
    if (sock.family == socket.AF_INET6) != (remote.version == 6):
        return
    if protection.md5_password is not None:
        _set_md5(sock, remote, protection.md5_password)
    if protection.authentication is not None:
        _set_authentication(sock, remote, protection.authentication)


def drop_keys(sock: socket.socket, remote: IPNetwork, protection: Protection) -> None:
    """Undo :func:`set_keys`; a key that is not there any more is no error."""
    if (sock.family == socket.AF_INET6) != (remote.version == 6):
        return
    try:
        if protection.md5_password is not None:
            _set_md5(sock, remote, b"")
        if protection.authentication is not None:
            key = protection.authentication.identifier
            option = _AO_DEL.pack(_sockaddr(remote), 0, 0, 0, remote.prefixlen, key, key, 0)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_AO_DEL_KEY, option)
    except (OSError, LocalMisuse):
        return


def set_hops(sock: socket.socket, protection: Protection) -> None:
    """Set what is sent and what is accepted by its time to live (RFC 5082 section 3)."""
    six = sock.family == socket.AF_INET6
    level, ttl_option = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)
    set_lowest_ttl(sock, protection.lowest_ttl)
    if protection.ttl_security is not None:
        sock.setsockopt(level, ttl_option, MAX_TTL)
    else:
        sock.setsockopt(level, ttl_option, -1 if protection.ttl is None else protection.ttl)


def set_lowest_ttl(sock: socket.socket, lowest: int) -> None:
    """Accept only packets with at least this time to live. A connection accepted inherits it from its listener."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, lowest)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, lowest)


def outgoing(remote: IPAddress, source: IPAddress | None, protection: Protection) -> socket.socket:
    """A non-blocking socket, bound to ``source`` and ready to connect to ``remote``.

    Raises OSError when the source address is not this node's, LocalMisuse when the kernel does not take a key.
    """
    family = socket.AF_INET6 if remote.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_hops(sock, protection)
        set_keys(sock, ipaddress.ip_network(remote), protection)
        if source is not None and source.version == remote.version:
            sock.bind((str(source), 0))
    except BaseException:
        sock.close()
        raise
    return sock


def listening(address: IPAddress, port: int) -> socket.socket:
    """A non-blocking socket that is bound but does not listen yet, so that keys can be set first.

    It answers with a TTL of 255 because a peer with RFC 5082 drops a SYN-ACK with less; accepted sockets get their own.
    Raises OSError when the address is not this node's or the port is taken.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        set_hops(sock, Protection(ttl=MAX_TTL))
        sock.bind((str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def _sockaddr(remote: IPNetwork) -> bytes:
    family, padding = (socket.AF_INET6, b"\0" * 6) if remote.version == 6 else (socket.AF_INET, b"\0" * 2)
    return struct.pack("=H", family) + padding + remote.network_address.packed


def _set_md5(sock: socket.socket, remote: IPNetwork, password: bytes) -> None:
    key = password.ljust(MAX_KEY, b"\0")
    address = _sockaddr(remote)
    try:
        if remote.prefixlen == remote.max_prefixlen:
            option = _MD5SIG.pack(address, 0, 0, len(password), 0, key)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG, option)
        else:
            option = _MD5SIG.pack(address, _MD5_FLAG_PREFIX, remote.prefixlen, len(password), 0, key)
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG_EXT, option)
    except OSError as error:
        raise LocalMisuse("password", str(remote), f"the kernel does not take the MD5 key: {error.strerror}") from error


def _set_authentication(sock: socket.socket, remote: IPNetwork, key: AuthenticationKey) -> None:
    option = _AO_ADD.pack(
        _sockaddr(remote),
        key.algorithm.encode(),
        0,
        0,
        0,
        remote.prefixlen,
        key.identifier,
        key.identifier,
        12,
        0,
        len(key.secret),
        key.secret.ljust(MAX_KEY, b"\0"),
    )
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_AO_ADD_KEY, option)
    except OSError as error:
        raise LocalMisuse("tcp_ao_key", str(remote), f"the kernel does not take the key: {error.strerror}") from error
