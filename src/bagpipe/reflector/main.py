"""``bagpipe-fakerr``: a route reflector (RFC 4456, RFC 4684) that needs no argument.

It accepts any number of clients, each of which is a neighbour for as long as it is there and forgotten when it leaves,
and reflects what one says to the others. It never connects by itself and holds no configuration for a client. The name
is that of the program of networking-bagpipe that it stands in for; this one is a reflector.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

from bagpipe import __version__
from bagpipe.daemon.client_template import ClientTemplate
from bagpipe.daemon.local_addresses import own_ipv4
from bagpipe.daemon.logs import setup_plain
from bagpipe.daemon.reach import BGP_PORT, ClientRange, Limits
from bagpipe.daemon.service import LOG, NoticeBoard, jitter, prepare_process, run
from bagpipe.daemon.socket_options import MAX_KEY, IPAddress, IPNetwork, Protection, read_key
from bagpipe.daemon.start_error import StartError
from bagpipe.daemon.tcp import Edge
from bagpipe.errors import LocalMisuse
from bagpipe.session.settings import Mode, SessionSettings
from bagpipe.speaker import Speaker, SpeakerSettings
from bagpipe.wire.family import CARRIED

PROGRAM = "bagpipe-fakerr"
ANYWHERE = "0.0.0.0,::"
ANYBODY = "0.0.0.0/0,::/0"
DEFAULT_AS = 64512


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, checked."""

    speaker: SpeakerSettings
    listen: tuple[IPAddress, ...]
    port: int
    ranges: tuple[ClientRange, ...]
    limits: Limits
    api: tuple[str, int] | None
    log_file: Path | None
    debug: bool


def _number(lowest: int, highest: int, name: str) -> type[int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r}: not {name} of {lowest} to {highest}")
        return int(text)

    return parse  # type: ignore[return-value]  # argparse takes any callable


def _hold_time(text: str) -> int:
    seconds: int = _number(0, 65535, "a number of seconds")(text)
    if seconds in {1, 2}:
        raise argparse.ArgumentTypeError(f"{text!r}: neither 0 nor 3 to 65535 seconds")
    return seconds


