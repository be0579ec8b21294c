"""The transition table against RFC 4271 section 8.2.2, read by eye and by program."""

from __future__ import annotations

import pytest

from bagpipe.session.fsm import TABLE, State, Step, Trigger, transition

STARTS = (
    Trigger.MANUAL_START,
    Trigger.AUTOMATIC_START,
    Trigger.MANUAL_START_PASSIVE,
    Trigger.AUTOMATIC_START_PASSIVE,
)
CONNECTED = (State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED)
PAIRS = [(state, trigger) for state in State for trigger in Trigger if trigger is not Trigger.ANY_OTHER]


@pytest.mark.parametrize("state", State)
def test_every_state_says_what_any_other_event_does(state: State) -> None:
    assert (state, Trigger.ANY_OTHER) in TABLE


@pytest.mark.parametrize(("state", "trigger"), PAIRS)
def test_every_pair_of_state_and_event_has_its_own_row_or_the_states_default(state: State, trigger: Trigger) -> None:
    found = transition(state, trigger)
    assert found is TABLE.get((state, trigger), TABLE[state, Trigger.ANY_OTHER])


@pytest.mark.parametrize("trigger", [one for one in Trigger if one not in STARTS])
def test_nothing_but_a_start_leaves_idle(trigger: Trigger) -> None:
    assert transition(State.IDLE, trigger).state is State.IDLE


@pytest.mark.parametrize("state", [state for state in State if state is not State.IDLE])
@pytest.mark.parametrize("trigger", STARTS)
def test_a_start_is_ignored_in_every_state_but_idle(state: State, trigger: Trigger) -> None:
    assert transition(state, trigger) == ((), state)


@pytest.mark.parametrize("state", CONNECTED)
def test_an_unexpected_event_with_a_connection_is_a_finite_state_machine_error(state: State) -> None:
    steps, following = TABLE[state, Trigger.ANY_OTHER]
    assert following is State.IDLE
    assert steps.index(Step.NOTIFY) < steps.index(Step.DROP)


@pytest.mark.parametrize(("state", "trigger"), PAIRS)
def test_a_machine_without_a_connection_never_sends(state: State, trigger: Trigger) -> None:
    if state not in CONNECTED and trigger not in (Trigger.TCP_ACKED, Trigger.TCP_CONFIRMED):
        sends = {Step.NOTIFY, Step.SEND_OPEN, Step.SEND_KEEPALIVE}
        assert not sends & set(transition(state, trigger).steps)


@pytest.mark.parametrize(("state", "trigger"), PAIRS)
def test_the_speaker_hears_up_and_down_exactly_when_established_is_entered_and_left(
    state: State, trigger: Trigger
) -> None:
    steps, following = transition(state, trigger)
    assert (Step.COME_UP in steps) == (state is not State.ESTABLISHED and following is State.ESTABLISHED)
    assert (Step.GO_DOWN in steps) == (state is State.ESTABLISHED and following is not State.ESTABLISHED)


@pytest.mark.parametrize(("state", "trigger"), PAIRS)
def test_entering_idle_drops_the_connection_and_all_timers(state: State, trigger: Trigger) -> None:
    steps, following = transition(state, trigger)
    if following is State.IDLE and state is not State.IDLE:
        assert {Step.DROP, Step.STOP_TIMERS} <= set(steps)
        assert Step.DAMP not in steps or steps.index(Step.STOP_TIMERS) < steps.index(Step.DAMP)


@pytest.mark.parametrize("state", CONNECTED)
def test_a_notification_is_never_answered_by_a_notification(state: State) -> None:
    for trigger in (Trigger.NOTIFICATION, Trigger.NOTIFICATION_VERSION_ERROR):
        assert Step.NOTIFY not in transition(state, trigger).steps


@pytest.mark.parametrize(("state", "trigger"), PAIRS)
def test_only_a_stop_or_a_collision_ends_in_idle_for_good(state: State, trigger: Trigger) -> None:
    steps, following = transition(state, trigger)
    if following is State.IDLE and state is not State.IDLE:
        ends = trigger in (Trigger.MANUAL_STOP, Trigger.COLLISION_DUMP) and Step.DAMP not in steps
        assert ends or Step.DAMP in steps
