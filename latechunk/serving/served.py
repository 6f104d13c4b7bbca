"""What a server offers: models by name, indexes by name, perhaps a reranker; loaded once, shared by all requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from latechunk.embedding import choose_embedding
from latechunk.errors import IndexMismatchError, InputError, StoreError
from latechunk.index import Index
from latechunk.protocols import Reranker, SpanEncoder
from latechunk.serving.batching import Dispatcher
from latechunk.serving.encoding import SharedEncoder
from latechunk.serving.errors import LOG, RequestError
from latechunk.serving.limits import Limits
from latechunk.serving.metrics import Metrics
from latechunk.serving.model import ServedModel
from latechunk.storage.directory import has_store
from latechunk.threads import make_lock
from latechunk.types import Mode, Settings

Offered = TypeVar("Offered")


@dataclass(frozen=True, slots=True)
class Served:
    """All that one server offers; closing it closes what was opened for it.

    Attributes:
        models: By the name that a request gives; the first is taken where it gives none.
        indexes: By name; the first likewise.
        reranker: What orders texts by a question, with its name.
        metrics: What is counted.
        dispatchers: Of the models' threads.
        private: Paths of this machine that no answer may hold, with what stands for them.
    """

    models: Mapping[str, ServedModel]
    indexes: Mapping[str, Index]
    limits: Limits
    reranker: Reranker | None = None
    reranker_name: str | None = None
    metrics: Metrics = field(default_factory=Metrics)
    dispatchers: Sequence[Dispatcher] = ()
    private: Mapping[str, str] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def model(self, name: str | None) -> ServedModel:
        """The model of this name; RequestError if there is none."""
        return _find("model", self.models, name)

    def index(self, name: str | None) -> Index:
        """The index of this name; RequestError if there is none."""
        return _find("index", self.indexes, name)


def open_served(
    paths: Sequence[Path] = (),
    *,
    encoder: SpanEncoder | Callable[[], SpanEncoder] | None = None,
    aliases: Sequence[str] = (),
    mode: Mode | None = None,
    reranker: Reranker | None = None,
    reranker_name: str | None = None,
    limits: Limits | None = None,
    runtime: Mapping[str, Any] | None = None,
) -> Served:
    """Open indexes for reading, and load their models, each once.

    Args:
        paths: Folders of indexes; each is named by its folder without ``.latechunk``.
        encoder: A further model, which comes first; a function loads it.
        aliases: Further names of the first model.
        mode: How chunk vectors are made where requests send texts; None for what each model recommends.
        reranker: Orders texts by a question.
        reranker_name: What it is called.
        limits: What one request may take.
        runtime: Arguments of ``Index.open``, such as ``device``.

    Raises:
        InputError: If two indexes have the same name.
        StoreError: If an index cannot be opened.
        ModelError: If a model cannot be loaded.
    """
    limits, metrics = limits or Limits(), Metrics()
    with ExitStack() as stack:
        encoders = _SharedEncoders(limits, metrics, stack)
        if encoder is not None:
            encoders.share(encoder() if callable(encoder) else encoder)
        indexes = _OpenIndexes()
        stack.callback(indexes.close)
        for path in paths:
            name = path.resolve().name.removesuffix(".latechunk")
            if name in indexes:
                raise InputError(f"two indexes are named {name!r}; their folders must differ in name")
            with Index.open(path, read_only=True, **(runtime or {})) as index:
                own = encoders.find(index.manifest.encoder) or encoders.share(index.encoder)
            indexes.open(name, path, own)
        models: dict[str, ServedModel] = {}
        for number, one in enumerate(encoders.shared):
            served = ServedModel(one, choose_embedding(one, mode, None), limits)
            for name in (model_name(one.settings), *(() if number else aliases)):
                models.setdefault(name, served)
        return Served(
            models=models,
            indexes=indexes,
            limits=limits,
            reranker=reranker,
            reranker_name=reranker_name,
            metrics=metrics,
            dispatchers=encoders.dispatchers,
            private=_name_paths(indexes, encoders.shared),
            _stack=stack.pop_all(),
        )


class _OpenIndexes(Mapping[str, Index]):
    """Indexes by name. Where another one was put in the place of a folder, it is opened when it is next asked for."""

    def __init__(self) -> None:
        self._opened: dict[str, Index] = {}
        self._logged: dict[str, str] = {}  # of each index that cannot be opened again why, so that the log says it once
        self._lock = make_lock()

    def open(self, name: str, path: Path, encoder: SpanEncoder) -> None:
        self._opened[name] = Index.open(path, encoder=encoder, read_only=True)

    def close(self) -> None:
        for index in self._opened.values():
            index.close()

    def __getitem__(self, name: str) -> Index:
        index = self._opened[name]
        if index.is_in_place or not has_store(index.path):  # where nothing is, what is open is searched on
            return index
        with self._lock:
            if self._opened[name] is index:
                self._reopen(name, index)
            return self._opened[name]  # the one before closes when those who search it have let it go

    def _reopen(self, name: str, index: Index) -> None:
        try:
            self.open(name, index.path, index.encoder)
            self._logged.pop(name, None)
        except IndexMismatchError as error:
            self._log(name, "the index %r was replaced by one that what is loaded does not fit", error)
            raise RequestError(
                503, f"the index {name!r} was replaced by one that was made otherwise; the server must be started again"
            ) from error
        except StoreError as error:
            self._log(name, "the index %r was changed or replaced, and cannot be opened", error)
            raise RequestError(
                503, f"the index {name!r} cannot be read at present; the server's log says why"
            ) from error

    def _log(self, name: str, what: str, error: StoreError) -> None:
        if self._logged.get(name) != str(error):
            self._logged[name] = str(error)
            LOG.error(what, name, exc_info=error)

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened)

    def __len__(self) -> int:
        return len(self._opened)


class _SharedEncoders:
    """The encoders that a server has loaded, each with a thread that all requests share; ``stack`` ends the threads."""

    def __init__(self, limits: Limits, metrics: Metrics, stack: ExitStack) -> None:
        self.shared: list[SharedEncoder] = []
        self.dispatchers: list[Dispatcher] = []
        self._limits = limits
        self._metrics = metrics
        self._stack = stack

    def find(self, settings: Settings) -> SharedEncoder | None:
        return next((one for one in self.shared if one.settings == settings), None)

    def share(self, encoder: SpanEncoder) -> SharedEncoder:
        known = self.find(encoder.settings)
        if known is None:
            limits = self._limits
            dispatcher = Dispatcher(
                batch_tokens=limits.batch_tokens, patience=limits.work_seconds, on_batch=self._metrics.note_batch
            )
            self.dispatchers.append(dispatcher)
            self._stack.callback(dispatcher.close)
            known = SharedEncoder(encoder, dispatcher)
            self.shared.append(known)
        return known


def _name_paths(indexes: Mapping[str, Index], encoders: Sequence[SharedEncoder]) -> dict[str, str]:
    """Names for the paths of this machine."""
    names = {str(Path(index.path).resolve()): name for name, index in indexes.items()}
    names |= {str(index.path): name for name, index in indexes.items()}
    return names | {str(one.settings["model"]): model_name(one.settings) for one in encoders if "model" in one.settings}


def require_indexes(paths: Sequence[Path]) -> None:
    """Raise now what ``open_served`` would raise of these indexes, without loading a model."""
    for path in paths:
        Index.open(path, read_only=True).close()


def model_name(settings: Settings) -> str:
    """What requests call a model of an encoder of these settings: its name, or that of its folder."""
    name = str(settings.get("model", "model"))
    return Path(name).name if Path(name).is_absolute() or Path(name).exists() else name


def _find(what: str, known: Mapping[str, Offered], name: str | None) -> Offered:
    if not known:
        raise RequestError(404, f"this server has no {what}")
    if name is None:
        return next(iter(known.values()))
    if name not in known:
        listed = ", ".join(map(repr, known))
        raise RequestError(
            404, f"there is no {what} {name!r:.80}; this server has {listed}", field=what, code=f"{what}_not_found"
        )
    return known[name]
