"""The files that a command reads: found, read, and what is left out or noted of them told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latechunk.embedding.progress import Progress
from latechunk.printing import printable
from latechunk.readers import Problem, SourceFile, find_files, read_documents
from latechunk.readers.decoding import require_encoding
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
    _sources: set[str] = field(default_factory=set)  # of the files that were to be read
    _ids: set[str] = field(default_factory=set)  # of the documents that were

    def __post_init__(self) -> None:
        require_encoding(self.encoding)

    def report(self, problem: Problem) -> None:
        """Tell what is left out."""
        self.n_problems += 1
        message = printable(f"left out: {problem.place}: {problem.reason}")
        self.console.print(message, style="yellow", markup=False, soft_wrap=True)

    def leave_out(self, problem: Problem) -> None:
        """Tell what is left out of what the progress counts."""
        self.report(problem)
        self.advance(Progress(1, 0))  # so that it ends at all documents

    def find(self, paths: Sequence[Path]) -> list[SourceFile]:
        """The files at and below these paths that are read; says how many others there are."""
        others: Counter[str] = Counter()
        files = find_files(paths, self.report, lambda path: others.update([path.suffix.lower() or "no suffix"]))
        if others and not self.quiet:
            kinds = ", ".join(f"{suffix} {count}" for suffix, count in others.most_common())
            message = printable(f"passed over {others.total()} files of other kinds: {kinds}")
            self.console.print(message, markup=False, soft_wrap=True)
        return files

    def read(self, files: Sequence[SourceFile]) -> Iterator[Document]:
        """The documents of files."""
        self.take(files)
        for document in read_documents(files, self.leave_out, self.note, **self.options):
            self.note_read(document.id)
            yield document

    def take(self, files: Sequence[SourceFile]) -> None:
        """Note that these files are read, by whatever process."""
        self._sources |= {one.metadata["source"] for one in files}

    def note_read(self, document_id: str) -> None:
        """Note that a document was among what was read."""
        self._ids.add(document_id)

    def find_gone(self, paths: Sequence[Path], stored: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Ids of documents that were files, or rows of files, at or below these paths, and are no more.

        Args:
            paths: What was given, all of it read.
            stored: Ids and metadata of what is stored.
        """
        places = [path.absolute().as_posix() for path in paths]
        gone = []
        for document_id, metadata in stored:
            source = metadata.get("source")
            if not isinstance(source, str) or not any(_is_at(source, place) for place in places):
                continue
            if source.endswith(f"/{without_row(document_id, metadata)}") and self.have_lost(document_id, source):
                gone.append(document_id)
        return list(dict.fromkeys(gone))

    def have_lost(self, document_id: str, source: str) -> bool:
        """Whether the file of a document is gone, or was read, as all files were, and had no such document."""
        is_read = source in self._sources and not self.n_problems
        return not Path(source).exists() or (is_read and document_id not in self._ids)

    @property
    def options(self) -> dict[str, Any]:
        """How files are read, as ``read_documents`` takes it."""
        return {"encoding": self.encoding, "rows": self.rows, "password": self.password}

    def note(self, place: str, what: str) -> None:
        """Keep a note for ``print_notes``."""
        self.notes.setdefault(what, []).append(place)

    def print_notes(self) -> None:
        """Tell what was noted of files that were read."""
        for what, places in self.notes.items():
            if not self.quiet:
                first = f"{places[0]}{f' and {len(places) - 1:,} more' if len(places) > 1 else ''}"
                self.console.print(printable(f"{first}: {what}"), markup=False, soft_wrap=True)


def _is_at(source: str, place: str) -> bool:
    return source == place or source.startswith(f"{place.rstrip('/')}/")
