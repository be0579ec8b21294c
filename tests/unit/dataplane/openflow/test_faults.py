"""The names of a switch's errors, against those that os-ken has."""

from __future__ import annotations

import pytest
from os_ken.ofproto import ofproto_v1_5 as registry

from bagpipe.dataplane.openflow.batches import BatchRefused, BatchResult, Fate
from bagpipe.dataplane.openflow.codec import decode, encode
from bagpipe.dataplane.openflow.faults import EXPERIMENTER, NICIRA, Refused, SwitchError
from bagpipe.dataplane.openflow.flows import FlowMod, FlowsRequest

# The prefix of the codes of each error type that is spoken of in flow-mods, group-mods, bundles and monitors.
PREFIXES = {
    "OFPET_HELLO_FAILED": "OFPHFC_",
    "OFPET_BAD_REQUEST": "OFPBRC_",
    "OFPET_BAD_ACTION": "OFPBAC_",
    "OFPET_BAD_INSTRUCTION": "OFPBIC_",
    "OFPET_BAD_MATCH": "OFPBMC_",
    "OFPET_FLOW_MOD_FAILED": "OFPFMFC_",
    "OFPET_GROUP_MOD_FAILED": "OFPGMFC_",
    "OFPET_BUNDLE_FAILED": "OFPBFC_",
    "OFPET_FLOW_MONITOR_FAILED": "OFPMOFC_",
}
# os-ken's slips: names that differ from OpenFlow 1.5.1 section 7.5.4.
SPELLED_OTHERWISE = {
    "OFPBRC_BAD_EXPERIMENTER_TYPE": "OFPBRC_BAD_EXP_TYPE",
    "OFPBRC_MULTIPART_REPLY_TIMEOU": "OFPBRC_MULTIPART_REPLY_TIMEOUT",
    "OFPBRC_IS_SLAVE": "OFPBRC_IS_SLAVE",
    "OFPBIC_BAD_EXPERIMENTER_TYPE": "OFPBIC_BAD_EXP_TYPE",
    "OFPBAC_BAD_EXPERIMENTER_TYPE": "OFPBAC_BAD_EXP_TYPE",
}


@pytest.mark.parametrize("kind", sorted(PREFIXES))
def test_each_error_has_the_name_that_is_registered(kind: str) -> None:
    number = getattr(registry, kind)
    codes = {name: code for name, code in vars(registry).items() if name.startswith(PREFIXES[kind])}
    assert codes
    named = {SwitchError(number, code).name: code for code in codes.values()}
    assert named == {SPELLED_OTHERWISE.get(name, name): code for name, code in codes.items()}


def test_an_error_without_a_name_keeps_its_numbers() -> None:
    assert SwitchError(5, 99).name == "error 5/99"
    assert SwitchError(77, 1).name == "error 77/1"
    assert SwitchError(EXPERIMENTER, 77, experimenter=NICIRA).name == "experimenter 0x2320 error 77"
    assert SwitchError(EXPERIMENTER, 2, experimenter=NICIRA).name == "NXBRC_NXM_INVALID"


def test_a_refusal_says_what_was_asked_and_what_was_said() -> None:
    error = SwitchError(1, 9, b"beginning")
    assert str(Refused(FlowsRequest(), error)) == "FlowsRequest refused: OFPBRC_BAD_TABLE_ID"
    assert decode(encode(error, 5)) == (5, error)


def test_a_batch_tells_the_fate_of_each_message() -> None:
    changes = (FlowMod(0), FlowMod(1))
    each = BatchResult(changes, {1: SwitchError(5, 1)})
    together = BatchResult(changes, {1: SwitchError(5, 1)}, is_applied=False)
    assert [each.fate(0), each.fate(1)] == [Fate.APPLIED, Fate.REFUSED]
    assert [together.fate(0), together.fate(1)] == [Fate.UNDONE, Fate.REFUSED]
    assert list(each.refused) == [(changes[1], SwitchError(5, 1))]
    with pytest.raises(BatchRefused, match=r"1 of 2 refused, the first: add .*table=1.*: OFPFMFC_TABLE_FULL"):
        each.check()
    BatchResult(changes, {}).check()
