"""The command that trains adapters over a base model, on documents with questions or on texts: train."""

from __future__ import annotations

import shlex
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latechunk.cli.console import (
    duration,
    errors_explained,
    megabytes,
    percentage_bar,
    print_json,
    print_message,
    stderr_console,
)
from latechunk.cli.options import Device, Json, Quiet, split_numbers
from latechunk.cli.text_training import Task, of_texts, require_of_task, train_texts
from latechunk.errors import InputError
from latechunk.printing import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_data, _run, _shape, _measuring, _result = (
    partial(typer.Option, rich_help_panel=panel)
    for panel in ("Data", "How long", "What is trained", "Measuring", "Result")
)
_NOT_OF_THE_RESULT = ("resume", "dry_run", "device", "keep_nothing", "as_json", "quiet")
_SHOWN = 5  # unusable questions named in a summary


def train_command(
    context: typer.Context,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of documents and questions, or of such folders; for another task a table of texts.",
        ),
    ],
    out: Annotated[
        Path, _result(help="Folder for the adapters, new or empty; another task is added to those that are there.")
    ],
    task: Annotated[
        Task,
        _shape(
            help="What vectors are for: retrieval, or whole texts to match (sentence1, sentence2, score), classify or "
            "separate into clusters (text, label)."
        ),
    ] = "retrieval",
    base: Annotated[str, _shape(help="The model to train over: name or folder.")] = "multilingual-e5-small-q4",
    adapters: Annotated[
        Path | None, _shape(help="Adapters to begin with, of the same rank and layers  [default: none].")
    ] = None,
    average: Annotated[
        list[Path] | None,
        _shape(
            help="Adapters of a run with another --seed, of the same rank and layers, whose mean with the new ones OUT "
            "gets; may be given again."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained and how long it takes, and write nothing.")
    ] = False,
    resume: Annotated[bool, _run("--resume", help="Continue the run in --out.")] = False,
    minutes: Annotated[float | None, _run(help="Train as many steps as fit this time, after a short trial.")] = None,
    steps: Annotated[
        int | None, _run(help="Steps  [default: about 4 passes over the questions, 100 to 2,000].", min=1)
    ] = None,
    batches: Annotated[
        int | None,
        _run(
            help="Different batches to draw, gone through again and again; what frozen layers give is kept on disk, so "
            "that later steps take half of the time  [default: a new one at each step].",
            min=1,
        ),
    ] = None,
    batch_segments: Annotated[
        int | None,
        _run(
            help="Segments of documents that a step compares; more take more memory, and learn more of a step "
            "[default: 4].",
            min=1,
        ),
    ] = None,
    skip_unusable: Annotated[
        bool, _data("--skip-unusable", help="Leave out questions that cannot be trained on.")
    ] = False,
    weight: Annotated[
        list[str] | None,
        _data(metavar="SET=NUMBER", help="How often a set is drawn; may be given again  [default: 1 each]."),
    ] = None,
    own_document_only: Annotated[
        list[str] | None,
        _data(metavar="SET", help="A set whose questions are asked of many documents; may be given again."),
    ] = None,
    lookalikes: Annotated[
        float,
        _data(
            metavar="SHARE",
            help="Share of the draws that are generated documents, in those of six languages that the base reads: they "
            "differ in the name that questions ask by, and teach whose document a chunk is from.",
        ),
    ] = 0.0,
    chunk_tokens: Annotated[str, _data(help="Sizes of the chunks that are trained.")] = "48,64,96,128",
    segment_tokens: Annotated[
        str,
        _data(
            metavar="LEAST,MOST",
            help="Tokens of the segments of documents that are read together; shorter ones take less time and memory.",
        ),
    ] = "511,2046",
    rank: Annotated[int | None, _shape(help="Rank of the adapters  [default: 64].", min=1)] = None,
    layers: Annotated[
        int | None,
        _shape(
            help="Layers from the top with adapters  [default: all that read the whole text; for another task all].",
            min=1,
        ),
    ] = None,
    learning_rate: Annotated[float | None, _shape(help="At its peak  [default: 0.0003].")] = None,
    prompt: Annotated[
        str | None,
        _shape(help="Text before each input, of another task than retrieval  [default: the base's for queries]."),
    ] = None,
    anchor: Annotated[
        float | None,
        _shape(
            help="How strongly vectors of documents and questions are held to those of the untrained model; less lets "
            "more be learned  [default: 0.15]."
        ),
    ] = None,
    late_weight: Annotated[
        float | None,
        _shape(help="Share of the late in chunk vectors; 1 for late alone  [default: 0.7 where the base blends]."),
    ] = None,
    index_late_weight: Annotated[
        float | None,
        _shape(
            help="Share of the late in chunk vectors of indexes made with the adapters, where another than the trained "
            "one serves better  [default: as trained]."
        ),
    ] = None,
    query_adapter: Annotated[
        bool, _shape("--query-adapter/--no-query-adapter", help="Train an adapter for questions too.")
    ] = True,
    evaluate: Annotated[
        Path | None,
        _measuring(help="A set to measure with  [default: a tenth of the documents, held out, at most 20]."),
    ] = None,
    no_evaluate: Annotated[bool, _measuring("--no-evaluate", help="Train on everything.")] = False,
    evaluate_every: Annotated[
        int | None, _measuring(metavar="STEPS", help="Between two measurements  [default: 5 in the run].", min=1)
    ] = None,
    licence: Annotated[str, _result(help="Of the adapters, for their card, such as Apache-2.0.")] = "",
    keep_nothing: Annotated[
        bool, _result("--keep-nothing", help="Delete the checkpoints too when the run is done.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.", min=0)] = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train small adapters over a model, so that late chunks are found better by questions such as yours.

    For retrieval DATA holds docs.jsonl and queries.jsonl, or is a SQuAD .json file, or holds questions.csv (columns:
    question, quote) next to text files; every question needs the passage that answers it. OUT gets the adapters, a
    model card, a log and, in OUT/run, checkpoints; Encoder.load(adapters=OUT) uses them.

    For the other tasks DATA is a .csv, .tsv, .jsonl or .parquet file of texts, and OUT gets the task as a further one,
    which Encoder.encode_texts(task=) uses.
    """
    options = dict(locals())  # by the names of the request's fields, where they are some
    console = stderr_console()
    left = "nothing was trained or written" if dry_run else "the same command with --resume continues"
    with errors_explained(console, quiet=quiet, interrupted=left):
        require_of_task(context, task)
        if task != "retrieval":
            train_texts({**options, "command": _command_line(context, of_texts(options))}, console)
            return
        from latechunk.training.job import carry_out, is_finished, prepare_job, tidy_up
        from latechunk.training.report import summarise
        from latechunk.training.request import TrainingRequest
        from latechunk.training.trainer import writing_explained

        options |= {
            "chunk_tokens": split_numbers("--chunk-tokens", chunk_tokens),
            "segment_tokens": split_numbers("--segment-tokens", segment_tokens),
            "weights": dict(_parse_weight(text) for text in weight or ()),
            "own_document_only": tuple(own_document_only or ()),
            "average": tuple(average or ()),
            "command": _command_line(context, options),
        }
        request = TrainingRequest(**{name: options[name] for name in TrainingRequest.model_fields})
        if resume and is_finished(out):
            if not dry_run:
                tidy_up(request)
            print_message(console, f"{out} is finished; there is nothing to continue")
            return
        with percentage_bar(console, quiet) as advance:
            job = prepare_job(request, advance, dry_run=dry_run)
        summary = summarise(job)
        if dry_run:
            _tell_dry_run(summary, as_json, skip_unusable)
            return
        if not quiet:
            console.print("\n".join(_word(summary)), markup=False, soft_wrap=True)
        begin = time.perf_counter()
        with percentage_bar(console, quiet) as advance, writing_explained(out):
            rows = carry_out(job, advance)
        if as_json:
            print_json({**summary, "results": rows, "seconds": time.perf_counter() - begin, "folder": str(out)})
            return
        for row in rows:
            typer.echo(
                f"nDCG@10 {row['title']}: naive {row['naive']:.2f}, untrained {row['untrained']:.2f}, trained "
                f"{row['trained']:.2f}; gain over untrained {row['over_untrained']}"
            )
        if not quiet:
            print_message(console, f"the adapters are in {out}, and {out / 'README.md'} describes them")


def _command_line(context: typer.Context, options: Mapping[str, Any]) -> str:
    """The command that asks for the same run; folders by their last part, since their paths are of one machine."""
    parts = ["latechunk", "train"]
    for parameter in context.command.params:
        value = options.get(parameter.name or "")
        if parameter.name in _NOT_OF_THE_RESULT or value is None or value == "":
            continue
        if isinstance(value, bool):
            names = parameter.opts if value else parameter.secondary_opts
            parts += names[:1] if value != parameter.default else []
            continue
        name = parameter.opts[:1] if parameter.param_type_name == "option" else []
        for one in value if isinstance(value, list) else [value]:
            parts += [*name, _shorten(one)]
    return shlex.join(parts)


def _shorten(value: Any) -> str:
    """An option's value as one types it; of a folder on this machine, its last part."""
    if isinstance(value, float):
        return f"{value:g}"
    is_folder = isinstance(value, Path) or Path(str(value)).is_dir()
    return Path(str(value)).resolve().name if is_folder else str(value)


def _parse_weight(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        if not name:
            raise ValueError("it names no set")
        return name, float(number)
    except ValueError as error:
        raise InputError(f"--weight must be SET=NUMBER such as squad=0.5, got {text!r:.80}") from error


def _tell_dry_run(summary: Mapping[str, Any], as_json: bool, skip_unusable: bool) -> None:
    """Print what a run would be; raise if it would be refused."""
    if as_json:
        print_json(summary)
    else:
        typer.echo("\n".join([*_word(summary), "nothing was trained or written"]))
    if summary["unusable"] and not skip_unusable:
        raise InputError(
            f"without --skip-unusable this would not be trained: {len(summary['unusable'])} questions cannot be"
        )


def _word(summary: Mapping[str, Any]) -> Iterator[str]:
    """Lines that say what a run will be."""
    for name, found in summary["sets"].items():
        yield (
            f"{name}: {counted(found['documents'], 'document')}, {counted(found['questions'], 'question')}, "
            f"{counted(found['tokens'], 'token')}"
        )
    held_out = summary["held_out"]
    if held_out["documents"]:
        yield (
            f"held out: {counted(held_out['documents'], 'document')}, {counted(held_out['questions'], 'question')} "
            f"({held_out['origin']})"
        )
    else:
        yield f"held out: nothing, {held_out['origin']}; the gain will not be known"
    if unusable := summary["unusable"]:
        yield f"left out: {counted(len(unusable), 'question')} that cannot be trained on"
        yield from (f"  {problem}" for problem in unusable[:_SHOWN])
        if len(unusable) > _SHOWN:
            yield f"  and {len(unusable) - _SHOWN:,} more"
    run, lora = summary["settings"]["run"], summary["settings"]["lora"]
    yield (
        f"{counted(run['n_steps'], 'step')} of {run['batch_segments']} segments over {summary['base']} in "
        f"{run['precision']}, rank {lora['rank']}"
    )
    yield from _word_estimate(summary["estimate"])


def _word_estimate(found: Mapping[str, Any] | None) -> Iterator[str]:
    if found is None:
        yield "continues the run in the folder"
        return
    memory = f"{megabytes(found['peak_bytes'])} of memory, " if found["peak_bytes"] else ""
    yield f"{found['n_parameters']:,} parameters, {megabytes(found['adapter_bytes'])} of adapters"
    yield (
        f"about {duration(found['seconds'])}: {duration(found['train_seconds'])} for the steps, "
        f"{duration(found['evaluate_seconds'])} to measure"
    )
    kept = f", {megabytes(found['kept_bytes'])} for what frozen layers give" if found["kept_bytes"] else ""
    yield f"about {memory}{megabytes(found['checkpoint_bytes'])} of disk for checkpoints{kept}"
