"""The same API calls with the drivers of networking-bgpvpn and with ours: agents are told the same, but for defects."""

from __future__ import annotations

import pytest

from tests.neutron.server.runs import OURS, REFERENCE, V1, V2, Steps, sent, steps

# What the reference's drivers leave out, tell too early or refuse, by step of the story.
MENDED = {
    "another extra route to it",
    "association without its extra routes",
    "bgpvpn gets what it has",
    "bgpvpn is renamed",  # by v1
    "bgpvpn of a port gets other targets",
    "bgpvpn of a port is deleted",
    "bgpvpn with route distinguishers created",
    "external network associated",
    "extra route removed by the call for it",
    "extra route to a machine",
    "extra route to nobody",
    "extra routes advertised again",
    "extra routes no longer advertised",
    "interface added to an associated router",  # v1 says the same twice
    "interface removed from an associated router",
    "last interface removed",
    "leaked bgpvpn gets other targets",
    "leaked bgpvpn is deleted",
    "port association gets what it has",
    "port association without fixed addresses",  # and keeps its routes
    "port of DHCP associated",
    "port on an external network associated",
    "pull of the next hop",
    "second interface added",  # v1 says the same twice
}
ONLY_V1 = {"bgpvpn is renamed", "interface added to an associated router", "second interface added"}


def story(driver: str, *, reference: bool = False) -> Steps:
    return steps("story.py", f"{REFERENCE if reference else OURS}.{driver}", reference=reference)


@pytest.mark.parametrize(("driver", "mended"), [(V2, MENDED - ONLY_V1), (V1, MENDED)])
@pytest.mark.limit(500)
def test_agents_are_told_what_the_reference_tells_but_for_what_is_mended(driver: str, mended: set[str]) -> None:
    ours, theirs = story(driver), story(driver, reference=True)
    assert ours.keys() == theirs.keys()
    different = {
        step
        for step in ours
        if sent(ours, step) != sent(theirs, step) or ours[step].get("status") != theirs[step].get("status")
    }
    assert different == mended


@pytest.mark.parametrize("driver", [V1, V2])
def test_nothing_is_told_before_the_commit(driver: str) -> None:
    ours = story(driver)
    told = [message for step in ours.values() for message in step["sent"] if "topic" in message]
    assert len(told) > 30
    assert not any(message["before the commit"] for message in told)


@pytest.mark.parametrize("driver", [V1, V2])
@pytest.mark.limit(500)
def test_the_drivers_of_networking_bgpvpn_tell_the_same_with_our_objects(driver: str) -> None:
    theirs = story(driver, reference=True)
    compat = steps("story.py", f"{REFERENCE}.{driver}", compat=True)
    different = {step for step in theirs if sent(theirs, step) != sent(compat, step)}
    # Asked by the agent of the next hop, our objects answer for extra routes whatever the driver.
    assert different == {"pull of the next hop"}
