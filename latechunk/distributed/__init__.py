"""Embedding beyond one index: part files that any number of processes and machines fill, and what is made of them."""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from latechunk.errors import MissingDependencyError
from latechunk.printing import how_to_install

if importlib.util.find_spec("pyarrow") is None:
    raise MissingDependencyError(
        f"embedded documents are Parquet files, which need pyarrow; {how_to_install('parquet')}"
    )

from latechunk.distributed.estimate import Estimate, estimate_embedding
from latechunk.distributed.folder import EmbeddedFolder
from latechunk.distributed.importing import import_folders
from latechunk.distributed.local import embed_folder
from latechunk.distributed.outcomes import EmbedReport, Outcome, read_all
from latechunk.distributed.pushing import PushReport, push_folders
from latechunk.distributed.reading import read_embedded, remove_documents

if TYPE_CHECKING:
    from latechunk.distributed.ray_data import embed_dataset as embed_dataset
    from latechunk.distributed.ray_data import embed_dataset_to as embed_dataset_to
    from latechunk.distributed.ray_data import read_files as read_files
    from latechunk.distributed.ray_data import start_ray as start_ray
    from latechunk.distributed.worker import Workers as Workers

_RAY = {
    **dict.fromkeys(("embed_dataset", "embed_dataset_to", "read_files", "start_ray"), "ray_data"),
    "Workers": "worker",
}

__all__ = [
    "EmbedReport",
    "EmbeddedFolder",
    "Estimate",
    "Outcome",
    "PushReport",
    "embed_folder",
    "estimate_embedding",
    "import_folders",
    "push_folders",
    "read_all",
    "read_embedded",
    "remove_documents",
]


def __getattr__(name: str) -> Any:
    """The names that need Ray, loaded at first use."""
    if name not in _RAY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_RAY[name]}"), name)
