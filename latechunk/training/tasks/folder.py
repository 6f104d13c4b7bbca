"""The folder of adapters that gets a task: which one it is, and its manifest with the task."""

from __future__ import annotations

from pathlib import Path

from latechunk.encoding.encoder import Encoder
from latechunk.errors import InputError
from latechunk.models.adapter_manifest import MANIFEST_FILE, AdapterManifest, read_adapter_manifest, shipped_folder
from latechunk.models.catalogue import Task, find_known_model
from latechunk.training.request import label_of
from latechunk.training.run import recorded_settings
from latechunk.training.tasks.request import TextTrainingRequest
from latechunk.training.warm_start import require_same_base


def find_folder(request: TextTrainingRequest) -> Path | None:
    """The adapters that the folder gets: its own, or in a new one those that the model has; None if there are none.

    Raises:
        InputError: If the folder has the task, or holds something else.
        ModelError: If its adapters are damaged.
    """
    out = request.out
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder")
    known = find_known_model(request.base)
    shipped = shipped_folder(known.trained) if known and known.trained else None
    if (out / MANIFEST_FILE).is_file():
        if has_task(request):
            raise InputError(f"{out} has the task {request.task!r} already; choose another folder with --out")
    elif others := sorted(_names(out) - _left_by(request, shipped)):
        raise InputError(
            f"--out {out} holds {', '.join(others[:5])}, and no finished adapters; name a folder that training "
            f"finished, an empty one, or one that does not exist yet"
        )
    if recorded_settings(out, request.run) and not request.resume:
        raise InputError(f"{out} holds a run that is not finished; continue it with --resume, or choose another --out")
    return out if (out / MANIFEST_FILE).is_file() else shipped


def _names(folder: Path | None) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder and folder.is_dir() else set()


def _left_by(request: TextTrainingRequest, shipped: Path | None) -> set[str]:
    """What a run of the request has put into a folder, if it ended anywhere before the manifest, which is last."""
    has_begun = recorded_settings(request.out, request.run) is not None
    return {request.run, *({request.adapter, *_names(shipped)} if has_begun else ())}


def has_task(request: TextTrainingRequest) -> bool:
    """Whether the folder has the task; ModelError if its manifest is damaged."""
    is_there = (request.out / MANIFEST_FILE).is_file()
    return is_there and read_adapter_manifest(request.out).task_set.find(request.task) is not None


def add_task(request: TextTrainingRequest, encoder: Encoder, found: Path | None) -> AdapterManifest:
    """The manifest of the folder with the task; ModelError if its adapters are of another base."""
    own = encoder.settings
    task = Task(name=request.task, adapter=request.adapter, prompt=own["query_prompt"])
    if found is not None:
        manifest = read_adapter_manifest(found)
        require_same_base(found, manifest, request.base, encoder)
        return manifest.replaced(tasks=(*manifest.tasks, task))
    _, plan = encoder.parts
    recommended = encoder.recommended_embedding
    return AdapterManifest(
        base=label_of(request.base),
        base_weights_sha256=own["weights_sha256"],
        tasks=(task,),
        document_task=None,
        local_global=plan.local_global,
        special_tokens=own["special_tokens"],
        mode=recommended["mode"],
        late_weight=recommended["late_weight"],
    )
