"""The manifest of a folder of trained adapters, ``latechunk.json``, next to which each adapter has a subfolder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from latechunk.errors import InputError, LateChunkError, ModelError
from latechunk.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, require_adapter_files
from latechunk.models.catalogue import LocalGlobal, SpecialTokens, Task, TaskSet
from latechunk.models.checkpoint import Checkpoint, read_config
from latechunk.types import Mode, require_text
from latechunk.validation import Validated

MANIFEST_FILE = "latechunk.json"
FORMAT = 1

_SHIPPED = Path(__file__).parent.parent / "trained"


class AdapterManifest(Validated):
    """Adapters that were trained over one base, and how texts are best read with them.

    Several tasks may share an adapter. A ``document_task`` of None leaves documents to the base alone, a ``query_task``
    of None queries; a ``local_global`` of None means plain windows, ``window_tokens`` of None what suits the base.

    Raises:
        InputError: If a field is of the wrong type or out of range, or two contradict each other.
    """

    base: str
    base_weights_sha256: str
    tasks: tuple[Task, ...] = Field(min_length=1)
    document_task: str | None
    query_task: str | None = None
    local_global: LocalGlobal | None = None
    window_tokens: int | None = Field(default=None, ge=1)
    special_tokens: SpecialTokens = "exclude"
    mode: Mode = "late"
    late_weight: float = Field(default=0.5, gt=0, lt=1)

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        sha256 = self.base_weights_sha256
        if not self.base.strip() or len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError(
                f"base must be a name, and base_weights_sha256 the 64 hexadecimal digits of its weights, got "
                f"{self.base!r:.80} and {sha256!r:.80}"
            )
        names = [task.name for task in self.tasks]
        listed = ", ".join(map(repr, names))
        if len(set(names)) < len(names):
            raise ValueError(f"the names of tasks must differ, got {listed}")
        if not {self.document_task, self.query_task} <= {None, *names}:
            raise ValueError(
                f"document_task and query_task must be None or among the tasks {listed}, got "
                f"{self.document_task!r:.80} and {self.query_task!r:.80}"
            )
        return self

    @property
    def task_set(self) -> TaskSet:
        """What there are adapters for."""
        return TaskSet(tasks=self.tasks, document_task=self.document_task, query_task=self.query_task)


class _ManifestFile(AdapterManifest):
    """A manifest as its file holds it."""

    error: ClassVar[type[LateChunkError]] = ModelError

    format: int

    @model_validator(mode="after")
    def _file_is_whole(self) -> Self:
        if missing := sorted(type(self).model_fields.keys() - self.model_fields_set):
            raise ValueError(f"the file must have all fields; missing: {', '.join(missing)}")
        return self


@dataclass(frozen=True, slots=True)
class FoundAdapters:
    """Trained adapters with the folder that they lie in.

    ``label`` is what an index calls them: the model's name for shipped ones, else the folder's path.
    """

    label: str
    folder: Path
    manifest: AdapterManifest
    sha256: str


def find_adapters(
    checkpoint: Checkpoint, adapters: str | None, tasks: Sequence[str | None] = ()
) -> FoundAdapters | None:
    """Find the trained adapters of a model: ``"auto"`` for those shipped for it, None for none, else a folder.

    ``tasks`` are asked for by name, and thus part of the fingerprint.

    Returns:
        None if there are none; also for ``"auto"`` where the checkpoint has adapters of its own.

    Raises:
        InputError: If ``adapters`` is something else, or None for a model that is nothing without its own.
        ModelError: If the folder is not there, damaged, of a newer format, or made over other weights.
    """
    known = checkpoint.known
    if adapters is None:
        _require_usable_base(checkpoint)
        return None
    require_text(adapters, "adapters", InputError)
    if not adapters.strip():
        raise InputError('adapters must be "auto", None or a folder that training wrote, got a blank string')
    if adapters != "auto":
        folder = _resolve(adapters)
        label = str(folder)
    elif known and known.trained:
        label, folder = known.name, shipped_folder(known.trained)
    else:
        return None
    manifest = read_adapter_manifest(folder)
    found = FoundAdapters(label, folder, manifest, fingerprint(folder, manifest, tasks))
    _require_base(checkpoint, found)
    return found


def shipped_folder(name: str) -> Path:
    """The folder, within latechunk, of the adapters that are shipped under a name."""
    return _SHIPPED / name


def read_adapter_manifest(folder: Path) -> AdapterManifest:
    """Read what a folder of trained adapters says of itself.

    Raises:
        ModelError: If its file is missing, damaged, of a newer format, or a field of it is invalid.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        what = "there is no such folder" if not folder.is_dir() else f"it has no {MANIFEST_FILE}"
        raise ModelError(
            f"trained adapters were looked for in {folder}, and {what}; name a folder that training wrote, or bring it "
            f"back to where it was"
        )
    try:
        content = path.read_bytes()
        _require_format(content)
        read = _ManifestFile.from_json(content)
    except (OSError, ModelError) as error:
        raise ModelError(f"{path} cannot be read as latechunk writes it: {error}") from error
    return AdapterManifest(**{name: getattr(read, name) for name in AdapterManifest.model_fields})


