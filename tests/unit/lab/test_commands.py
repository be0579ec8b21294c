"""What the lab's commands say where there is no lab to speak of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from bagpipe.lab import __main__ as commands
from bagpipe.lab.hosts import LabFault
from bagpipe.lab.neutron_api import NeutronApi


def test_a_scenario_on_a_cloud_without_api_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = SimpleNamespace(api=NeutronApi(tmp_path / "neutron-api.sock"))
    monkeypatch.setattr(commands, "running", lambda: cloud)

    with pytest.raises(LabFault, match="Neutron's API does not answer"):
        commands.play("ipv6")


def test_a_scenario_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises(LabFault, match="no scenario 'nonsense'; there are network-association"):
        commands.play("nonsense")
