"""bagpipe-impex2dot: a digraph of instances and route targets out of the looking glasses of several servers."""

from __future__ import annotations

import re

import pytest

from bagpipe.cli.impex2dot import Instance, digraph, main
from tests.unit.cli.answering import answering


def test_imports_and_exports_of_two_servers_meet_in_their_route_targets() -> None:
    left = Instance("s1", "net", "VRF", imports=("64512:1",), exports=("64512:1", "64512:2"), ports=("tap1",))
    right = Instance("s2", "net", "EVI", imports=("64512:2",), exports=())

    text = digraph([left, right])

    edges = set(re.findall(r"^  (\S+) -> (\S+?)(?: \[|;)", text, re.MULTILINE))
    assert edges == {
        ("rt__64512_3a_1", "vpn__s1__net"),
        ("vpn__s1__net", "rt__64512_3a_1"),
        ("vpn__s1__net", "rt__64512_3a_2"),
        ("rt__64512_3a_2", "vpn__s2__net"),
        ("vpn__s1__net", "port__s1__tap1"),
    }
    assert text.count('[label="64512:2"]') == 1
    assert text.startswith("digraph import_export {") and text.endswith("}")


def test_readvertised_routes_and_drawn_traffic_have_arrows_of_their_own() -> None:
    one = Instance(
        "s", "n", "VRF", (), (), readvertise_from=("1:1",), readvertise_to=("1:2",), redirects_to=("1:3",),
        attracts_to=("1:4",),
    )  # fmt: skip
    text = digraph([one])
    for edge in (
        'rt__1_3a_1 -> vpn__s__n [style=dashed,label="readvertised"]',
        'vpn__s__n -> rt__1_3a_2 [style=dashed,label="readvertised"]',
        'vpn__s__n -> rt__1_3a_3 [style=dotted,label="flows"]',
        'vpn__s__n -> rt__1_3a_4 [style=dotted,label="default route"]',
    ):
        assert f"  {edge};" in text


def test_names_with_signs_stay_apart_and_are_quoted() -> None:
    text = digraph([Instance("s", 'a"-b', "VRF", (), ()), Instance("s", "a_b", "VRF", (), ())])
    names = re.findall(r"^    (vpn\S+) \[label", text, re.MULTILINE)
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"\w+", name) for name in names)
    assert r"a\"-b" in text


def test_what_the_looking_glass_says_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    instance = {
        "instance_type": "VRF",
        "route_targets": {"import": ["target:64512:7"], "export": []},
        "readvertise": None,
        "attract_traffic": {"redirect_rts": ["target:64512:9"]},
        "ports": {"href": "http://unused"},
    }
    with answering(
        {
            "GET /looking-glass/vpns/instances": [{"id": "n1", "href": "x"}, {"id": "gone", "href": "x"}],
            "GET /looking-glass/vpns/instances/n1": instance,
            "GET /looking-glass/vpns/instances/n1/ports": {"tap1": {"endpoints": []}},
        }
    ) as server:
        assert main(["--server", "127.0.0.1", "--port", str(server.port)]) == 0
    text = capsys.readouterr().out
    assert "rt__64512_3a_7 -> vpn__127_2e_0_2e_0_2e_1__n1;" in text
    assert 'rt__64512_3a_9 [style=dotted,label="flows"]' in text
    assert '[label="tap1",shape=plaintext]' in text
    assert "gone" not in text


def test_a_server_without_an_answer_or_a_looking_glass_is_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with answering({}) as server:
        assert main(["--server", "127.0.0.1", "--port", str(server.port)]) == 1
    assert main(["--server", "127.0.0.1", "--port", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 2
    assert "no looking glass at /looking-glass/vpns/instances" in err
