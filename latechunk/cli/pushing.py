"""The command push: folders of embedded documents into a vector database."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latechunk.cli.console import errors_explained, print_json, print_message, spinner, stderr_console
from latechunk.cli.options import Json, Quiet
from latechunk.printing import counted

if TYPE_CHECKING:
    from latechunk.distributed import PushReport


def push_command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="What embed filled, of the same settings.")
    ],
    url: Annotated[
        str, typer.Argument(metavar="URL", help="postgresql://…, qdrant:http://…, qdrant:FOLDER or lancedb:FOLDER.")
    ],
    table: Annotated[str, typer.Option(help="Name of the table or collection; made if it is not there.")] = "chunks",
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents that the folders do not hold, or no more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put embedded documents into a vector database, chunk by chunk; run it again to go on or to bring it up to date.

    What is there unchanged is not written again. The database records the model and settings, and vectors of others are
    refused. Needs the extra parquet, and pgvector, qdrant or lancedb.
    """
    console = stderr_console()
    kept = "what was written before stays; run it again to go on"
    with errors_explained(console, quiet=quiet, interrupted=kept):
        from latechunk.databases import open_database
        from latechunk.distributed import push_folders

        database = open_database(url, table=table)
        try:
            with spinner(console, "comparing" if dry_run else "pushing", quiet):
                report = push_folders(folders, database, prune=prune, dry_run=dry_run)
        finally:
            database.close()
    if as_json:
        print_json({**dataclasses.asdict(report), "database": database.name})
    elif not quiet:
        print_message(console, f"{'would be ' if dry_run else ''}{_word(report)}; {database.name}")


def _word(report: PushReport) -> str:
    parts = [
        f"{report.n_written:,} written ({counted(report.n_chunks, 'chunk')})",
        f"{report.n_unchanged:,} unchanged",
        *([f"{report.n_deleted:,} removed"] if report.n_deleted else []),
        *([f"{report.n_gone:,} left that the folders do not hold (--prune removes them)"] if report.n_gone else []),
    ]
    return ", ".join(parts)
