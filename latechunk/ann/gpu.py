"""A flat FAISS index in, its copy on the first GPU out, where the FAISS that is installed can do that.

Written after FAISS's documentation and not run by the tests, which have neither a GPU nor a GPU build of FAISS.
"""

from __future__ import annotations

from functools import cache

import faiss


@cache
def is_there() -> bool:
    """Whether this FAISS is built for GPUs and sees one."""
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def copy_to_gpu(index: faiss.Index) -> faiss.Index:
    """Copy an index to the first GPU, which takes it as float32 and answers as the original does."""
    return faiss.index_cpu_to_gpu(_resources(), 0, index)


@cache
def _resources() -> faiss.StandardGpuResources:
    return faiss.StandardGpuResources()
