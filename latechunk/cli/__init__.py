"""The command line, latechunk: index, search, evaluate and more. Results to stdout, messages to stderr."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

import latechunk
from latechunk.cli.console import EXIT_ERROR
from latechunk.cli.deleting import delete_command
from latechunk.cli.embedding import embed_command, import_command, merge_command
from latechunk.cli.evaluation import demo_command, evaluate_command
from latechunk.cli.indexing import index_command
from latechunk.cli.info import info_command, models_command
from latechunk.cli.maintenance import audit_command, export_command, optimize_command, repair_command, verify_command
from latechunk.cli.options import Command
from latechunk.cli.pushing import push_command
from latechunk.cli.searching import inspect_command, search_command
from latechunk.cli.serving import mcp_command, serve_command
from latechunk.cli.training import train_command

app = typer.Typer(
    help="Index long documents by late chunking, and search them.",
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 some input was left out, 4 nothing found, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"latechunk {latechunk.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Index long documents by late chunking, and search them."""


# --help lists them in this order.
app.command("index", cls=Command)(index_command)
app.command("search", cls=Command)(search_command)
app.command("delete", cls=Command)(delete_command)
app.command("info", cls=Command)(info_command)
app.command("verify", cls=Command)(verify_command)
app.command("repair", cls=Command)(repair_command)
app.command("audit", cls=Command)(audit_command)
app.command("optimize", cls=Command)(optimize_command)
app.command("export", cls=Command)(export_command)
app.command("embed", cls=Command)(embed_command)
app.command("import", cls=Command)(import_command)
app.command("merge", cls=Command)(merge_command)
app.command("push", cls=Command)(push_command)
app.command("models", cls=Command)(models_command)
app.command("evaluate", cls=Command)(evaluate_command)
app.command("train", cls=Command)(train_command)
app.command("inspect", cls=Command)(inspect_command)
app.command("serve", cls=Command)(serve_command)
app.command("mcp", cls=Command)(mcp_command)
app.command("demo", cls=Command)(demo_command)


def run() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of another encoding shows what it can
    # pydantic looks for plugins in the metadata of every installed package, and a search would wait for it.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        _run_app()
    except OSError as error:
        # Python would flush what could not be written once more at its exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # a reader that has seen enough is no error to speak of
            sys.stderr.write(f"error: the output could not be written: {error}\n")
        raise SystemExit(EXIT_ERROR) from None


def _run_app() -> None:
    try:
        app()
    except SystemExit as ended:
        if "lancedb" not in sys.modules:
            raise
        # Threads of LanceDB are still at work when Python ends, which then aborts: in one of four runs under load.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended.code if isinstance(ended.code, int) else EXIT_ERROR if ended.code else 0)
