"""The files that a command reads: found, read, and what is left out or noted of them told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from latechunk.cli.console import print_message
from latechunk.embedding.progress import Progress
from latechunk.printing import counted
from latechunk.readers import Problem, SourceFile, find_files, read_documents
from latechunk.readers.decoding import require_encoding
from latechunk.readers.files import find_place, is_blank
from latechunk.readers.origin import find_file, find_row
from latechunk.readers.reader import full_path
from latechunk.types import without_row

if TYPE_CHECKING:
    from rich.console import Console

    from latechunk.types import Document


@dataclass(slots=True)
class Sources:
    """Files and folders that a user names; ``n_problems`` counts what was left out of them."""

    console: Console
    quiet: bool
    encoding: str | None
    rows: bool
    password: str | None
    n_problems: int = 0
    advance: Callable[[Progress], None] = lambda _: None  # replaced once there is a bar
    notes: dict[str, list[str]] = field(default_factory=dict)
    keeps: Callable[[str], bool] = lambda _: False  # whether there is a document of this source
    _sources: dict[str, str] = field(default_factory=dict)  # of the files that were to be read, as they were given
    _names: dict[str, str] = field(default_factory=dict)  # the ids of these files, where a file is a document
    _ids: set[str] = field(default_factory=set)  # of the documents that were

    def __post_init__(self) -> None:
        require_encoding(self.encoding)

    def report(self, problem: Problem) -> None:
        """Tell what is left out."""
        self.n_problems += 1
        kept = "; its text in the index stays as it was" if self.keeps(full_path(Path(problem.place))) else ""
        print_message(self.console, f"left out: {problem.place}: {problem.reason}{kept}", "yellow")

    def leave_out(self, problem: Problem) -> None:
        """Tell what is left out of what the progress counts."""
        self.report(problem)
        self.advance(Progress(0, 0, left_out=1))  # so that it ends at all documents

    def find(self, paths: Sequence[Path]) -> list[SourceFile]:
        """The files at and below these paths that are read; says how many others there are."""
        others: Counter[str] = Counter()
        files = find_files(paths, self.report, lambda path: others.update([path.suffix.lower() or "no suffix"]))
        if others:
            kinds = ", ".join(f"{suffix} {count}" for suffix, count in others.most_common())
            self.say(f"passed over {counted(others.total(), 'file')} of other kinds or blank: {kinds}")
        return files

    def read(self, files: Sequence[SourceFile]) -> Iterator[Document]:
        """The documents of files."""
        self.take(files)
        for document in read_documents(files, self.leave_out, self.note, **self.options):
            self.note_read(document.id)
            yield document

    def take(self, files: Sequence[SourceFile]) -> None:
        """Note that these files are read, by whatever process."""
        self._sources |= {one.metadata["source"]: str(one.path) for one in files}
        self._names |= {one.metadata["source"]: one.name for one in files}

    def note_read(self, document_id: str) -> None:
        """Note that a document was among what was read."""
        self._ids.add(document_id)

    def has_read(self, document_id: str) -> bool:
        """Whether a document was among what was read."""
        return document_id in self._ids

    def place_of(self, document: Document) -> str:
        """Where a document was read: its file as it was given, with the row or line; its id if that is unknown."""
        return find_place(document, self._sources)

    def find_gone(self, paths: Sequence[Path], stored: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Ids of documents that were files, or rows of files, at or below these paths, and are no more.

        Args:
            paths: What was given, all of it read.
            stored: Ids and metadata of what is stored.
        """
        places = {full_path(path).rstrip("/") or "/" for path in paths}
        gone = []
        for document_id, metadata in stored:
            source = find_file(document_id, metadata)
            if source is None or document_id in self._ids or not _is_at(source, places):
                continue
            is_named_by_file = source.endswith(f"/{without_row(document_id, metadata)}")
            is_there = find_row(metadata) is None and self._names.get(source) in self._ids  # under another id
            is_read = source in self._sources and not self.n_problems and not is_there
            if (is_named_by_file and is_read) or not Path(source).exists() or is_blank(Path(source)):
                gone.append(document_id)
        return list(dict.fromkeys(gone))

    @property
    def options(self) -> dict[str, Any]:
        """How files are read, as ``read_documents`` takes it."""
        return {"encoding": self.encoding, "rows": self.rows, "password": self.password}

    def note(self, place: str, what: str) -> None:
        """Keep a note for ``print_notes``."""
        self.notes.setdefault(what, []).append(place)

    def say(self, text: str) -> None:
        """Tell what is no problem, unless nobody wants to know."""
        if not self.quiet:
            print_message(self.console, text)

    def print_notes(self) -> None:
        """Tell what was noted of files that were read."""
        for what, places in self.notes.items():
            self.say(f"{places[0]}{f' and {len(places) - 1:,} more' if len(places) > 1 else ''}: {what}")


def _is_at(source: str, places: Set[str]) -> bool:
    """Whether a file is one of these places or below one; takes no longer for thousands of them."""
    return source in places or any(str(parent) in places for parent in PurePosixPath(source).parents)
