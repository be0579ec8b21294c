"""The samples in ``etc/`` and the configuration reference are what the options in the source give."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_config import cfg

from bagpipe.daemon import options as daemon
from bagpipe.daemon.configuration import load
from bagpipe.neutron.agent import options as agent
from tools.generated_configuration import ROOT, generated

FILES = dict(generated())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_generated_file_is_the_one_that_make_config_writes(path: Path) -> None:
    assert path.read_text() == FILES[path], "make config writes it anew"


def test_every_option_says_what_it_is_for() -> None:
    every = [*daemon.LOGGING, *daemon.PEER, *(one for options in daemon.SECTIONS.values() for one in options)]
    every += [one for _, options in agent.list_opts() for one in options]
    assert [one.name for one in every if not one.help] == []


def test_the_sample_with_its_two_required_options_is_a_configuration_with_all_defaults(tmp_path: Path) -> None:
    # given the sample, with the section names of the documentation
    text = (ROOT / "etc" / "bgp.conf.sample").read_text()
    assert {f"[{name}]" for name in daemon.SECTIONS} <= set(text.splitlines())
    file = tmp_path / "bgp.conf"
    values = {"#local_address = <None>": "local_address = 127.0.0.1", "#my_as = <None>": "my_as = 64512"}
    for option, value in values.items():
        assert option in text
        text = text.replace(option, value)
    file.write_text(text)
    smallest = tmp_path / "smallest.conf"
    smallest.write_text("[BGP]\nlocal_address = 127.0.0.1\nmy_as = 64512\n")

    # then it is read without a warning, and means what the smallest file means
    found, expected = load(["--config-file", str(file)]), load(["--config-file", str(smallest)])
    assert found.warnings == expected.warnings
    for name in ("speaker", "api", "ipvpn", "evpn", "limits", "listen", "state_dir"):
        assert getattr(found, name) == getattr(expected, name)


def test_the_agents_sample_is_read_by_the_agents_options(tmp_path: Path) -> None:
    file = tmp_path / "agent.conf"
    file.write_text((ROOT / "etc" / "neutron-agent.conf.sample").read_text().replace("#mpls_b", "mpls_b"))
    conf = cfg.ConfigOpts()
    agent.register(conf)
    conf(["--config-file", str(file)], default_config_dirs=[])
    assert conf.bagpipe.mpls_bridge == "br-mpls"
