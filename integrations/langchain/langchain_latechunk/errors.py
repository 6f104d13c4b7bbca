"""What this package raises beside the errors of latechunk itself."""

from latechunk.errors import DocumentError, LateChunkError


class NotLateChunkError(LateChunkError, TypeError):
    """An embeddings object or a vector store cannot carry late-chunk vectors."""


class PreSplitError(DocumentError):
    """Pieces of a document came where the whole document is needed."""


class PreSplitWarning(UserWarning):
    """Documents look like pieces of one, though they may be whole."""
