"""Neighbours from the configuration: ``[BGP] peers`` and ``listen_ranges``, and a section for what differs.

``[PEER 192.0.2.1]`` or ``[PEER rr1.example.net]`` is a neighbour, listed in ``peers`` or not. A section named by a
prefix, ``[PEER 198.51.100.0/24]``, is a range: any address in it may connect, with these options.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg

from bagpipe.daemon.client_template import ClientTemplate
from bagpipe.daemon.config_source import ConfigSource, ConfigurationError
from bagpipe.daemon.options import PEER, PEER_PREFIX
from bagpipe.daemon.reach import ClientRange, Reach, canonical
from bagpipe.daemon.socket_options import (
    MAX_KEY,
    AuthenticationKey,
    IPAddress,
    IPNetwork,
    Protection,
    authentication_available,
    read_key,
)
from bagpipe.errors import LocalMisuse
from bagpipe.session.settings import Mode, SessionSettings
from bagpipe.speaker import PeerSettings, SpeakerSettings
from bagpipe.wire.family import CARRIED, RTC, Family

Value = Callable[[str, cfg.Opt], Any]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One configured neighbour: what is said to it and how it is reached."""

    settings: PeerSettings
    reach: Reach


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All that the files say about neighbours."""

    configured: tuple[Neighbour, ...]
    ranges: tuple[ClientRange, ...]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a neighbour's section need not say."""

    speaker: SpeakerSettings
    local_address: IPAddress


def read_neighbours(conf: cfg.ConfigOpts, source: ConfigSource, defaults: Defaults, value: Value) -> Neighbours:
    """Read and check every neighbour. Raises ConfigurationError."""
    sections = {
        name[len(PEER_PREFIX) :].strip(): name
        for name in source.section_names()
        if name.lower().startswith(PEER_PREFIX.lower())
    }
    reader = _PeerReader(conf, source, defaults, value)
    configured: dict[str, Neighbour] = {}
    ranges: dict[IPNetwork, ClientRange] = {}
    for text in conf.BGP.peers:
        if text not in {"", "-"}:
            _check_host(source, text)
            address = canonical(text)
            configured.setdefault(str(address or text), reader.neighbour(_default_section(text), text))
    for network in conf.BGP.listen_ranges:
        ranges[network] = reader.client_range(_default_section(str(network)), network)
    for text, section in sections.items():
        reader.check_options(section)
        if "/" in text:
            network = _network(source, section, text)
            ranges[network] = reader.client_range(section, network)
        else:
            _check_host(source, text, section)
            configured[str(canonical(text) or text)] = reader.neighbour(section, text)
    return Neighbours(tuple(configured.values()), tuple(ranges.values()))


def _default_section(text: str) -> str:
    return f"{PEER_PREFIX}{text}"


def _check_host(source: ConfigSource, text: str, section: str = "") -> None:
    """A host name of RFC 1123, or an address. An all-digits name is a mistyped address."""
    if canonical(text) is not None:
        return
    labels = text.rstrip(".").split(".")
    fine = all(label and len(label) < 64 and label.replace("-", "a").replace("_", "a").isalnum() for label in labels)
    if not fine or labels[-1].isdigit():
        reason = f"{text!r} is neither an address nor a host name"
        raise source.error("BGP", "peers", reason) if not section else _section_error(source, section, reason)


def _network(source: ConfigSource, section: str, text: str) -> IPNetwork:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise _section_error(source, section, str(error)) from error


