"""Commands that ask a model: ``recommend`` for a user, ``similar`` to an item."""

from __future__ import annotations

from recommender import registry
from recommender.cli.command import Answer, Commands, Scope, positive
from recommender.cli.output import Table
from recommender.errors import NotFoundError
from recommender.registry import catalogue


def register(commands: Commands) -> None:
    """Add the commands of this group."""
    recommend = commands.add(
        "recommend",
        recommend_to,
        "Show what a version recommends to users.",
        "A user that the version does not know gets the popular items; the column `source` says so.",
    )
    recommend.add_argument(
        "--user", metavar="ID", dest="ids", action="append", required=True, help="repeatable"
    )
    recommend.add_argument(
        "--include-seen", action="store_true", help="do not leave out what the user has already"
    )
    similar = commands.add("similar", similar_to, "Show the items whose factors are nearest.")
    similar.add_argument(
        "--item", metavar="ID", dest="ids", action="append", required=True, help="repeatable"
    )
    for parser in (recommend, similar):
        parser.add_argument("--k", type=positive, default=10, help="length (default: %(default)s)")
        parser.add_argument("--version", metavar="VERSION", help="(default: the champion)")


def recommend_to(scope: Scope) -> Answer:
    """Rank items for users."""
    return _ask(scope, "user")


def similar_to(scope: Scope) -> Answer:
    """Rank items by their likeness to others."""
    return _ask(scope, "item")


def _ask(scope: Scope, kind: str) -> Answer:
    from recommender import serving  # NumPy and Arrow: not for the commands that need neither

    asked = scope.arguments
    name = asked.version or _champion(scope)
    if asked.version:
        catalogue.known_version(scope.locations, scope.recommender, name)
    model = serving.load_version(scope.environment.models, scope.recommender, name)
    if kind == "user":
        lists = model.recommend(asked.ids, asked.k, exclude_seen=not asked.include_seen)
    else:
        lists = model.similar(asked.ids, asked.k)
    entries = [list(zip(r.items, r.scores, model.titles(r.items), strict=True)) for r in lists]
    document = [
        {kind: r.of, "source": r.source, "version": r.version,
         "items": [{"item": i, "score": s, "title": t} for i, s, t in own]}
        for r, own in zip(lists, entries, strict=True)
    ]  # fmt: skip
    titled = any(title for own in entries for _, _, title in own)  # else there was no metadata
    rows = [
        (r.of, rank, item, score, r.source, *([title] if titled else []))
        for r, own in zip(lists, entries, strict=True)
        for rank, (item, score, title) in enumerate(own, start=1)
    ]
    columns = (kind, "rank", "item", "score", "source", *(["title"] if titled else []))
    return Answer(document, (f"version {name}", Table(columns, rows)))


def _champion(scope: Scope) -> str:
    found = registry.read_champion(scope.locations, scope.recommender)
    if found is None:
        message = (
            f"expected a champion of {scope.recommender}, found none: no version has been promoted "
            "yet. --version takes one of `recsys list`."
        )
        raise NotFoundError(message)
    return found[0].version
