"""The configuration of ``bagpipe-bgp``: ``/etc/bagpipe-bgp/bgp.conf`` read, checked whole, and turned into values.

Files written for networking-bagpipe are read unchanged. Every value is checked before anything is started; the first
that cannot be used raises :class:`ConfigurationError` with one line. Knows no event loop.
"""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

from oslo_config import cfg, types

from bagpipe import __version__
from bagpipe.daemon import log_options, options
from bagpipe.daemon.api_listener import ApiSettings
from bagpipe.daemon.config_source import ConfigSource, ConfigurationError
from bagpipe.daemon.local_addresses import first_ipv4
from bagpipe.daemon.peer_sections import Defaults, Neighbours, read_neighbours
from bagpipe.daemon.reach import Limits
from bagpipe.daemon.socket_options import IPAddress
from bagpipe.speaker import Retain, SpeakerSettings

DEFAULT_FILE = Path("/etc/bagpipe-bgp/bgp.conf")
DEFAULT_STATE_DIR = Path("/var/lib/bagpipe-bgp")
PROJECT = "bagpipe-bgp"
_NOT_VALID = re.compile(r"is not valid: (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DataplaneSettings:
    """A forwarding plane: its driver's plain name, the next hop of its routes, and the options of its section."""

    driver: str
    local_address: IPAddress
    options: dict[str, object]


@dataclass(frozen=True, slots=True)
class Configuration:
    """All that the files say, checked. ``sections`` is for showing to people: no secret is in it."""

    speaker: SpeakerSettings
    local_address: IPAddress
    neighbours: Neighbours
    listen: tuple[tuple[IPAddress, int], ...]
    limits: Limits
    api: ApiSettings | None
    ipvpn: DataplaneSettings
    evpn: DataplaneSettings
    state_dir: Path
    sections: dict[str, dict[str, object]]
    warnings: tuple[str, ...]
    setup_logs: Any = field(compare=False, repr=False)


class _Reader:
    """One reading of the files through oslo.config, with the place of each value at hand."""

    def __init__(self, argv: Sequence[str]) -> None:
        # The old names are not going away, so oslo.config need not complain about them.
        logging.getLogger("oslo_config.cfg").setLevel(logging.ERROR)
        self.warnings: list[str] = []
        self.argv = self._sane(argv)
        self.oslo_log = log_options.needs_oslo_log(self.argv)
        self.conf = self._parse()
        self.source = ConfigSource(self._files())
        if not self.oslo_log and log_options.needs_oslo_log((), self.source.options("DEFAULT")):
            self.oslo_log = True
            self.conf = self._parse()
        self.check_all()

    def _sane(self, argv: Sequence[str]) -> list[str]:
        """Without ``--log-file x.conf``: old service files give the configuration file to the wrong option."""
        kept: list[str] = []
        waiting = False
        for argument in argv:
            name, equals, value = argument.partition("=")
            if waiting or (name == "--log-file" and equals):
                candidate = argument if waiting else value
                if candidate.endswith(".conf"):
                    self.warnings.append(f"--log-file {candidate} ignored: it looks like a configuration file")
                else:
                    kept += ["--log-file", candidate]
                waiting = False
            elif argument == "--log-file":
                waiting = True
            else:
                kept.append(argument)
        return [*kept, "--log-file"] if waiting else kept

    def _parse(self) -> cfg.ConfigOpts:
        conf = cfg.ConfigOpts()
        log_options.register(conf, oslo_log=self.oslo_log)
        for section, opts in options.SECTIONS.items():
            conf.register_opts(opts, group=section)
        defaults = [str(DEFAULT_FILE)] if DEFAULT_FILE.exists() else []
        try:
            conf(
                self.argv, project=PROJECT, prog=PROJECT, version=__version__,
                default_config_files=defaults, default_config_dirs=[],
            )  # fmt: skip
        except cfg.ConfigFileParseError as error:
            raise ConfigurationError(" ".join(str(error.msg).split())) from error
        except cfg.Error as error:
            raise ConfigurationError(" ".join(str(error).split())) from error
        if not conf.config_file and not conf.config_dir:
            raise ConfigurationError(f"no configuration: {DEFAULT_FILE} does not exist; name another by --config-file")
        return conf

    def _files(self) -> list[Path]:
        files = [Path(name) for name in self.conf.config_file or []]
        for directory in self.conf.config_dir or []:
            files += sorted(Path(directory).glob("*.conf"))
        return files

    def check_all(self) -> None:
        """Read every option once, so that a wrong value ends the start and not a later moment."""
        for section, opts in options.SECTIONS.items():
            known = {opt.name for opt in opts} | {old.name for opt in opts for old in opt.deprecated_opts}
            for opt in opts:
                self.value(section, opt)
            for name in self.source.options(section):
                if name.replace("-", "_") not in known:
                    self.warnings.append(f"[{section}] {name}: no such option, ignored")
        self._check_logging()
        if any(name.lower() == options.OBSOLETE.lower() for name in self.source.section_names()):
            self.warnings.append(
                f"section [{options.OBSOLETE}] is obsolete and ignored: use [{options.IPVPN}] and [{options.EVPN}]"
            )

    def _check_logging(self) -> None:
        if self.oslo_log:
            return
        for opt in options.LOGGING:
            self.value("DEFAULT", opt)
        if self.conf.log_file and str(self.conf.log_file).endswith(".conf"):
            self.warnings.append(f"log_file {self.conf.log_file} ignored: it looks like a configuration file")
            self.conf.set_override("log_file", None)

    def value(self, section: str, opt: cfg.Opt) -> Any:
        """An option's value. Raises ConfigurationError that names where it is written."""
        try:
            group = self.conf if section == "DEFAULT" else self.conf[section]
            return group[opt.dest]
        except (ValueError, cfg.Error) as error:
            old = opt.deprecated_opts[0].name if opt.deprecated_opts else ""
            raise self.source.error(section, opt.dest, _reason(error, opt), secret=opt.secret, old=old or "") from error

    def address(self, section: str, option: str, text: str) -> IPAddress:
        """The address that an address or an interface name stands for."""
        try:
            return ip_address(text)
        except ValueError:
            pass
        found = first_ipv4(text)
        if found is None:
            raise self.source.error(section, option, "neither an address nor an interface with an IPv4 address")
        return found


def _reason(error: Exception, opt: cfg.Opt) -> str:
    """What is wrong with a value, in our words where those of oslo.config are not plain."""
    found = _NOT_VALID.search(str(error))
    text = " ".join((found.group(1) if found else str(error)).split())
    if text.startswith("invalid literal for int()"):
        return "not a whole number"
    if text.startswith("Should be ") and isinstance(opt.type, types.Number):
        return f"not in {opt.type.min} to {opt.type.max}" if opt.type.max is not None else f"below {opt.type.min}"
    return text


def load(argv: Sequence[str]) -> Configuration:
    """Read the files that the command line names, or ``/etc/bagpipe-bgp/bgp.conf``.

    Raises ConfigurationError; SystemExit for ``--help``, ``--version`` and a wrong command line, as argparse does.
    """
    reader = _Reader(argv)
    bgp = reader.conf.BGP
    local_address = _required_address(reader)
    if bgp.my_as is None:
        raise reader.source.error("BGP", "my_as", "is required")
    speaker = SpeakerSettings(
        local_as=bgp.my_as,
        router_id=_router_id(reader, local_address),
        retain=Retain(bgp.retain_routes),
    )
    neighbours = read_neighbours(reader.conf, reader.source, Defaults(speaker, local_address), reader.value)
    listen = tuple((address, bgp.listen_port) for address in bgp.listen)
    if neighbours.ranges and not listen:
        raise reader.source.error("BGP", "listen_ranges", "a client range needs [BGP] listen")
    passive = [n.settings.name for n in neighbours.configured if n.settings.session.mode.value == "passive"]
    if passive and not listen:
        raise reader.source.error(f"PEER {passive[0]}", "mode", "a passive peer needs [BGP] listen")
    ipvpn = _dataplane(reader, options.IPVPN, local_address)
    if ipvpn.options["input_table"] == ipvpn.options["ovs_table_id_start"]:
        raise reader.source.error(options.IPVPN, "ovs_table_id_start", "must differ from input_table")
    conf, oslo_log = reader.conf, reader.oslo_log
    return Configuration(
        speaker=speaker,
        local_address=local_address,
        neighbours=neighbours,
        listen=listen,
        limits=Limits(bgp.max_connections, bgp.max_connections_per_address),
        api=_api(reader),
        ipvpn=ipvpn,
        evpn=_dataplane(reader, options.EVPN, local_address),
        state_dir=_state_dir(reader),
        sections=_shown(reader),
        warnings=tuple(reader.warnings),
        setup_logs=lambda: log_options.setup(conf, oslo_log=oslo_log),
    )


def _required_address(reader: _Reader) -> IPAddress:
    text = reader.conf.BGP.local_address
    if not text:
        raise reader.source.error("BGP", "local_address", "is required")
    return reader.address("BGP", "local_address", text)


def _router_id(reader: _Reader, local_address: IPAddress) -> IPv4Address:
    router_id = reader.conf.BGP.router_id
    if router_id is None and not isinstance(local_address, IPv4Address):
        raise reader.source.error("BGP", "router_id", f"is required, since local_address {local_address} is IPv6")
    chosen = IPv4Address(router_id if router_id is not None else local_address)
    if int(chosen) == 0:
        raise reader.source.error("BGP", "router_id" if router_id else "local_address", "zero is no BGP identifier")
    return chosen


def _api(reader: _Reader) -> ApiSettings | None:
    api = reader.conf.API
    if not api.enabled:
        return None
    if api.socket:
        return ApiSettings(api.host, api.port, Path(api.socket), api.attach_timeout, api.reattach_timeout)
    try:
        address = str(socket.getaddrinfo(api.host, api.port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise reader.source.error("API", "host", error.strerror or str(error), old="api_host") from error
    if not ip_address(address.partition("%")[0]).is_loopback:
        reader.warnings.append(
            f"[API] host {api.host}: the API has no authentication; anyone who gets there may attach ports"
        )
    return ApiSettings(address, api.port, None, api.attach_timeout, api.reattach_timeout)


def _state_dir(reader: _Reader) -> Path:
    """What the file says, or what systemd made for us (StateDirectory=), or the usual place."""
    given = reader.conf.COMMON.state_dir or os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given) if given else DEFAULT_STATE_DIR


def _dataplane(reader: _Reader, section: str, local_address: IPAddress) -> DataplaneSettings:
    group = reader.conf[section]
    text = group.dataplane_local_address
    address = reader.address(section, "dataplane_local_address", text) if text else local_address
    values = {opt.dest: group[opt.dest] for opt in options.SECTIONS[section]}
    return DataplaneSettings(values.pop("dataplane_driver"), address, values)


def _shown(reader: _Reader) -> dict[str, dict[str, object]]:
    shown: dict[str, dict[str, object]] = {}
    for section, opts in options.SECTIONS.items():
        values = {opt.dest: reader.conf[section][opt.dest] for opt in opts if not opt.secret}
        shown[section] = {name: _plain(value) for name, value in values.items()}
    return shown


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)
