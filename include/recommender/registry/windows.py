"""Read what the gate decided on older snapshots: the windows that a stability rule counts."""

from __future__ import annotations

import datetime as dt
import json

from recommender import storage
from recommender.gate import WIN, Decision, Window
from recommender.locations import Locations, join


def earlier_windows(
    locations: Locations, recommender: str, before: dt.date, k: int, count: int
) -> tuple[Window, ...]:
    """Return how the newest ``count`` older snapshots with a decision went, the newest first.

    Only older snapshots count, so a backfill is judged by what lay before it, whatever has been
    decided since on newer ones. Of several runs over a snapshot the one decided on last counts.
    Whether its model was published does not matter: the recipe has to win, night after night.

    Args:
        locations: where the decisions are.
        recommender: whose.
        before: the snapshot of the run that is being judged.
        k: its length of lists; a window that was measured at another one is not won.
        count: how many.
    """
    if count < 1:
        return ()
    root = locations.decisions(recommender)
    dates = [name for name in storage.list_children(root) if _older(name, before)]
    return tuple(_window(join(root, date), date, k) for date in sorted(dates)[: -count - 1 : -1])


def _older(name: str, before: dt.date) -> bool:
    try:
        return dt.date.fromisoformat(name) < before
    except ValueError:  # not ours
        return False


def _window(uri: str, snapshot: str, k: int) -> Window:
    decisions = []
    for file in storage.list_files(uri):
        try:
            decisions.append(Decision.from_json(json.loads(storage.read(file.uri).data)))
        except ValueError:
            # Which of the runs was the last cannot be told, so nothing is taken for a win.
            note = f"has a decision that cannot be read ({file.uri})"
            return Window(snapshot, "", won=False, note=note)
    if not decisions:
        return Window(snapshot, "", won=False, note="has no decision")
    newest = max(decisions, key=lambda decision: decision.attempt.decided_at)
    return _judge(newest, snapshot, k)


def _judge(decision: Decision, snapshot: str, k: int) -> Window:
    run_key = decision.attempt.run_key
    if decision.attempt.k != k:
        note = f"was measured at K = {decision.attempt.k}, not {k}"
        return Window(snapshot, run_key, won=False, note=note)
    lost = [rule for rule in decision.rules if rule.name in WIN and not rule.passed]
    if lost:
        return Window(snapshot, run_key, won=False, note=f"was lost ({lost[0].sentence})")
    return Window(snapshot, run_key, won=True, note="was won")
