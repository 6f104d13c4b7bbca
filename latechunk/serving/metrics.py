"""Counts and times of a server, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """What one server counts; each has its own."""

    def __init__(self) -> None:
        """Count from zero."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "latechunk_requests", "Requests answered.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "latechunk_request_seconds", "From head to answer.", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self._tokens = Counter("latechunk_encoded_tokens", "Tokens that went through a model.", registry=self._registry)
        self._batches = Histogram(
            "latechunk_batch_texts",
            "Texts that went through a model together.",
            buckets=_TEXTS,
            registry=self._registry,
        )
        self._in_progress = Gauge(
            "latechunk_requests_in_progress", "Requests at work or waiting.", registry=self._registry
        )
        self._waiting = Gauge("latechunk_waiting_tokens", "Tokens that wait for a model.", registry=self._registry)

    def note_batch(self, n_texts: int, n_tokens: int) -> None:
        """Count a pass of a model."""
        self._batches.observe(n_texts)
        self._tokens.inc(n_tokens)

    def note_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; ``route`` is one of the server's, not what a client wrote."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def watch(self, in_progress: Callable[[], float], waiting_tokens: Callable[[], float]) -> None:
        """Ask these when the metrics are read."""
        self._in_progress.set_function(in_progress)
        self._waiting.set_function(waiting_tokens)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)
