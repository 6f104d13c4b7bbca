"""Embedding beyond one index: part files that any number of processes and machines fill, and what is made of them."""

import importlib.util

from latechunk.errors import MissingDependencyError

if importlib.util.find_spec("pyarrow") is None:
    raise MissingDependencyError(
        'embedded documents are Parquet files, which need pyarrow: pip install "latechunk[parquet]"'
    )

from latechunk.distributed.estimate import Estimate, estimate_embedding
from latechunk.distributed.folder import EmbeddedFolder
from latechunk.distributed.importing import import_folders
from latechunk.distributed.local import embed_folder
from latechunk.distributed.outcomes import EmbedReport, Outcome, read_all

__all__ = [
    "EmbedReport",
    "EmbeddedFolder",
    "Estimate",
    "Outcome",
    "embed_folder",
    "estimate_embedding",
    "import_folders",
    "read_all",
]
