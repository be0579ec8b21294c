"""The reflector's command line."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from bagpipe.daemon.start_error import StartError
from bagpipe.reflector.main import read_options
from bagpipe.session.settings import Mode
from bagpipe.wire.family import CARRIED


def test_without_arguments_it_takes_anybody_on_port_179_in_as_64512() -> None:
    options = read_options([])

    assert [str(address) for address in options.listen] == ["0.0.0.0", "::"]
    assert options.port == 179
    assert [str(entry.prefix) for entry in options.ranges] == ["0.0.0.0/0", "::/0"]
    assert options.api is None
    speaker = options.speaker
    assert speaker.local_as == 64512
    assert speaker.reflector is True
    assert int(speaker.router_id) != 0
    assert speaker.cluster_id is None
    assert speaker.default_membership is True
    settings = options.ranges[0].settings(ip_address("192.0.2.1"))
    assert settings.client is True
    assert settings.session.mode is Mode.PASSIVE
    assert settings.session.families == CARRIED
    assert settings.session.peer_as == 64512
    assert settings.name == settings.address == "192.0.2.1"


def test_every_option_is_taken(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"secret\n")
    options = read_options(
        "--listen 192.0.2.1,2001:db8::1 --port 1179 --as 4200000000 --cluster-id 7 --clients 10.0.0.0/8 --hold-time 0 "
        f"--no-default-membership --max-clients 5 --api [::1]:8083 --md5-password-file {key}".split()
    )

    assert options.speaker.router_id == IPv4Address("0.0.2.1")
    assert options.speaker.cluster_id == IPv4Address("0.0.0.7")
    assert options.limits.total == 5
    assert options.speaker.default_membership is False
    assert options.api == ("::1", 8083)
    (entry,) = options.ranges
    assert entry.protection.md5_password == b"secret"
    assert entry.settings(ip_address("10.0.0.1")).session.hold_time == 0


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 81])
def test_a_key_of_a_wrong_length_is_refused(tmp_path: Path, content: bytes) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    with pytest.raises(StartError, match="1 to 80 allowed"):
        read_options(["--md5-password-file", str(key)])
