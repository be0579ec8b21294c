"""The programs under measurement, in the order of the report."""

from __future__ import annotations

from bench.evpn_inputs import EVPN
from bench.programs.bird import Bird
from bench.programs.exabgp import Exabgp
from bench.programs.frr import Frr, FrrVtep
from bench.programs.gobgp import Gobgp
from bench.programs.openbgpd import Openbgpd
from bench.programs.ours import Evi, Reflector, Speaker, Vrf
from bench.programs.program import Entry
from bench.programs.reference import Reference

ENTRIES: tuple[Entry, ...] = (
    Entry("ours", "bagpipe", Speaker(), Reflector(), Vrf(), Speaker(EVPN), Evi()),
    Entry("bird", "BIRD", Bird(), Bird()),
    Entry("openbgpd", "OpenBGPD", Openbgpd(), Openbgpd()),
    Entry("frr", "FRR", Frr(), Frr(), None, Frr(EVPN), FrrVtep()),
    Entry("gobgp", "GoBGP", Gobgp(), Gobgp(), None, Gobgp(EVPN)),
    Entry("exabgp", "ExaBGP to JSON", Exabgp(), None, None, Exabgp(EVPN)),
    Entry("reference", "reference daemon", Reference(), None, Reference(), Reference(EVPN)),
)
