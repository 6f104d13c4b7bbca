"""Flat search of faiss on a GPU beside the CPU; how often both find the same nearest vector."""

from __future__ import annotations

from typing import Any

import numpy as np
from common import time_in_turn


def measure_faiss(n_vectors: int, rounds: int, *, dims: int = 384, n_queries: int = 100) -> dict[str, Any]:
    """Time 10 neighbours of ``n_queries`` queries at once, and one query, among unit vectors."""
    import faiss

    n_gpus = getattr(faiss, "get_num_gpus", lambda: 0)()
    rng = np.random.default_rng(0)
    vectors, queries = (unit(rng.normal(size=(n, dims)).astype(np.float32)) for n in (n_vectors, n_queries))
    on_cpu = faiss.IndexFlatIP(dims)
    on_cpu.add(vectors)
    figures: dict[str, Any] = {"n_vectors": n_vectors, "dims": dims, "n_gpus": n_gpus, "faiss": faiss.__version__}
    indexes = {"cpu": on_cpu}
    if n_gpus:
        indexes["gpu"] = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, on_cpu)
    else:
        figures["left_out"] = "this build of faiss finds no GPU; install faiss-gpu-cuvs in place of faiss-cpu"
    for name, index in indexes.items():
        many, one = time_in_turn(
            [lambda i=index: i.search(queries, 10), lambda i=index: i.search(queries[:1], 10)], rounds
        )
        figures[name] = {"ms_per_query_of_100": round(10 * many, 3), "ms_of_one": round(1_000 * one, 3)}
    first = {name: index.search(queries, 1)[1] for name, index in indexes.items()}
    if n_gpus:
        figures["same_nearest"] = float((first["cpu"] == first["gpu"]).mean())
    return figures


def unit(vectors: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled
