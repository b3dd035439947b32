"""The protocol of a commit under every schedule that a machine can think of, and in processes that are stopped."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.world import FAULTS, World

SCHEDULES = int(os.environ.get("MOLINO_SCHEDULES", "200"))  # of all kinds together
KINDS = ("disk", "nfs", "store")
# an attempt is some 60 steps. Who: which of those at work; steps: how many it does; then what happens, and `far`
MOMENTS = st.tuples(
    st.integers(0, 3),
    st.one_of(st.integers(0, 6), st.integers(0, 70)),
    st.sampled_from(
        ["", "kill", "begin", "overtake", "overtake", "read", "sleep", "fault", "fault", "trouble", "free"]
    ),
    st.integers(0, 4),
    st.integers(0, 90),
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=SCHEDULES // len(KINDS) + 1,
    deadline=None,
    database=None,
    derandomize=SCHEDULES == 200,
    suppress_health_check=list(HealthCheck),
)
@given(schedule=st.lists(MOMENTS, min_size=2, max_size=12))
def test_no_schedule_leaves_a_mixture_or_loses_an_update(kind, schedule, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        world = World(kind, tmp_path_factory.mktemp("world"), patch)
        world.begin("a")
        for who, steps, event, which, far in schedule:
            at_work = [actor for actor in world.actors if not actor.over] or [world.begin("abc"[which % 3])]
            actor = at_work[who % len(at_work)]
            world.go(actor, steps)
            if event == "kill":
                world.kill(actor)
            elif event == "begin" and len(at_work) < 5:
                world.begin("abc"[which % 3], tries=1 + which % 2)
            elif event == "overtake" and len(at_work) < 5:
                # one that finds the others standing still for longer than a lease, and goes far or comes to its end
                rival = world.begin("abc"[which % 3], tries=1 + which % 2)
                world.go(rival, 15)
                world.now += 40.0
                world.go(rival, far if far < 80 else 500)
            elif event == "read":
                world.read()
            elif event == "sleep":
                world.now += (3.0, 8.0, 40.0)[which % 3]
            elif event == "fault" and kind == "store":
                world.faults.append(FAULTS[which])
            elif event == "trouble":
                world.troubles.append(FAULTS[which])
            elif event == "free" and which == 0:
                world.free()
        world.close()
