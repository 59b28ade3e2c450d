"""Follow the champion: serve the version in use, and its successor once that is loaded whole.

The pointer is looked at from a thread of its own, by one conditional GET a look. A new version is
fetched, verified and loaded beside the old one, which answers meanwhile; then one assignment puts
it in place. A version that is damaged is logged and never served.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import weakref
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import Self

from recommender import storage
from recommender.errors import ManifestError, NotFoundError, RecommenderError
from recommender.gate import ChampionRef
from recommender.locations import Locations
from recommender.serving.lists import Interaction, RankedList
from recommender.serving.load import VERSION, load_model
from recommender.serving.model import ServedModel

_log = logging.getLogger(__name__)
_DAMAGED_SECONDS = (
    600.0  # a damaged version is fetched again after this: somebody may have mended it
)


class Champion:
    """Recommend by the version in use; any number of threads may ask.

    Use as a context manager, or ``close`` it, to stop following. After a fork (a server that
    loads before it forks) the thread does not exist in the child: load in the child, or call
    ``refresh`` there.
    """

    def __init__(self, models: str, recommender: str) -> None:
        self._locations = Locations("", "", models)
        self._recommender = recommender
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._etag: str | None = None
        self._damaged = ("", 0.0)  # the pointer's ETag, and until when to leave it alone
        self._model, self._etag = self._load_first()

    @property
    def model(self) -> ServedModel:
        """Return the version in use. Keep it to answer several questions from the same one."""
        return self._model

    @property
    def version(self) -> str:
        """Return the id of the version in use."""
        return self._model.version

    def recommend(
        self,
        user_ids: Sequence[str],
        k: int = 20,
        *,
        exclude_seen: bool = True,
        exclude: Collection[str] = (),
    ) -> list[RankedList]:
        """Rank all items for each user; see ``ServedModel.recommend``."""
        return self._model.recommend(user_ids, k, exclude_seen=exclude_seen, exclude=exclude)

    def recommend_from(
        self,
        interactions: Iterable[Interaction],
        k: int = 20,
        *,
        exclude_seen: bool = True,
        exclude: Collection[str] = (),
    ) -> RankedList:
        """Rank all items for somebody known by interactions; see ``ServedModel.recommend_from``."""
        return self._model.recommend_from(
            interactions, k, exclude_seen=exclude_seen, exclude=exclude
        )

    def similar(
        self, item_ids: Sequence[str], k: int = 20, *, exclude: Collection[str] = ()
    ) -> list[RankedList]:
        """Rank all other items for each item; see ``ServedModel.similar``."""
        return self._model.similar(item_ids, k, exclude=exclude)

    def popular(self, k: int = 20, *, exclude: Collection[str] = ()) -> RankedList:
        """Return the items with most users; see ``ServedModel.popular``."""
        return self._model.popular(k, exclude=exclude)

    def refresh(self) -> bool:
        """Look at the pointer now and load a version that it newly names.

        Returns:
            Whether another version is in use now. Whatever is wrong with the pointer, the new
            version or S3 is logged, and the version in use stays.
        """
        with self._refreshing:
            try:
                return self._refresh()
            except RecommenderError as error:
                _log.error(f"version {self.version} stays in use: {error}")
                return False

    def follow(self, seconds: float) -> None:
        """Look at the pointer every so many seconds, from a daemon thread, until ``close``.

        Raises:
            ValueError: the pause is not above zero.
        """
        if not seconds > 0:
            message = f"refresh_seconds: expected more than 0, or None, found {seconds}"
            raise ValueError(message)
        threading.Thread(
            target=_follow,
            args=(weakref.ref(self), self._stop, seconds),
            name=f"recsys-{self._recommender}",
            daemon=True,
        ).start()

    def close(self) -> None:
        """Stop following; the version in use can still be asked."""
        self._stop.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _load_first(self) -> tuple[ServedModel, str]:
        uri = self._locations.champion(self._recommender)
        try:
            stored = storage.read(uri)
        except NotFoundError as error:
            message = (
                f"expected the champion of {self._recommender} at {uri}, found none: no version "
                "has been promoted yet"
            )
            raise NotFoundError(message) from error
        return self._load(_parse(stored.data, uri)), stored.etag

    def _refresh(self) -> bool:
        uri = self._locations.champion(self._recommender)
        stored = storage.read_if_changed(uri, self._etag)
        if stored is None:
            return False
        champion = _parse(stored.data, uri)
        if champion.version == self.version:
            self._etag = stored.etag
            return False
        damaged, until = self._damaged
        if damaged == stored.etag and time.monotonic() < until:
            return False
        try:
            model = self._load(champion)
        except ManifestError:
            self._damaged = stored.etag, time.monotonic() + _DAMAGED_SECONDS
            raise
        before, self._model, self._etag = self.version, model, stored.etag
        _log.info(f"version {model.version} is in use, after {before}")
        return True

    def _load(self, champion: ChampionRef) -> ServedModel:
        # By the store's layout, not by the record's URI: a copy of the store serves itself.
        uri = self._locations.version(self._recommender, champion.version)
        return load_model(uri, VERSION, champion.version, sha256=champion.manifest_sha256)


def load_champion(
    models: str, recommender: str, *, refresh_seconds: float | None = 60.0
) -> Champion:
    """Load the version in use and follow it.

    Args:
        models: root of the model store, as in the environment's ``models``
            (``s3://bucket[/prefix]`` or a local directory).
        recommender: name of the recommender.
        refresh_seconds: pause between two looks at the pointer, each a conditional GET; None
            looks only when ``refresh`` is called.

    Raises:
        NotFoundError: nothing has been promoted yet.
        ManifestError: the version in use is damaged: there is nothing older to fall back on.
        StorageError: S3 or the disk refused.
    """
    champion = Champion(models, recommender)
    if refresh_seconds is not None:
        champion.follow(refresh_seconds)
    return champion


def _parse(data: bytes, uri: str) -> ChampionRef:
    try:
        return ChampionRef.from_json(json.loads(data))
    except ValueError as error:
        message = f"expected the champion's record at {uri}, found something else: {error}"
        raise ManifestError(message) from error


def _follow(reference: weakref.ref[Champion], stop: threading.Event, seconds: float) -> None:
    """Refresh as long as somebody holds the champion; never die of an error."""
    while not stop.wait(seconds):
        champion = reference()
        if champion is None:
            return
        try:
            champion.refresh()
        except Exception:  # noqa: BLE001 - the thread's boundary: it has to look again
            _log.exception("could not look for a new version; the one in use stays")
        del champion
