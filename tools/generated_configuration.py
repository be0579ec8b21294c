"""Writes what follows from the options in the source: the samples in ``etc/`` and ``docs/configuration-reference.md``.

The samples are oslo-config-generator's, of the recipes in ``etc/oslo-config-generator``. Their namespaces are entry
points of the installed package. It writes section names in lower case; here they get their spelling back.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg, generator

from bagpipe.daemon import options as daemon
from bagpipe.neutron.agent import options as agent

ROOT = Path(__file__).parents[1]
REQUIRED = {"local_address", "my_as"}
TYPES = {"BoolOpt": "boolean", "FloatOpt": "number", "IntOpt": "integer", "PortOpt": "port", "StrOpt": "string"}


def sample(recipe: Path) -> tuple[Path, str]:
    """The file that a recipe of oslo-config-generator names, and its text."""
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(["--config-file", str(recipe)], default_config_files=[], default_config_dirs=[])
    spelling = {f"[{name.lower()}]": f"[{name}]" for name in daemon.SECTIONS}
    text = io.StringIO()
    generator.generate(conf, text)
    lines = [spelling.get(line, line) for line in text.getvalue().splitlines()]
    return ROOT / conf.output_file, "\n".join(lines) + "\n"


def reference() -> str:
    """The page with every option: name, type, default, meaning."""
    parts = [
        "# Configuration reference",
        "Every option, as the source has it (`make config` writes this page). What `bgp.conf` is for is told in\n"
        "[configuration.md](configuration.md). To be filled in there are [bgp.conf.sample](../etc/bgp.conf.sample)\n"
        "and [neutron-agent.conf.sample](../etc/neutron-agent.conf.sample) in `etc/`.",
        "## bagpipe-bgp: bgp.conf",
    ]
    for name, options in [("DEFAULT", daemon.LOGGING), *daemon.SECTIONS.items(), ("PEER address", daemon.PEER)]:
        parts += [f"### [{name}]", _table(options)]
    parts.append("## The agent extension: the L2 agent's file")
    for group, options in agent.list_opts():
        parts += [f"### [{group}]", _table(options)]
    return "\n\n".join(parts) + "\n"


def _table(options: Sequence[cfg.Opt]) -> str:
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for option in options:
        names = [f"`{option.dest}`", *(f"old name `{old.name}`" for old in option.deprecated_opts)]
        rows.append(f"| {', '.join(names)} | {_type(option)} | {_default(option)} | {_meaning(option)} |")
    return "\n".join(rows)


def _meaning(option: cfg.Opt) -> str:
    said = " ".join(option.help.split()).replace("|", "\\|").replace("*", "\\*")
    choices = {choice: text for choice, text in (getattr(option.type, "choices", None) or {}).items() if choice}
    if not choices:
        return said
    return f"{said} One of {', '.join(f'`{one}` ({text})' if text else f'`{one}`' for one, text in choices.items())}."


def _type(option: cfg.Opt) -> str:
    kind: Any = option.type
    named = TYPES.get(type(option).__name__) or kind.type_name.removesuffix(" value")
    lowest, highest = getattr(kind, "min", None), getattr(kind, "max", None)
    if named == "port" or lowest is None:
        return named
    return f"{named}, {lowest} or more" if highest is None else f"{named}, {lowest} to {highest}"


def _default(option: cfg.Opt) -> str:
    if option.dest in REQUIRED:
        return "required"
    if option.default is None or option.default == []:
        return "none"
    return f"`{option.default}`"


def generated() -> Iterator[tuple[Path, str]]:
    """Each file and the text it should have."""
    for recipe in sorted((ROOT / "etc" / "oslo-config-generator").glob("*.conf")):
        yield sample(recipe)
    yield ROOT / "docs" / "configuration-reference.md", reference()


def main() -> int:
    """Write the files and say which have changed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    logging.disable(logging.WARNING)  # that section names are made lower case
    for path, text in generated():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
