"""The programs under measurement, in the order of the report."""

from __future__ import annotations

from bench.programs.bird import Bird
from bench.programs.exabgp import Exabgp
from bench.programs.frr import Frr
from bench.programs.gobgp import Gobgp
from bench.programs.openbgpd import Openbgpd
from bench.programs.ours import Reflector, Speaker, Vrf
from bench.programs.program import Entry
from bench.programs.reference import Reference

ENTRIES: tuple[Entry, ...] = (
    Entry("ours", "bagpipe", Speaker(), Reflector(), Vrf()),
    Entry("bird", "BIRD", Bird(), Bird()),
    Entry("openbgpd", "OpenBGPD", Openbgpd(), Openbgpd()),
    Entry("frr", "FRR", Frr(), Frr()),
    Entry("gobgp", "GoBGP", Gobgp(), Gobgp()),
    Entry("exabgp", "ExaBGP to JSON", Exabgp(), None),
    Entry("reference", "reference daemon", Reference(), None, Reference()),
)
