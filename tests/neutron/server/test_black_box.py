"""The drivers under other people's rules: networking-bgpvpn's own tests, the oldest Neutron that is supported."""

from __future__ import annotations

import pytest

from tests.neutron.server.runs import OURS, V1, V2, oldest, sent, steps, suite

pytestmark = pytest.mark.limit(500)


@pytest.mark.parametrize("driver", [V1, V2])
def test_the_api_passes_the_tests_of_networking_bgpvpn(driver: str) -> None:
    ran = suite(driver).result()
    assert ran.status == 0, ran.text[-4000:]


@pytest.mark.parametrize("driver", [V1, V2])
def test_neutron_of_2024_2_tells_agents_the_same(driver: str) -> None:
    ran = oldest(driver).result()
    assert ran.answer is not None, ran.text[-3000:]
    newest = steps("story.py", f"{OURS}.{driver}")
    assert [step for step in newest if sent(newest, step) != sent(ran.answer, step)] == []
