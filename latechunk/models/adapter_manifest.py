"""A folder of trained adapters in, what they are, over which base and for which tasks out; and the way back.

The folder holds ``latechunk.json``, which this module reads, checks and writes, and a subfolder for each adapter, as
peft writes them. It is the whole of what training hands over to the encoder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from latechunk.errors import InputError, ModelError
from latechunk.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, require_adapter_files
from latechunk.models.catalogue import KnownModel, LocalGlobal, Mode, SpecialTokens, Task, TaskSet
from latechunk.models.checkpoint import Checkpoint, read_config
from latechunk.types import require_text

BUNDLE_FILE = "latechunk.json"
FORMAT = 1

_SHIPPED = Path(__file__).parent.parent / "trained"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Adapters that were trained over one base, and how texts are best read with them.

    Attributes:
        base: What the base is called; a label.
        base_weights_sha256: Fingerprint of its weights, as :class:`latechunk.models.checkpoint.Checkpoint` has it.
        tasks: What there are adapters for, with unique names; several may share an adapter.
        document_task: The task of documents, by name.
        query_task: The task of queries; None if the base reads them without an adapter.
        local_global: How a long text is read, None for in plain windows.
        window_tokens: Tokens read together, special tokens and prompt included; None for what suits the base.
        special_tokens: Which special tokens count in means.
        mode: How chunk vectors are best made.
        late_weight: Share of the late vector in a blend, strictly between 0 and 1.

    Raises:
        InputError: If a field is of the wrong type or out of range, or two contradict each other.
    """

    base: str
    base_weights_sha256: str
    tasks: tuple[Task, ...]
    document_task: str
    query_task: str | None = None
    local_global: LocalGlobal | None = None
    window_tokens: int | None = None
    special_tokens: SpecialTokens = "exclude"
    mode: Mode = "late"
    late_weight: float = 0.5

    def __post_init__(self) -> None:
        require_text(self.base, "base", InputError)
        require_text(self.base_weights_sha256, "base_weights_sha256", InputError)
        if not self.base.strip() or not _SHA256.fullmatch(self.base_weights_sha256):
            raise InputError(
                f"base must be a name, and base_weights_sha256 the 64 hexadecimal digits of its weights, got "
                f"{self.base!r:.80} and {self.base_weights_sha256!r:.80}"
            )
        _require_tasks(self.tasks, self.document_task, self.query_task)
        _require_reading(self.local_global, self.window_tokens)
        _require_one_of("special_tokens", self.special_tokens, get_args(SpecialTokens))
        _require_one_of("mode", self.mode, get_args(Mode))
        if not isinstance(self.late_weight, float) or not 0 < self.late_weight < 1:
            raise InputError(f"late_weight must be a float strictly between 0 and 1, got {self.late_weight!r:.80}")

    @property
    def task_set(self) -> TaskSet:
        """What there are adapters for."""
        return TaskSet(self.tasks, self.document_task, self.query_task)


@dataclass(frozen=True, slots=True)
class FoundBundle:
    """A bundle with the folder that it was read from.

    Attributes:
        label: What an index calls it: the model's name for what is shipped with latechunk, else the folder's path.
        folder: Where its adapters lie.
        content: What its file says.
        sha256: Fingerprint of what decides vectors in it; see :func:`fingerprint`.
    """

    label: str
    folder: Path
    content: Bundle
    sha256: str


