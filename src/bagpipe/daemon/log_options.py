"""The logging options of ``bagpipe-bgp``, under the names of oslo.log.

``debug``, ``log_file`` and ``log_dir`` are served by the standard library. Any other option of oslo.log brings in
oslo.log itself, which is 5 MB in memory and therefore not there by default.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from oslo_config import cfg

from bagpipe.daemon.logs import setup_plain
from bagpipe.daemon.options import LOGGING

_OTHERS = (
    "log_config_append",
    "log_config",
    "log_date_format",
    "watch_log_file",
    "use_syslog",
    "use_journal",
    "use_json",
    "use_stderr",
    "use_eventlog",
    "syslog_log_facility",
    "log_rotation_type",
    "default_log_levels",
    "logging_context_format_string",
    "logging_default_format_string",
    "rate_limit_interval",
)


def needs_oslo_log(argv: Sequence[str], options: Iterable[str] = ()) -> bool:
    """Whether the command line or these options of [DEFAULT] ask for more than the standard library is used for."""
    flags = {argument.partition("=")[0].removeprefix("--").removeprefix("no").replace("-", "_") for argument in argv}
    return not flags.isdisjoint(_OTHERS) or not set(options).isdisjoint(_OTHERS)


def register(conf: cfg.ConfigOpts, *, oslo_log: bool) -> None:
    """Register the logging options on the command line and in [DEFAULT]."""
    if oslo_log:
        from oslo_log import log  # noqa: PLC0415 - 5 MB, only when asked for

        log.register_options(conf)
    else:
        conf.register_cli_opts(LOGGING)


def setup(conf: cfg.ConfigOpts, *, oslo_log: bool) -> None:
    """Make records go where the options say. Raises OSError when the file cannot be written."""
    if oslo_log:
        from oslo_log import log  # noqa: PLC0415 - see above

        log.setup(conf, "bagpipe-bgp")
    else:
        to_file = Path(conf.log_dir or "", conf.log_file) if conf.log_file else None
        setup_plain(debug=conf.debug, log_file=to_file)
