"""The versioned objects are networking-bagpipe's on the wire."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.neutron.server.runs import HERE, REFERENCE_PYTHON, ROOT, environment

FINGERPRINTS = {
    "BGPVPN": "1.0-fb140d305dfe7e54668c22f106c5ae2f",
    "BGPVPNNetAssociation": "1.0-6ad85989a6b5a42d2ea081f51b4e550c",
    "BGPVPNRouterAssociation": "1.0-91bd94bbf44e89dca8763333419e35d8",
    "BGPVPNPortAssociation": "1.0-b3d8a9e9a4d0097487eda2a3dda8d3ea",
    "BGPVPNPortAssociationRoute": "1.0-7b0d1cc829a7def0d1f4e8c0ded44072",
}


def converted(primitives: list[Any], *, reference: bool) -> dict[str, Any]:
    python, module = (
        (REFERENCE_PYTHON, "networking_bagpipe.objects.bgpvpn")
        if reference
        else (sys.executable, "bagpipe.neutron.objects")
    )
    run = subprocess.run(
        [python, str(HERE / "primitives.py"), module],
        input=json.dumps(primitives),
        env=environment(*(() if reference else (ROOT / "src",))),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def test_fingerprints_are_those_of_networking_bagpipe() -> None:
    assert converted([], reference=False)["fingerprints"] == FINGERPRINTS
    assert converted([], reference=True)["fingerprints"] == FINGERPRINTS


def test_what_either_side_sends_the_other_reads_and_says_again() -> None:
    ours, theirs = (converted([], reference=reference) for reference in (False, True))
    assert len(ours["primitives"]) == 4
    assert ours["primitives"] == theirs["primitives"]
    assert converted(ours["primitives"], reference=True)["primitives"] == ours["primitives"]
    assert converted(theirs["primitives"], reference=False)["primitives"] == theirs["primitives"]


def test_what_was_left_out_reads_as_none_or_empty() -> None:
    assert converted([], reference=False)["left out"] == [None, None, None, []]
    assert converted([], reference=True)["left out"] == [None, None, None, []]


def test_an_agent_needs_neither_networking_bgpvpn_nor_a_database() -> None:
    check = "import bagpipe.neutron.objects, sys; print([m for m in sys.modules if m.startswith('networking_bgpvpn')])"
    run = subprocess.run(
        [sys.executable, "-c", check], env=environment(ROOT / "src"), capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_objects_of_networking_bagpipe_that_are_loaded_already_are_an_error_that_says_so() -> None:
    run = subprocess.run(
        [REFERENCE_PYTHON, "-c", "import networking_bagpipe.objects.bgpvpn, bagpipe.neutron.objects"],
        env=environment(ROOT / "src"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "the objects of networking-bagpipe are loaded already" in run.stderr


def test_equal_routes_say_the_same_whatever_their_local_pref() -> None:
    check = (
        "from bagpipe.neutron.objects import BGPVPNPortAssociationRoute as R; import netaddr\n"
        "a, b, c = (R(type='prefix', prefix=netaddr.IPNetwork(p), local_pref=l) for p, l in"
        " (('40.0.0.0/24', 1), ('40.0.0.0/24', 2), ('41.0.0.0/24', 1)))\n"
        "print(a == b, len({a, b, c}), a == c, a != b)"
    )
    run = subprocess.run(
        [sys.executable, "-c", check], env=environment(ROOT / "src"), capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["True", "2", "False", "False"]