def find_bundle(checkpoint: Checkpoint, adapters: str | None) -> FoundBundle | None:
    """Find the trained adapters of a model.

    Args:
        checkpoint: The model.
        adapters: ``"auto"`` for those that are shipped for it, None for none, else a folder.

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
        found = _find(str(folder), folder)
    elif known and known.trained:
        found = _find(known.name, shipped_folder(known.trained))
    else:
        return None
    _require_base(checkpoint, found)
    return found


def shipped_folder(name: str) -> Path:
    """The folder, within latechunk, of the adapters that are shipped under a name."""
    return _SHIPPED / name


def read_bundle(folder: Path) -> Bundle:
    """Read what a folder of trained adapters says of itself.

    Raises:
        ModelError: If its file is missing, damaged, of a newer format, or a field of it cannot be.
    """
    path = folder / BUNDLE_FILE
    if not path.is_file():
        what = "there is no such folder" if not folder.is_dir() else f"it has no {BUNDLE_FILE}"
        raise ModelError(
            f"trained adapters were looked for in {folder}, and {what}; name a folder that training wrote, or bring it "
            f"back to where it was"
        )
    try:
        return _to_bundle(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, OverflowError, RecursionError) as error:  # an InputError is a ValueError
        raise ModelError(f"{path} cannot be read as latechunk writes it: {error}") from error


def write_bundle(folder: Path, bundle: Bundle) -> None:
    """Write what a folder of trained adapters is into it.

    Raises:
        OSError: If the disk does not take it.
    """
    content = {"format": FORMAT, **dataclasses.asdict(bundle)}
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    (folder / BUNDLE_FILE).write_text(text, encoding="utf-8")


def fingerprint(folder: Path, bundle: Bundle) -> str:
    """SHA-256 over what decides vectors: base and tasks, and settings and weights of every adapter.

    How texts are read and chunk vectors made is left out: an index records that by itself.

    Raises:
        ModelError: If a file of an adapter is missing or cannot be read.
    """
    adapters = {}
    for name in bundle.task_set.adapters:
        require_adapter_files(str(folder), folder / name)
        adapters[name] = [read_config(folder / name / ADAPTER_CONFIG), _hash_file(folder / name / ADAPTER_WEIGHTS)]
    deciding = [bundle.base_weights_sha256, dataclasses.asdict(bundle.task_set), adapters]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def _find(label: str, folder: Path) -> FoundBundle:
    content = read_bundle(folder)
    return FoundBundle(label, folder, content, fingerprint(folder, content))


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
    known: KnownModel | None = checkpoint.known
    if known and known.tasks:
        raise InputError(
            f"adapters=None is for models that embed without adapters, and {checkpoint.name!r} only does under those "
            f"of its checkpoint, {', '.join(task.name for task in known.tasks)}; leave adapters out"
        )


def _require_base(checkpoint: Checkpoint, found: FoundBundle) -> None:
    if found.content.base_weights_sha256 != checkpoint.weights_sha256:
        raise ModelError(
            f"the adapters at {found.folder} were trained over {found.content.base!r}, with weights of SHA-256 "
            f"{found.content.base_weights_sha256}, and {checkpoint.name!r} has {checkpoint.weights_sha256}; load the "
            f"base that they were made for, or pass adapters=None to go without them"
        )


def _require_one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r:.80}")


def _require_tasks(tasks: tuple[Task, ...], document_task: str, query_task: str | None) -> None:
    if not isinstance(tasks, tuple) or not tasks or not all(isinstance(task, Task) for task in tasks):
        raise InputError(f"tasks must be a tuple of at least one latechunk.models.catalogue.Task, got {tasks!r:.80}")
    for task in tasks:
        for name in ("name", "adapter", "prompt"):
            require_text(getattr(task, name), f"the {name} of a task", InputError)
        if not task.name.strip():
            raise InputError("the name of a task must not be blank")
        if not _PLAIN_NAME.fullmatch(task.adapter):
            raise InputError(
                f"the adapter of a task must be the plain name of a subfolder, of letters, digits, - and _, got "
                f"{task.adapter!r:.80}"
            )
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise InputError(f"the names of tasks must differ, got {', '.join(map(repr, names))}")
    if document_task not in names or (query_task is not None and query_task not in names):
        raise InputError(
            f"document_task and query_task must be among the tasks {', '.join(map(repr, names))}, of which query_task "
            f"may be None, got {document_task!r:.80} and {query_task!r:.80}"
        )


def _require_reading(local_global: LocalGlobal | None, window_tokens: int | None) -> None:
    if local_global is not None and not isinstance(local_global, LocalGlobal):
        raise InputError(f"local_global must be a latechunk.LocalGlobal or None, got {local_global!r:.80}")
    is_count = isinstance(window_tokens, int) and not isinstance(window_tokens, bool)
    if window_tokens is not None and (not is_count or window_tokens < 1):
        raise InputError(f"window_tokens must be a whole number of at least 1 or None, got {window_tokens!r:.80}")


def _to_bundle(content: Any) -> Bundle:
    """Make a bundle of what JSON gave.

    Raises:
        InputError: If it is no bundle of this format.
    """
    if not isinstance(content, dict) or content.get("format") is None:
        raise InputError(f"it must be a JSON object with a format, got {content!r:.80}")
    if content["format"] != FORMAT or isinstance(content["format"], bool):
        raise InputError(
            f"it is of format {content['format']!r:.20}, and this latechunk reads format {FORMAT}; upgrade latechunk"
        )
    fields = {name: value for name, value in content.items() if name != "format"}
    _require_fields("the file", fields, {field.name for field in dataclasses.fields(Bundle)})
    tasks, nested = fields["tasks"], fields["local_global"]
    if not isinstance(tasks, list):
        raise InputError(f"tasks must be a list, got {tasks!r:.80}")
    return Bundle(
        **{
            **fields,
            "tasks": tuple(_to_task(task) for task in tasks),
            "local_global": None if nested is None else _to_local_global(nested),
        }
    )


def _to_task(content: Any) -> Task:
    return Task(**_require_fields("a task", content, {field.name for field in dataclasses.fields(Task)}))


def _to_local_global(content: Any) -> LocalGlobal:
    types = {field.name: field.type for field in dataclasses.fields(LocalGlobal)}
    values: dict[str, Any] = {}
    for name, value in _require_fields("local_global", content, set(types)).items():
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole and (types[name] == "int" or not isinstance(value, float)):
            raise InputError(f"{name} of local_global must be of the type {types[name]}, got {value!r:.80}")
        values[name] = value if types[name] == "int" else float(value)
    return LocalGlobal(**values)


def _require_fields(what: str, content: Any, names: set[str]) -> Mapping[str, Any]:
    """Let only a JSON object with just these fields pass."""
    if not isinstance(content, dict):
        raise InputError(f"{what} must be a JSON object, got {content!r:.80}")
    if content.keys() != names:
        missing, unknown = sorted(names - content.keys()), sorted(content.keys() - names)
        raise InputError(
            f"{what} must have the fields {', '.join(sorted(names))}; missing: {', '.join(missing) or 'none'}, "
            f"unknown: {', '.join(unknown)[:80] or 'none'}"
        )
    return content
