"""The registry of NLRI codecs."""

from __future__ import annotations

import pytest

from bagpipe.wire.family import CARRIED, Family
from bagpipe.wire.nlri import CODECS


def test_every_family_that_is_carried_has_its_codec() -> None:
    assert set(CODECS) == set(CARRIED)
    assert {family: codec.family for family, codec in CODECS.items()} == {family: family for family in CARRIED}


@pytest.mark.parametrize("family", CARRIED, ids=str)
def test_an_empty_field_has_no_routes(family: Family) -> None:
    assert list(CODECS[family].split(b"")) == []
    assert list(CODECS[family].split_withdrawn(b"")) == []
    assert list(CODECS[family].split_add_path(b"")) == []