def write_adapter_manifest(folder: Path, manifest: AdapterManifest) -> None:
    """Write the manifest of a folder of trained adapters into it, in place of one that is there."""
    content = {"format": FORMAT, **manifest.model_dump()}
    unfinished = folder / f"{MANIFEST_FILE}.new"
    unfinished.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(folder / MANIFEST_FILE)


def fingerprint(folder: Path, manifest: AdapterManifest, tasks: Sequence[str | None] = ()) -> str:
    """SHA-256 over what decides vectors: base and tasks, and settings and weights of their adapters.

    The tasks are those of documents and queries and the given ones: a folder that gets another task still fits the
    indexes that were made with it. How texts are read and chunk vectors made is left out: an index records that.
    """
    used = {manifest.document_task, manifest.query_task, *tasks}
    all_tasks = manifest.task_set
    task_set = all_tasks.replaced(tasks=tuple(task for task in all_tasks.tasks if task.name in used))
    adapters = {}
    for name in all_tasks.adapters:
        require_adapter_files(str(folder), folder / name)
    for name in task_set.adapters:
        adapters[name] = [read_config(folder / name / ADAPTER_CONFIG), _hash_file(folder / name / ADAPTER_WEIGHTS)]
    deciding = [manifest.base_weights_sha256, task_set.model_dump(), adapters]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _require_format(content: bytes) -> None:
    """Tell a file of a newer format from a damaged one; what else is wrong with it is for the validation to say."""
    try:
        found: Any = json.loads(content)["format"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return
    if type(found) is not int or found != FORMAT:
        raise ModelError(f"it is of format {found!r:.20}, and this latechunk reads format {FORMAT}; upgrade latechunk")


def _resolve(adapters: str) -> Path:
    try:
        return Path(adapters).expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, an unknown user
        raise ModelError(f"adapters must name a folder that training wrote, got {adapters!r:.200}: {error}") from error


def _hash_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


def _require_usable_base(checkpoint: Checkpoint) -> None:
    """Raise for a model whose base alone was never trained to embed: its vectors would look right and mean little."""
    known = checkpoint.known
    if known and known.tasks:
        raise InputError(
            f"adapters=None is for models that embed without adapters, and {checkpoint.name!r} only does under those "
            f"of its checkpoint, {', '.join(task.name for task in known.tasks)}; leave adapters out"
        )


def _require_base(checkpoint: Checkpoint, found: FoundAdapters) -> None:
    if found.manifest.base_weights_sha256 != checkpoint.weights_sha256:
        raise ModelError(
            f"the adapters at {found.folder} were trained over {found.manifest.base!r}, with weights of SHA-256 "
            f"{found.manifest.base_weights_sha256}, and {checkpoint.name!r} has {checkpoint.weights_sha256}; load the "
            f"base that they were made for, or pass adapters=None to go without them"
        )
