"""Read the items that must not be recommended: a text file with one item id a line."""

from __future__ import annotations

from recommender import storage
from recommender.errors import BadDataError, ConfigError, NotFoundError


def read(uri: str | None) -> tuple[str, ...]:
    """Return the ids of a deny list, in order, each once; blank lines are left out.

    Args:
        uri: the file; None denies nothing.

    Raises:
        ConfigError: there is no such file: what must not be recommended is not known.
        BadDataError: it is not text in UTF-8.
    """
    if uri is None:
        return ()
    try:
        data = storage.read(uri).data
    except NotFoundError as error:
        message = (
            f"expected a deny list at {uri}, found nothing: nobody knows what must not be "
            "recommended. Put the file there (an empty one denies nothing), or name no deny list"
        )
        raise ConfigError(message) from error
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        message = f"{uri}: expected one item id a line in UTF-8, found other bytes: {error}"
        raise BadDataError(message) from error
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
