"""What `train` does for tasks of whole texts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import typer
from rich.console import Console

from latechunk.cli.console import duration, megabytes, percentage_bar, print_json, print_message
from latechunk.errors import InputError
from latechunk.printing import counted

Task: TypeAlias = Literal["retrieval", "text-matching", "classification", "separation"]

_OF_TEXTS_ALONE = ("prompt",)
_OF_BOTH = ("data", "out", "task", "dry_run", "as_json", "quiet")


def require_of_task(context: typer.Context, task: Task) -> None:
    """Raise InputError for an option that was given and has no effect on a task."""
    names = [parameter.name or "" for parameter in context.command.params]
    effective = {*names} - {*_OF_TEXTS_ALONE} if task == "retrieval" else of_texts(dict.fromkeys(names))
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name not in effective and source is not None and source.name == "COMMANDLINE":
            raise InputError(f"{parameter.opts[0]} has no effect with --task {task}; leave it out")


def of_texts(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have an effect on a task of whole texts."""
    from latechunk.training.tasks.request import TextTrainingRequest

    names = {*TextTrainingRequest.model_fields, *_OF_BOTH}
    return {name: value for name, value in options.items() if name in names}


def train_texts(options: Mapping[str, Any], console: Console) -> None:
    """Train an adapter for whole texts; ``options`` are those of the command."""
    from latechunk.training.tasks.folder import has_task
    from latechunk.training.tasks.job import carry_out_text_job, prepare_text_job
    from latechunk.training.tasks.measure import MEASURES
    from latechunk.training.tasks.request import TextTrainingRequest
    from latechunk.training.trainer import writing_explained

    quiet, as_json = options["quiet"], options["as_json"]
    request = TextTrainingRequest(**{name: options[name] for name in TextTrainingRequest.model_fields})
    if request.resume and has_task(request):
        print_message(console, f"{request.out} has the task {request.task}; nothing is left to continue")
        return
    with percentage_bar(console, quiet) as advance:
        job = prepare_text_job(request, advance)
    summary = job.summary()
    if options["dry_run"]:
        if as_json:
            print_json(summary)
        else:
            typer.echo("\n".join([*_word(summary), "nothing was trained or written"]))
        return
    if not quiet:
        console.print("\n".join(_word(summary)), markup=False, soft_wrap=True)
    begin = time.perf_counter()
    with percentage_bar(console, quiet) as advance, writing_explained(request.out):
        measured = carry_out_text_job(job, advance)
    if as_json:
        spent = time.perf_counter() - begin
        print_json({**summary, "measured": measured, "seconds": spent, "folder": str(request.out)})
        return
    if measured:
        typer.echo(
            f"{MEASURES[request.task]}, times 100, of {counted(summary['rows']['held_out'], 'row')} held out: "
            f"{measured['base']:.1f} by the model as it is, {measured['trained']:.1f} with the adapter"
        )
    if not quiet:
        card = request.out / request.adapter / "README.md"
        print_message(console, f"{request.out} has the task {request.task}; {card} describes it")


def _word(summary: Mapping[str, Any]) -> Iterator[str]:
    """Lines that say what a run on texts will be."""
    rows = summary["rows"]
    held_out = counted(rows["held_out"], "row") if rows["held_out"] else "nothing; the gain will not be known"
    run, lora = summary["run"], summary["lora"]
    yield f"{summary['task']}: {counted(rows['trained'], 'row')}, {counted(summary['texts'], 'text')}"
    yield f"held out: {held_out}"
    if rows["left_out"]:
        yield f"left out: {counted(rows['left_out'], 'row')} that share a text with those held out"
    yield (
        f"{counted(run['n_steps'], 'step')} of {summary['batch_rows']} rows over {summary['base']} in "
        f"{run['precision']}, rank {lora['rank']}"
    )
    yield f"{counted(summary['n_parameters'], 'parameter')}, {megabytes(summary['adapter_bytes'])} of adapters"
    yield f"about {duration(summary['seconds'])} for the steps"
