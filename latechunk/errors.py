"""Every error that latechunk raises on purpose.

Catch a branch to catch all under it::

    LateChunkError
    ├── InputError (also a ValueError)            an argument is wrong
    │   ├── DocumentError                         of a document
    │   ├── QueryError                            of a query
    │   ├── FilterError                           of a metadata filter
    │   └── SpanError                             of a range of characters
    ├── ModelError                                a model is missing, altered, or gives unusable vectors
    │   └── PoolingError                          it is not mean-pooled
    ├── MissingDependencyError (also an ImportError)
    ├── StoreError                                an index cannot be used or written
    │   ├── IndexMissingError (also a FileNotFoundError)
    │   ├── IndexExistsError (also a FileExistsError)
    │   ├── IndexFormatError                      it is no index, or of another format
    │   ├── IndexDamagedError                     its database is damaged
    │   ├── IndexMismatchError                    it was made with another encoder or chunker
    │   ├── IndexBusyError                        another writer is at work
    │   └── IndexReadOnlyError                    it was opened for reading only
    └── TransferError                             a file to import is no sound export
"""


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
    """The index on disk cannot be used or written. What was committed before the error stays, nothing else does."""


class IndexMissingError(StoreError, FileNotFoundError):
    """There is no index at the given path."""


class IndexExistsError(StoreError, FileExistsError):
    """There is something at the path where an index was to be created."""


class IndexFormatError(StoreError):
    """The folder is not an index, is incomplete, or is of a format this version cannot read."""


class IndexDamagedError(StoreError):
    """The database of an index is damaged."""


class IndexMismatchError(StoreError):
    """The given encoder or chunker differs from what made the index."""


class IndexBusyError(StoreError):
    """Another writer is at work on the index."""


class IndexReadOnlyError(StoreError):
    """A change was asked of an index that was opened for reading only."""


class TransferError(LateChunkError):
    """A file to import is not a whole and sound export of an index; the message names the line or row."""
