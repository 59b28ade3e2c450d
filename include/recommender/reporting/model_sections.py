"""Lay out what was measured of the models, with a plot and its table for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from recommender.gate import CANDIDATE
from recommender.gate.groups import COHORTS, ITEM_GROUPS
from recommender.gate.policy import CHAMPION
from recommender.reporting import figures
from recommender.reporting import wording as w
from recommender.reporting.material import Item, Material
from recommender.reporting.style import Look, looks
from recommender.reporting.wording import Absent

# Metric, its heading, its digits; those that no model has are left out of the table.
_METRICS = (
    ("ndcg", "NDCG", 4),
    ("map", "MAP", 4),
    ("mrr", "MRR", 4),
    ("precision", "precision", 4),
    ("hit_rate", "hit rate", 4),
    ("coverage", "coverage", 3),
    ("novelty", "novelty", 2),
    ("popularity_bias", "popularity bias", 2),
    ("seconds_fit", "fit (s)", 1),
)
_TRIALS = 8


def _report(material: Material) -> Mapping[str, Any]:
    if material.report is None:
        message = "There is no report of this run."
        raise Absent(message)
    return material.report


def _looks(report: Mapping[str, Any]) -> dict[str, Look]:
    """Give every model of the report its look: by name, so that it is the same on every page."""
    return looks(sorted(report["models"]))


def _by_recall(report: Mapping[str, Any]) -> list[str]:
    models = report["models"]
    return sorted(models, key=lambda name: (-models[name]["recall"], name != CANDIDATE))


def leaderboard(material: Material) -> dict[str, Any]:
    """Return every model with its interval, the best first, and how the candidate stands to it."""
    report = _report(material)
    models, names = report["models"], _by_recall(report)
    gains = {entry["baseline"]: entry for entry in report["comparisons"]}
    shown = [m for m in _METRICS if any(models[name].get(m[0]) is not None for name in names)]
    rows = []
    for name in names:
        scores, gain = models[name], gains.get(name)
        low, high = scores["recall_ci"]
        rows.append(
            {
                "name": name,
                "role": w.role(name, material.decision.policy.baselines),
                "recall": w.number(scores["recall"]),
                "interval": f"{low:.4f} to {high:.4f}",
                "others": [w.number(scores.get(key), digits) for key, _, digits in shown],
                "gain": w.percent(gain["relative"]) if gain else "",
                "gain_interval": f"{gain['ci_low']:+.4f} to {gain['ci_high']:+.4f}" if gain else "",
                "candidate": name == CANDIDATE,
            }
        )
    points = [(n, models[n]["recall"], tuple(models[n]["recall_ci"])) for n in names]
    population = report["population"]
    return {
        "k": report["k"],
        "users": w.count(population["users"]),
        "held_out": w.count(population["held_out"]),
        "headings": [heading for _, heading, _ in shown],
        "rows": rows,
        "plot": figures.leaderboard(report["k"], points, _looks(report)),
    }


def curves(material: Material) -> dict[str, Any]:
    """Return recall and NDCG over the length of the list."""
    found = _report(material).get("curves")
    if not found:
        message = "The report has no curves over K."
        raise Absent(message)
    names = [n for n in _by_recall(_report(material)) if n in found["recall"]]
    recall = {name: found["recall"][name] for name in names}
    ndcg = {name: found["ndcg"][name] for name in names}
    return {
        "ks": found["k"],
        "tables": [
            (title, [(name, [w.number(v) for v in values[name]]) for name in names])
            for title, values in (("Recall@K", recall), ("NDCG@K", ndcg))
        ],
        "plot": figures.curves(found["k"], recall, ndcg, _looks(_report(material))),
    }


def training(material: Material) -> dict[str, Any]:
    """Return why this engine fitted, how the setting was found and how the fit went."""
    found = _report(material).get("training") or {}
    curve = [(int(p["iteration"]), float(p["recall"])) for p in found.get("validation_curve") or []]
    loss = [float(value) for value in found.get("train_loss") or []]
    trials = list((material.search or {}).get("trials") or [])
    engine = (found.get("engine") or {}).get("why")
    if not (curve or loss or trials or engine):
        message = "The run has kept no curve of its training and no search."
        raise Absent(message)
    ranked = sorted(trials, key=lambda trial: -trial["recall"])[:_TRIALS]
    keys = list(ranked[0]["setting"]) if ranked else []
    return {
        "engine": engine,
        "plot": figures.training(curve, [trial["recall"] for trial in trials], loss)
        if curve or loss or trials
        else None,
        "curve": [(iteration, w.number(recall)) for iteration, recall in curve],
        "trials": len(trials),
        "headings": [key.replace("_", " ") for key in keys],
        "rows": [
            (
                w.number(trial["recall"]),
                [_setting(trial["setting"][key]) for key in keys],
                w.number(trial.get("seconds"), 1),
            )
            for trial in ranked
        ],
    }


def _setting(value: object) -> str:
    return w.NOTHING if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def groups(material: Material) -> dict[str, Any]:
    """Return recall for cohorts of users and for head and tail items, and for newcomers."""
    report = _report(material)
    cohorts = _in_order(report.get("cohorts"), COHORTS)
    items = _in_order(report.get("items"), ITEM_GROUPS)
    if not cohorts and not items:
        message = "The report does not tell cohorts of users or groups of items apart."
        raise Absent(message)
    names = _shown(report, material.decision.policy.baselines)
    panels = {
        title: {
            part: {name: values["recall"][name] for name in names} for part, values in found.items()
        }
        for title, found in (("users, by what they took before", cohorts), ("items", items))
        if found
    }
    return {
        "plot": figures.groups(panels, _looks(report)),
        "names": names,
        "rows": [*_cohort_rows(cohorts, names), *_item_rows(items, names)],
        "cold": list(_cold(report.get("cold"))),
    }


def _in_order(found: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found} if found else {}


def _shown(report: Mapping[str, Any], baselines: Sequence[str]) -> list[str]:
    """Return the models that a comparison by group is about: candidate, champion, baselines."""
    wanted = [CANDIDATE, CHAMPION, *baselines]
    return [name for name in wanted if name in report["models"]]


def _cohort_rows(
    cohorts: Mapping[str, Any], names: Sequence[str]
) -> Iterator[tuple[str, str, list[str]]]:
    for name, cohort in cohorts.items():
        low, high = cohort.get("rows") or (None, None)
        size = f"{cohort['users']:,} users"
        size += "" if low is None else f" with {low:,} to {high:,} interactions"
        yield f"{name} users", size, [w.number(cohort["recall"][model]) for model in names]


def _item_rows(
    items: Mapping[str, Any], names: Sequence[str]
) -> Iterator[tuple[str, str, list[str]]]:
    for name, part in items.items():
        size = f"{part['items']:,} items, {part['held_out']:,} held-out interactions"
        yield f"{name} items", size, [w.number(part["recall"][model]) for model in names]


def _cold(cold: object, above: str = "new") -> Iterator[tuple[str, str]]:
    """Yield the numbers about newcomers: (name, value)."""
    if not isinstance(cold, Mapping):
        return
    for key, value in cold.items():
        name = f"{above} {key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _cold(value, f"{name}:" if above == "new" else name)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, w.count(value)
        elif isinstance(value, float):
            yield name, w.number(value)


def overlap(material: Material) -> dict[str, Any]:
    """Return which share of the candidate's lists each other model shows, too."""
    found = _report(material).get("overlap")
    if not found:
        message = "The report does not say how much of the lists is shared."
        raise Absent(message)
    rows = sorted(found.items(), key=lambda pair: (pair[0] != CHAMPION, -pair[1]))
    return {
        "k": _report(material)["k"],
        "rows": [(name, w.percent(share), max(0.0, min(1.0, share)) * 100) for name, share in rows],
    }