def _section_error(source: ConfigSource, section: str, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{', '.join(str(path) for path in source.paths)}: [{section}]: {reason}")


class _PeerReader:
    def __init__(self, conf: cfg.ConfigOpts, source: ConfigSource, defaults: Defaults, value: Value) -> None:
        self.conf = conf
        self.source = source
        self.defaults = defaults
        self.value = value

    def check_options(self, section: str) -> None:
        """A misspelt option of a neighbour is an error: nobody wants a password that is not used."""
        known = {opt.name for opt in PEER}
        for name in self.source.options(section):
            if name.replace("-", "_") not in known:
                raise self.source.error(section, name, "no such option", secret=True)

    def _options(self, section: str) -> dict[str, Any]:
        self.conf.register_opts(PEER, group=section)
        return {opt.name: self.value(section, opt) for opt in PEER}

    def neighbour(self, section: str, text: str) -> Neighbour:
        said = self._options(section)
        address = canonical(text)
        mode = Mode(said["mode"] or ("both" if self.conf.BGP.listen else "active"))
        session = self._session(section, said, mode)
        name = str(address or text)
        settings = PeerSettings(name, name, session, False, said["maximum_prefixes"], said["maximum_prefixes_warning"])
        source = said["source_address"]
        if source is None and (address is None or address.version == self.defaults.local_address.version):
            source = self.defaults.local_address
        if source is not None and address is not None and source.version != address.version:
            raise self.source.error(section, "source_address", f"not the IP version of {address}")
        protection = self._protection(section, said, session)
        if address is None and protection != Protection(ttl=protection.ttl, ttl_security=protection.ttl_security):
            raise _section_error(self.source, section, "a key needs the neighbour's address, not its name")
        return Neighbour(settings, Reach(name, said["port"] or self.conf.BGP.bgp_port, source, protection))

    def client_range(self, section: str, network: IPNetwork) -> ClientRange:
        said = self._options(section)
        for option in ("port", "source_address", "mode"):
            if said[option] is not None:
                raise self.source.error(section, option, "has no meaning for a range, whose addresses connect to us")
        session = self._session(section, said, Mode.PASSIVE)
        template = ClientTemplate(session, False, said["maximum_prefixes"], said["maximum_prefixes_warning"])
        return ClientRange(network, self._protection(section, said, session), template)

    def _session(self, section: str, said: dict[str, Any], mode: Mode) -> SessionSettings:
        bgp = self.conf.BGP
        speaker = self.defaults.speaker
        families: tuple[Family, ...] = tuple(said["families"] or CARRIED)
        if not bgp.enable_rtc:
            families = tuple(family for family in families if family != RTC)
        try:
            return SessionSettings(
                local_as=speaker.local_as,
                peer_as=said["as"] or speaker.local_as,
                router_id=speaker.router_id,
                families=families,
                hold_time=bgp.hold_time if said["hold_time"] is None else said["hold_time"],
                mode=mode,
                add_path_receive=tuple(said["add_path_receive"]),
            )
        except LocalMisuse as error:
            raise self.source.error(section, error.field, error.reason) from error

    def _protection(self, section: str, said: dict[str, Any], session: SessionSettings) -> Protection:
        password = self._secret(section, said, "password")
        key = self._secret(section, said, "tcp_ao_key")
        if password is not None and key is not None:
            raise self.source.error(section, "tcp_ao_key", "there is a password too; one of them", secret=True)
        if key is not None and not authentication_available():
            option = "tcp_ao_key" if said["tcp_ao_key"] else "tcp_ao_key_file"
            raise self.source.error(section, option, "this kernel has no TCP-AO (CONFIG_TCP_AO)", secret=True)
        if said["multihop"] is not None and said["ttl_security"] is not None:
            raise self.source.error(section, "multihop", "ttl_security says how far the neighbour is; one of them")
        external = session.peer_as != session.local_as
        return Protection(
            md5_password=password,
            authentication=None
            if key is None
            else AuthenticationKey(key, said["tcp_ao_key_id"], said["tcp_ao_algorithm"]),
            ttl_security=said["ttl_security"],
            ttl=said["multihop"] or (1 if external else None),
        )

    def _secret(self, section: str, said: dict[str, Any], option: str) -> bytes | None:
        text, file = said[option], said[f"{option}_file"]
        if text is not None and file is not None:
            raise self.source.error(section, f"{option}_file", f"there is {option} too; one of them")
        if text is None and file is None:
            return None
        used = option if file is None else f"{option}_file"
        try:
            secret = text.encode() if file is None else read_key(Path(file))
        except OSError as error:
            raise self.source.error(section, used, error.strerror or str(error)) from error
        if not 1 <= len(secret) <= MAX_KEY:
            raise self.source.error(section, used, f"{len(secret)} octets, 1 to {MAX_KEY} allowed", secret=file is None)
        return bytes(secret)
