"""Read the parts of a report that measure a part of the population, or two models' lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recommender.gate.document import Node, refuse
from recommender.gate.policy import CANDIDATE, CHAMPION, Action

COHORTS = ("light", "medium", "heavy")
ITEM_GROUPS = ("head", "tail")
# Cohort means are float64 sums of the same values in another order.
_MEAN_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Group:
    """Measure a part of the population: a cohort of users, or a group of items.

    Attributes:
        size: users of the cohort; held-out interactions of the item group.
        recall: Recall@K in it of the candidate, the declared baselines and any champion.
        gain_error: standard error of the candidate's mean paired gain over each of the others.
    """

    size: int
    recall: dict[str, float]
    gain_error: dict[str, float]


def read_cohorts(root: Node, recall: Mapping[str, float], users: int) -> dict[str, Group]:
    """Read the cohorts: together they are the population, and their recalls average to its own."""
    # A cohort that nobody falls into is not in the report; the count below sees one left out.
    there = [name for name in COHORTS if root["cohorts"].has(name)]
    groups = _groups(root["cohorts"], there, "users", list(recall))
    counted = sum(group.size for group in groups.values())
    if counted != users:
        refuse(
            f"the cohorts are of another population: they count {counted:,} users, the report "
            f"measures {users:,}"
        )
    for name, whole in recall.items():
        mean = sum(g.size * g.recall[name] for g in groups.values()) / users if users else 0.0
        if abs(mean - whole) > _MEAN_TOLERANCE:
            refuse(
                f"the cohorts are of another population: their recalls of {name} average to "
                f"{mean:g}, the report measures {whole:g}"
            )
    return groups


def read_item_groups(root: Node, models: Sequence[str], held_out: int) -> dict[str, Group]:
    """Read head and tail: every held-out row is of the one or the other."""
    groups = _groups(root["items"], ITEM_GROUPS, "held_out", models)
    counted = sum(group.size for group in groups.values())
    if counted != held_out:
        refuse(
            f"the item groups are of another population: they count {counted:,} held-out "
            f"interactions, the report measures {held_out:,}"
        )
    return groups


def _groups(node: Node, names: Sequence[str], size: str, models: Sequence[str]) -> dict[str, Group]:
    groups = {}
    for name in names:
        recall, error = node[name]["recall"], node[name]["gain_error"]
        groups[name] = Group(
            node[name][size].count(),
            {model: recall[model].number(0, 1) for model in models},
            {model: error[model].number(0, 1) for model in models if model != CANDIDATE},
        )
    return groups


def read_overlap(root: Node, action: Action) -> float | None:
    """Read the overlap with the champion; without it a rule that only warns has nothing to say."""
    if action == "off":
        return None
    if action == "warn" and not root.has("overlap", CHAMPION):
        return None
    return root["overlap"][CHAMPION].number(0, 1)