def _identifier(text: str) -> IPv4Address:
    try:
        found = IPv4Address(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error
    if int(found) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: zero is no identifier")
    return found


def _addresses(text: str) -> tuple[IPAddress, ...]:
    try:
        return tuple(ip_address(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _networks(text: str) -> tuple[IPNetwork, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _host_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    try:
        ip_address(host)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected ADDRESS:PORT: {error}") from error
    return host, _number(1, 65535, "a port")(port)


class _OneLine(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """One line, without the usage."""
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = _OneLine(prog=PROGRAM, description="A BGP route reflector for VPN routes. Needs no argument.")
    add = made.add_argument
    add("--listen", type=_addresses, metavar="ADDRESS,...", help=f"addresses to listen on (default {ANYWHERE})")
    add("--port", type=_number(1, 65535, "a port"), default=BGP_PORT, help="port to listen on (default 179)")
    add("--as", dest="local_as", type=_number(1, 0xFFFFFFFF, "an AS"), default=DEFAULT_AS, metavar="AS",
        help="AS of the reflector and its clients (default 64512)")  # fmt: skip
    add("--router-id", type=_identifier,
        help="BGP identifier (default: an own IPv4 address with 0 in place of its first octet)")  # fmt: skip
    add("--cluster-id", type=_identifier, help="cluster identifier, an address or a number (default: the router id)")
    add("--clients", type=_networks, default=_networks(ANYBODY), metavar="PREFIX,...",
        help=f"who may connect (default {ANYBODY})")  # fmt: skip
    add("--max-clients", type=_number(1, 1_000_000, "a number"), default=4096, help="clients at a time (default 4096)")
    add("--hold-time", type=_hold_time, default=90, help="hold time in seconds, 0 or 3 to 65535 (default 90)")
    add("--no-default-membership", dest="default_membership", action="store_false",
        help="ask clients only for what others ask for (RFC 4684); every client should then speak RTC")  # fmt: skip
    add("--md5-password-file", type=Path, metavar="FILE", help="TCP MD5 signature key (RFC 2385) of all clients")
    add("--api", type=_host_port, metavar="ADDRESS:PORT", help="serve the read-only HTTP interface (default: off)")
    add("--log-file", type=Path, help="log here instead of standard error")
    add("--debug", action="store_true", help="log more")
    add("--version", action="version", version=f"{PROGRAM} {__version__}")
    return made


def _identifier_beside(address: IPv4Address) -> IPv4Address:
    """An identifier that no speaker has which takes its own address, so that both can be on one host (RFC 6286)."""
    return IPv4Address(bytes((0, *address.packed[1:]))) if any(address.packed[1:]) else address


def read_options(argv: Sequence[str]) -> Options:
    """The options of a command line. Raises StartError, and SystemExit for what argparse refuses."""
    said = parser().parse_args(argv)
    listen: tuple[IPAddress, ...] = said.listen or _addresses(ANYWHERE)
    named = [one for one in listen if isinstance(one, IPv4Address) and not one.is_unspecified]
    router_id = said.router_id or _identifier_beside(next(iter(named), None) or own_ipv4())
    speaker = SpeakerSettings(
        said.local_as, router_id, said.cluster_id, reflector=True, default_membership=said.default_membership
    )
    session = SessionSettings(
        local_as=said.local_as,
        peer_as=said.local_as,
        router_id=router_id,
        families=CARRIED,
        hold_time=said.hold_time,
        mode=Mode.PASSIVE,
    )
    protection = Protection(md5_password=_password(said.md5_password_file))
    template = ClientTemplate(session, client=True)
    return Options(
        speaker=speaker,
        listen=listen,
        port=said.port,
        ranges=tuple(ClientRange(prefix, protection, template) for prefix in said.clients),
        limits=Limits(total=said.max_clients),
        api=said.api,
        log_file=said.log_file,
        debug=said.debug,
    )


def _password(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        password = read_key(path)
    except OSError as error:
        raise StartError(f"--md5-password-file {path}: {error.strerror}") from error
    if not 1 <= len(password) <= MAX_KEY:
        raise StartError(f"--md5-password-file {path}: {len(password)} octets, 1 to {MAX_KEY} allowed")
    return password


async def _listen(edge: Edge, options: Options) -> None:
    """Listen on every address; one of both "any" addresses may be missing on a node with one IP version."""
    failed: list[str] = []
    for address in options.listen:
        try:
            await edge.listen(address, options.port)
        except OSError as error:
            said = f"cannot listen on {address} port {options.port}: {error.strerror or error}"
            if isinstance(address, IPv6Address) and address.is_unspecified and len(options.listen) > 1:
                LOG.info("%s", said)
            else:
                failed.append(said)
    if failed:
        raise StartError("; ".join(failed))


async def _run(options: Options) -> None:
    notices = NoticeBoard()
    speaker = Speaker(options.speaker, jitter=jitter)
    speaker.notice = notices
    edge = Edge(speaker, options.limits)
    edge.serve(options.ranges)
    await _listen(edge, options)
    beside = None
    if options.api is not None:
        from bagpipe.reflector.glass import open_api  # noqa: PLC0415 - only when asked for

        beside = open_api(options.api, speaker, edge, notices)
    status = f"reflecting in AS {options.speaker.local_as} as {options.speaker.router_id}, port {options.port}"
    await run(edge, beside, status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the reflector in the foreground. The exit status is 0 after SIGTERM, 1 or 2 when it could not start."""
    try:
        options = read_options(sys.argv[1:] if argv is None else argv)
        try:
            setup_plain(debug=options.debug, log_file=options.log_file)
        except OSError as error:
            raise StartError(f"--log-file {options.log_file}: {error.strerror}") from error
        logging.captureWarnings(True)
        prepare_process()
        asyncio.run(_run(options))
    except (StartError, LocalMisuse) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
