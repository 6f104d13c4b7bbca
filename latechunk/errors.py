"""Every error that latechunk raises on purpose, as one tree under LateChunkError."""


class LateChunkError(Exception):
    """Base of all errors of this package; its message says what was needed, what came, what to do."""


class InputError(LateChunkError, ValueError):
    """An argument is of the wrong type, out of range, or contradicts another."""


class DocumentError(InputError):
    """A document cannot be indexed; the message names it by its id."""


class QueryError(InputError):
    """A query cannot be searched for."""


class FilterError(InputError):
    """A metadata filter is not one; the message names the place in it."""


class SpanError(InputError):
    """A span lies outside its text, is empty, or holds no token."""


class ModelError(LateChunkError):
    """A model is missing, incomplete, altered, or gives unusable vectors."""


class PoolingError(ModelError):
    """A model was not trained with mean pooling, so late chunking does not fit it."""


class MissingDependencyError(LateChunkError, ImportError):
    """An optional package, or the data it needs, is not installed."""


class StoreError(LateChunkError):
    """The index on disk cannot be used, or could not be written; what it held before is intact."""


class IndexMissingError(StoreError, FileNotFoundError):
    """There is no index at the given path."""


class IndexExistsError(StoreError, FileExistsError):
    """There is something at the path where an index was to be created."""


class IndexFormatError(StoreError):
    """The folder is not an index, is incomplete, or is of a format this version cannot read."""


class IndexDamagedError(StoreError):
    """The database of an index is damaged."""


class IndexMismatchError(StoreError):
    """The encoder, chunker or mode in hand differs from what made the index."""


class IndexBusyError(StoreError):
    """Another writer is at work on the index."""


class IndexReadOnlyError(StoreError):
    """A change was asked of an index that was opened for reading only."""


class TransferError(LateChunkError):
    """A file to import is not a whole and sound export of an index; the message names the line or row."""
