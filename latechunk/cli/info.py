"""The commands that say what there is: info, of an index, and models."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latechunk.cli.console import errors_explained, megabytes, print_json, stderr_console
from latechunk.cli.options import Attention, Device, Dtype, IndexPath, Json
from latechunk.printing import printable

if TYPE_CHECKING:
    from latechunk.manifest import IndexInfo
    from latechunk.models.catalogue import KnownModel


def info_command(
    index: IndexPath,
    load: Annotated[bool, typer.Option("--load", help="Load the model, and show how it runs here.")] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    attention: Attention = "auto",
    ids: Annotated[bool, typer.Option("--ids", help="Print the ids of its documents instead, one a line.")] = False,
    as_json: Json = False,
) -> None:
    """Print what an index is, holds, and was made with."""
    from latechunk.index import Index

    with (
        errors_explained(stderr_console()),
        Index.open(index, read_only=True, device=device, dtype=dtype, attention=attention) as opened,
    ):
        if ids:
            _print_ids(opened.ids(), as_json)
            return
        info = opened.info()
        here = dict(getattr(opened.encoder, "runtime", {})) if load else None
        if as_json:
            print_json(dataclasses.asdict(info) | ({"here": here} if load else {}))
        else:
            _print_info(info, here)


def models_command(as_json: Json = False) -> None:
    """List the models that latechunk knows, and those that late chunking does not fit.

    Any other mean-pooled model in the format of sentence-transformers loads by its repository or folder too.
    """
    from latechunk.models.catalogue import KNOWN_MODELS, REFUSED_MODELS

    if as_json:
        print_json(
            {
                "known": [model.model_dump() for model in KNOWN_MODELS],
                "refused": [model.model_dump() for model in REFUSED_MODELS],
            }
        )
        return
    for model in KNOWN_MODELS:
        typer.echo(f"{model.name}  ({model.repository or f'package {model.package}'})")
        for name, value in _describe_model(model).items():
            typer.echo(f"  {name:<11}{value}")
    typer.echo("\nRefused, since their token embeddings were not trained to be averaged:")
    for refused in REFUSED_MODELS:
        typer.echo(f"  {refused.family}: {refused.reason}")


def _print_ids(ids: list[str], as_json: bool) -> None:
    if as_json:
        print_json(ids)
        return
    for one in ids:
        typer.echo(printable(one))


def _print_info(info: IndexInfo, here: dict[str, Any] | None) -> None:
    encoder = info.encoder
    lines = {
        "path": f"{info.path} (format {info.format})",
        "documents": f"{info.n_documents:,}",
        "chunks": f"{info.n_chunks:,}, with {info.n_tokens:,} tokens in all",
        "size": megabytes(info.size_bytes),
        "model": f"{encoder.get('model')}" + (f" at {encoder['revision']}" if encoder.get("revision") else ""),
        "weights": f"SHA-256 {encoder.get('weights_sha256')}",
        "dimensions": str(encoder.get("dims")),
        "windows": f"{encoder.get('window_tokens')} tokens, overlapping by {encoder.get('overlap_tokens')}; "
        f"special tokens in means: {encoder.get('special_tokens')}",
        "context": _describe_context(encoder.get("local_global")),
        "mode": ", ".join(f"{value}" for value in info.embedding.values()),
        **{
            f"chunker {name}" if len(info.chunkers) > 1 else "chunker": ", ".join(
                f"{name} {value}" for name, value in chunker.items() if value not in (None, False)
            )
            for name, chunker in info.chunkers.items()
        },
        "search": f"vectors {info.search.get('vectors')}"
        + (f" (first pass {info.search['first_pass_dims']} dims)" if info.search.get("first_pass_dims") else "")
        + (f" in {info.search['precision']}" if info.search.get("precision") != "float32" else "")
        + (", words" if info.search.get("words") else ", no lexical search"),
        "adapters": f"{encoder['adapters']}, SHA-256 {encoder.get('adapters_sha256')}"
        if encoder.get("adapters")
        else "",
        "task": f"documents {encoder['document_task']}, queries {encoder['query_task'] or 'without an adapter'}"
        if encoder.get("document_task")
        else "",
        "made": ", ".join(f"{name} {value}" for name, value in info.made.items() if name != "on"),
        "made on": _describe_runtime(info.made.get("on")),
        "here": _describe_runtime(here),
    }
    for name, value in lines.items():
        if value:
            typer.echo(f"{name:<12}{value}")


def _describe_runtime(runtime: dict[str, Any] | None) -> str:
    if not runtime:
        return ""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in runtime.items() if value is not False)


def _describe_context(local_global: dict[str, Any] | None) -> str:
    if not local_global:
        return "each window in one plain pass"
    return "local-global, " + ", ".join(f"{name} {value}" for name, value in local_global.items())


def _describe_model(model: KnownModel) -> dict[str, str]:
    sizes = ", ".join(str(size) for size in (*model.matryoshka, model.dims))
    lines = {
        "dims": sizes,
        "window": f"{model.window_tokens:,} tokens"
        + (", with local-global context 8,192" if model.local_global else ""),
        "reads": "documents in chunks, with a separator between them" if model.reads_chunks else "",
        "tasks": ", ".join(task.name for task in model.tasks),
        "adapters": "trained by latechunk, shipped with it" if model.trained else "",
        "licence": model.licence + ("" if model.is_open else "  (restricts use)"),
        "comes with": f"the package {model.package}, no download" if model.package else "",
        "not usable": model.obstacle or "",
        "note": model.note,
        "source": model.source,
    }
    return {name: value for name, value in lines.items() if value}
