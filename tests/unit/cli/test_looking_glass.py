"""bagpipe-looking-glass: the text of the reference program for the same answers, and what it does without one."""

from __future__ import annotations

from typing import Any

import pytest

from bagpipe.cli.glass import Glass, address_of, main
from tests.unit.cli.answering import answering

# What networking-bagpipe's own bagpipe-looking-glass (20.0.0) printed for these answers.
VALUES: list[tuple[Any, str]] = [
    ({"summary": {"href": "http://h/looking-glass/summary"}, "version": 3}, "summary:  (...)\nversion: 3"),
    (
        {"a": 1, "b": [1, 2, {"x": "y", "z": []}], "c": None, "d": True, "e": "", "f": {}},
        "a: 1\nb: \n  * 1\n  * 2\n  * x: y\n    z: -\nc: None\nd: True\ne: \nf: -",
    ),
    (
        [{"level": "W", "message": "m\nsecond"}, {"level": "E", "message": "n"}],
        "* level: W\n  message: \n    m\n    second\n* level: E\n  message: n",
    ),
    ([], "-"),
    ({}, "-"),
    ("hello", "hello"),
    (5, "5"),
    (
        [{"id": "net1", "name": "VRF-1", "href": "http://h/looking-glass/net1"}, {"id": "n2", "href": "http://h/x"}],
        "* net1 (...)\n  name: VRF-1\n* n2 (...)",
    ),
    ({"import": ["target:64512:1"], "none": []}, "import: \n  * target:64512:1\nnone: -"),
]


@pytest.mark.parametrize(("value", "text"), VALUES)
def test_a_value_has_the_text_that_the_reference_gives_it(value: Any, text: str) -> None:
    assert "\n".join(Glass("/looking-glass").lines(value)) == text


def test_recursion_shows_what_is_below_the_path_and_follows_no_other_link(capsys: pytest.CaptureFixture[str]) -> None:
    with answering({}) as server:
        base = f"{server.url}/looking-glass"
        server.answers |= {
            "GET /looking-glass/vpns": {
                "instances": [{"id": "a/b", "name": "VRF-1", "href": f"{base}/vpns/instances/a%2Fb"}],
                "logs": {"href": f"{base}/vpns/logs"},
                "gone": {"href": f"{base}/vpns/gone"},
                "source": {"id": "BGP-1", "href": f"{base}/bgp/peers/1"},
                "up": {"href": base},
            },
            "GET /looking-glass/vpns/instances/a/b": {"type": "VRF"},
            "GET /looking-glass/vpns/logs": [],
        }
        assert main(["--port", str(server.port), "-r", "vpns"]) == 0
        assert capsys.readouterr().out == (
            "instances: \n  * a/b\n      type: VRF\nlogs: -\ngone:  (no such looking glass path)\n"
            "source: BGP-1 (...)\nup:  (...)\n"
        )
        assert ("GET", "/looking-glass/bgp/peers/1", None) not in server.asked


def test_a_path_is_given_in_parts_or_with_slashes_and_the_prefix_may_differ(capsys: pytest.CaptureFixture[str]) -> None:
    with answering({"GET /glass/vpns/instances": ["one"], "GET /looking-glass/": {"a": 1}}) as server:
        for path in (["vpns", "instances"], ["vpns/instances"]):
            assert main(["--port", str(server.port), "--prefix", "/glass/", *path]) == 0
        assert main(["--port", str(server.port)]) == 0
    assert capsys.readouterr().out == "* one\n* one\na: 1\n"


def test_a_path_that_is_not_there_is_said_with_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    with answering({}) as server:
        assert main(["--port", str(server.port), "no", "such"]) == 0
        expected = f"No such looking glass path: no such\n({server.url}/looking-glass/no/such)\n"
    assert capsys.readouterr().out == expected


def test_no_server_and_a_server_that_fails_are_one_line_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with answering({"GET /looking-glass/x": (500, {"description": "internal error"})}) as server:
        assert main(["--port", str(server.port), "x"]) == 1
    assert main(["--port", "1", "x"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["bagpipe-looking-glass"] * 2
    assert "500: internal error" in err


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("192.0.2.1", "http://192.0.2.1:8082"),
        ("2001:db8::1", "http://[2001:db8::1]:8082"),
        ("unix:/run/x", "unix:/run/x"),
        ("http://h:1", "http://h:1"),
    ],
)
def test_a_server_is_an_address_a_name_or_a_url(server: str, expected: str) -> None:
    assert address_of(server, 8082) == expected
