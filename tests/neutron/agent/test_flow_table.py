"""The table of flows: whatever is wanted in whatever order, and however often sending fails, none is left behind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bagpipe.neutron.agent.flow_table import FlowTable
from bagpipe.neutron.agent.flows import Bridge, Flow, Normal, Output, matching

FLOWS = st.builds(
    Flow,
    bridge=st.sampled_from(list(Bridge)),
    table=st.sampled_from((2, 21)),
    priority=st.sampled_from((1, 2)),
    match=st.sampled_from((matching({"dl_vlan": 5}), matching({"dl_vlan": 6, "dl_dst": "fa:16:3e:00:00:01"}))),
    actions=st.sampled_from(((Normal(),), (Output(3),), (Output(4),))),
)
WISHES = st.tuples(st.sampled_from((None, "net1", "net2")), st.frozensets(FLOWS, max_size=4))
# What becomes of a step: done, refused before it did anything, or done without an answer.
OUTCOMES = st.sampled_from(("done", "refused", "unanswered", "restarted"))


@given(st.lists(st.tuples(WISHES, OUTCOMES), max_size=20))
def test_the_switch_has_just_what_is_wanted_once_a_step_is_done(story: list[tuple[object, str]]) -> None:
    # given a switch, and steps that work, fail or are done without an answer
    table, switch = FlowTable(), {}
    for (owner, flows), outcome in story:  # type: ignore[misc]
        table.want(owner, flows)
        if outcome == "restarted":
            switch.clear()
            table.lost()
            continue
        step = table.step()
        if outcome != "refused":
            switch.update({flow.place: flow for flow in step.added})
            for flow in step.removed:
                switch.pop(flow.place, None)
        if outcome == "done":
            table.confirmed(step)
    # when one works
    step = table.step()
    switch.update({flow.place: flow for flow in step.added})
    for flow in step.removed:
        switch.pop(flow.place, None)
    table.confirmed(step)
    # then the switch has what is wanted, and nothing is left to do
    assert set(switch.values()) == table.desired
    assert not table.step()


@given(st.frozensets(FLOWS, min_size=1))
def test_what_is_removed_names_the_match_that_it_was_added_with(flows: frozenset[Flow]) -> None:
    table = FlowTable()
    table.want("net", flows)
    first = table.step()
    table.confirmed(first)
    table.want("net", frozenset())
    assert {flow.place for flow in table.step().removed} == {flow.place for flow in first.added}
