"""Every exception the product raises on purpose, so that a caller can tell ours from a bug.

Each message says what was expected, what was found and what to do. None of these is worth a
retry: the same input fails the same way again.
"""


class RecommenderError(Exception):
    """Any failure that has a name and a remedy."""


class ConfigError(RecommenderError):
    """A configuration file or an override is wrong."""


class SnapshotError(RecommenderError):
    """A snapshot is missing, empty or of an unknown format."""


class BadDataError(RecommenderError):
    """The raw data breaks the contract: too many bad lines, mixed formats, a torn file."""


class TornFileError(BadDataError):
    """A gzip file could not be read to its end."""


class EmptyDatasetError(RecommenderError):
    """Nothing is left to train on or to measure on."""


class ManifestError(RecommenderError):
    """A directory has no manifest, or its files differ from the manifest."""


class ReportError(RecommenderError):
    """A report is missing or cannot be read."""


class ConflictError(RecommenderError):
    """A conditional write lost: the object is not what the writer believed."""


class PrunedError(RecommenderError):
    """A version has been deleted by retention and does not come back."""


class NotReproducedError(RecommenderError):
    """A version, made again from its manifest, came out different or not at all."""


class NotFoundError(RecommenderError):
    """An object that has to exist does not."""


class StorageError(RecommenderError):
    """S3 or the disk refused, after the retries that made sense."""