def samples(material: Material) -> dict[str, Any]:
    """Return ten users: what they had, the champion's list, the candidate's, what they then took."""
    if not material.samples:
        message = "The run has kept no sample of users."
        raise Absent(message)
    return {
        "titled": bool(material.items),
        "users": [_sample(user, material.items) for user in material.samples],
    }


def _sample(user: Mapping[str, Any], items: Mapping[str, Item]) -> dict[str, Any]:
    taken = set(user["held_out"])
    after = user["lists"][CANDIDATE]
    before = user["lists"].get(CHAMPION)
    return {
        "user": user["user"],
        "cohort": user["cohort"],
        "history": [_name(item, items)["title"] for item in user["history"]],
        "held_out": [_name(item, items)["title"] for item in user["held_out"]],
        "before": None if before is None else [_entry(i, items, taken, None) for i in before],
        "after": [
            _entry(i, items, taken, None if before is None else i not in before) for i in after
        ],
        "hits": (None if before is None else len(taken & set(before)), len(taken & set(after))),
    }


def _entry(
    item: str, items: Mapping[str, Item], taken: set[str], new: bool | None
) -> dict[str, Any]:
    return {**_name(item, items), "hit": item in taken, "new": bool(new)}


def _name(item: str, items: Mapping[str, Item]) -> dict[str, str]:
    known = items.get(item) or Item()
    category = (known.category or "").rpartition(" > ")[2]  # the rest of the path is the same aisle
    about = [part for part in (known.brand, category) if part]
    return {
        "id": item,
        "title": known.title or item,
        "about": " · ".join(about if known.title else []),
    }
