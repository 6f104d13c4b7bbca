"""What commands share of their options: types that typer reads, and texts parsed into values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer
from typer.core import TyperCommand

from latechunk.cli.console import options_typed
from latechunk.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from latechunk.encoding.encoder import Encoder
    from latechunk.protocols import Chunker, Reranker
    from latechunk.types import Span


# typer reads the choices off these. They stand here, too, since their other homes load numpy or torch.
ChunkerName: TypeAlias = Literal["structure", "sentence", "token"]
ModeName: TypeAlias = Literal["late", "naive", "blend"]
SearchModeName: TypeAlias = Literal["dense", "lexical", "hybrid"]
FusionName: TypeAlias = Literal["calibrated", "rrf"]
DtypeName: TypeAlias = Literal["auto", "float32", "bfloat16", "float16", "int8"]
PrecisionName: TypeAlias = Literal["float32", "float16", "int8"]
AttentionName: TypeAlias = Literal["auto", "eager", "sdpa", "flash_attention_2"]


class Command(TyperCommand):
    """A command that refuses empty values; its help lists options in the panels that they name, the others last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse what is empty before it is read: the empty path would be the working directory."""
        typed, _, _ = self.make_parser(ctx).parse_args(args=[*args])
        parameters: list[Any] = [*self.get_params(ctx)]
        for parameter in parameters:
            value = typed.get(parameter.name)
            if parameter.name not in _MAY_BE_EMPTY and "" in (value if isinstance(value, list | tuple) else (value,)):
                raise typer.BadParameter("it is empty, as a variable of the shell that is not set", ctx, parameter)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, whose errors name its options as they are typed."""
        options = {one.name: one.opts[0] for one in self.params if one.param_type_name == "option" and one.name}
        options_typed.set({field: options[name] for field, name in _FIELDS.items() if name in options} | options)
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Arguments as they are called here, in every version of typer."""
        arguments = [one.metavar or "" for one in self.get_params(ctx) if one.param_type_name == "argument"]
        return [self.options_metavar or "", *arguments]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options into the help, panel by panel in order of their first options."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            if parameter.param_type_name == "argument":
                panels["Arguments"].append((parameter.metavar or "", getattr(parameter, "help", None) or ""))
            elif (record := parameter.get_help_record(ctx)) is not None:
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        panels["Options"] = panels.pop("Options", [])
        for name, records in panels.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


_MAY_BE_EMPTY = ("prompt",)
_FIELDS = {  # of settings, with the parameter whose value they have
    "score_threshold": "min_score",
    "document_ids": "document",
    "filter": "where",
    "models": "model",
    "windows": "window",
    "window_tokens": "window",
    "weights": "weight",
    "mixture": "weight",
    "least_tokens": "segment_tokens",
    "most_tokens": "segment_tokens",
    "n_batches": "batches",
    "n_layers": "layers",
    "n_steps": "steps",
    "evaluate_steps": "evaluate_every",
    "body_bytes": "max_body_mb",
    "inputs": "max_inputs",
    "requests": "max_requests",
    "tokens": "max_tokens",
    "work_seconds": "timeout",
}


Model = Annotated[
    str | None, typer.Option(help="Name (see latechunk models) or folder  [default: multilingual-e5-small-q4].")
]
Dims = Annotated[int | None, typer.Option(help="Length of vectors, of a Matryoshka model  [default: all].")]
ChunkerChoice = Annotated[ChunkerName | None, typer.Option(help="What to cut by  [default: structure].")]
MaxTokens = Annotated[int | None, typer.Option(help="Most tokens of a chunk  [default: 128; token: 256].")]
Overlap = Annotated[int | None, typer.Option(help="Sentences or tokens that chunks share  [default: 0].")]
Language = Annotated[
    str | None, typer.Option(help="ISO 639 code, for sentences  [default: as each document says or shows].")
]
ModeChoice = Annotated[ModeName | None, typer.Option(help="How to make vectors  [default: what suits the model].")]
PrecisionChoice = Annotated[
    PrecisionName | None, typer.Option("--precision", help="What vectors are stored in  [default: float32].")
]
Encoding = Annotated[
    str | None, typer.Option(help="Of files that are not UTF-8 and have no mark  [default: what is sure].")
]
Password = Annotated[str | None, typer.Option(envvar="LATECHUNK_PASSWORD", help="Of encrypted PDF files.")]
Rows = Annotated[
    bool, typer.Option("--rows", help="A document for each row of .csv and .tsv and each element of .json.")
]
Prune = Annotated[bool, typer.Option("--prune", help="Remove documents of files that are gone from the folders given.")]
IndexPath = Annotated[Path, typer.Argument(metavar="INDEX", help="The folder of the index.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only errors and results.")]
Device = Annotated[str, typer.Option(help='"auto", or a device as torch names it: cpu, cuda, cuda:1, mps.')]
Dtype = Annotated[DtypeName, typer.Option(help="What the model computes in.")]
Adapters = Annotated[
    str | None,
    typer.Option(help='"auto": those known for the model; "none", or a folder of trained ones  [default: auto].'),
]
Attention = Annotated[AttentionName, typer.Option(help="How its layers attend; auto: FlashAttention 2 if installed.")]


def parse_adapters(text: str | None) -> str | None:
    """Read ``--adapters`` as ``latechunk.Encoder.load`` takes it; None stands for an option that was not given."""
    if text is None:
        return "auto"
    return None if text == "none" else text


def given(**options: Any) -> dict[str, Any]:
    """Those of some options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def require_effect(options: Mapping[str, bool], where: str) -> None:
    """Raise an InputError for those of some options that were given; ``where`` says when they have no effect."""
    if names := [name for name, is_given in options.items() if is_given]:
        raise InputError(f"{' and '.join(names)} would have no effect {where}; leave it out")


def load_encoder(model: str | None, adapters: str | None, **options: Any) -> Encoder:
    """The encoder of ``--model`` and ``--adapters``, with other options of ``latechunk.Encoder.load``."""
    from latechunk.encoding.encoder import Encoder

    return Encoder.load(**given(model=model), adapters=parse_adapters(adapters), **options)


def load_reranker(name: str, device: str) -> Reranker:
    """The reranker of ``--rerank``."""
    from latechunk.models.cross_encoder import CrossEncoderReranker

    return CrossEncoderReranker.load(name, device=device)


def make_chunker(name: ChunkerName | None, cut: Mapping[str, Any]) -> Chunker:
    """The chunker of a name with these settings; InputError for settings that it does not have."""
    from latechunk.chunking.registry import CHUNKERS

    chosen = CHUNKERS[name or "structure"]
    unknown = [f"--{option.replace('_', '-')}" for option in cut if option not in chosen.model_fields]
    if unknown:
        raise InputError(f"{' and '.join(unknown)} means nothing to --chunker {chosen.kind}; choose another chunker")
    return chosen(**cut)


def parse_gold(text: str) -> Span:
    """Read characters START:END, half-open, as ``--gold`` has them; InputError for anything else."""
    from latechunk.types import Span

    start, _, end = text.partition(":")
    if not (start.isdecimal() and end.isdecimal() and int(start) < int(end)):
        raise InputError(f"--gold must be START:END, two numbers of characters such as 120:180, got {text!r}")
    return Span(int(start), int(end))


def split_list(text: str) -> tuple[str, ...]:
    """Split at commas, leaving out blanks and empty parts."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def split_numbers(name: str, text: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them, as the option ``name`` has them; InputError for anything else."""
    try:
        return tuple(int(part) for part in split_list(text))
    except ValueError as error:
        raise InputError(f"{name} must be whole numbers with commas between them, got {text!r}") from error
