"""Compare two published versions: facts, metrics, and the lists that users would see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from recommender.locations import Locations

# Different in any two versions, and no setting: told elsewhere, or only noise in a comparison.
_NOT_FACTS = {"metrics", "lineage", "training", "candidate_manifest_sha256"}


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return dotted key -> both values, for every fact of two manifests that differs."""
    one, other = (
        dict(_flat({k: v for k, v in about.items() if k not in _NOT_FACTS}))
        for about in (first, second)
    )
    keys = sorted(one.keys() | other.keys())
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


def metrics(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> list[tuple[str, str, float | None, float | None]]:
    """Return (model, metric, value in the first, value in the second), in the first's order."""
    one, other = (dict(_flat(about.get("metrics", {}))) for about in (first, second))
    keys = [*one, *(key for key in other if key not in one)]
    rows = ((*key.split(".", 1), one.get(key), other.get(key)) for key in keys)
    return [row for row in rows if all(v is None or isinstance(v, int | float) for v in row[2:])]  # type: ignore[misc]  # a key has two parts


def overlap(
    locations: Locations, recommender: str, versions: tuple[str, str], *, k: int, users: int
) -> dict[str, float | int | None]:
    """Return how alike two versions are to those who use them.

    Args:
        locations: where the model store is.
        recommender: whose versions.
        versions: the two.
        k: length of the lists.
        users: how many users to compare: the same ones each time, spread over all that both know.

    Returns:
        Counts of users and items of both and in common, and the mean share of one top-K that is
        in the other's (None if no user is known to both).
    """
    from recommender import artifact, serving  # NumPy and Arrow: only where they are used

    uris = [locations.version(recommender, version) for version in versions]
    ids = [artifact.read_user_ids(uri) for uri in uris]
    models = [serving.load_version(locations.models, recommender, version) for version in versions]
    both = sorted(set(ids[0]) & set(ids[1]))
    step = max(1, len(both) // users)
    chosen = both[::step][:users]
    lists = [model.recommend(chosen, k) for model in models] if chosen else [[], []]
    shares = [len({*a.items} & {*b.items}) / k for a, b in zip(*lists, strict=True)]
    return {
        "users of A": models[0].users,
        "users of B": models[1].users,
        "users in both": len(both),
        "items of A": models[0].items,
        "items of B": models[1].items,
        "users compared": len(chosen),
        f"mean overlap of their top {k}": sum(shares) / len(shares) if shares else None,
    }


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{path}{key}.")
        else:
            yield f"{path}{key}", inner
