"""Decide how long to wait: between two looks at a cluster, and before another attempt. Pure."""

from __future__ import annotations

from collections.abc import Callable

# A task that comes back from a deferral before Airflow's scheduler has heard of the worker's end is
# taken for killed: "finished with state success, but the task instance's state attribute is queued",
# and a retry is spent. A worker may notice the end only at its next heartbeat, five seconds later
# (`workers.min_heartbeat_interval`; seen 5.0 to 5.3 s after it), and the scheduler looks about once a second.
SHORTEST_PAUSE = 8.0
_LONGEST_BACK_OFF = 20.0  # units: ten minutes at the 30 s of a real account
_SPREAD = 0.5
_JITTER = 0.1  # a tenth more or less keeps many waits out of step
_GROWTH = 2.0  # a cluster that has been looked at twice is looked at half as often
_LONGEST_LOOK = 10.0  # in pauses, while EMR throttles or does not answer


def back_off(attempt: int, unit: float, draw: Callable[[float, float], float]) -> float:
    """Return how long to wait before the attempt after this one, in seconds.

    Doubles with each attempt and is spread by half to both sides, so that stages that failed
    together do not come back together. Never less than ``SHORTEST_PAUSE``.

    Args:
        attempt: the one that failed, 1 is the first.
        unit: seconds, the environment's ``poll_seconds``.
        draw: uniform random number between two bounds.
    """
    longest = min(_LONGEST_BACK_OFF, 2.0 ** (attempt - 1) * 2)
    return max(SHORTEST_PAUSE, unit * longest * draw(1 - _SPREAD, 1 + _SPREAD))


def look_pause(
    poll_seconds: float, looks: int, failures: int, draw: Callable[[float, float], float]
) -> float:
    """Return the seconds until the next look at a cluster.

    EMR's bucket for DescribeCluster refills once a second per account and Region, whoever asks. So
    the pause is doubled once a state has been seen twice (nothing new is near), each failure
    doubles it again, and chance keeps waits that began together from looking together.

    Args:
        poll_seconds: the shortest pause, the environment's.
        looks: how often the cluster was seen in the state it is in.
        failures: looks in a row that got no answer.
        draw: uniform random number between two bounds.
    """
    pause = poll_seconds * (_GROWTH if looks > 1 else 1.0)
    if failures:
        pause = poll_seconds * min(_LONGEST_LOOK, 2.0**failures)
    return pause * draw(1 - _JITTER, 1 + _JITTER)
