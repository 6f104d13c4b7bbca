"""Read evaluation sets: our own layout, BEIR, SQuAD, and a user's questions with quotes.

The layout is told by the files that are there:

- ``docs.jsonl`` (``id``, ``text``, ``lang``) and ``queries.jsonl`` (``id``, ``text``, ``doc_id``, ``spans``);
- BEIR: ``corpus.jsonl`` (``_id``, ``title``, ``text``), ``queries.jsonl`` (``_id``, ``text``), ``qrels/test.tsv``;
- SQuAD: one ``.json`` file with ``data``, whose articles become one document each;
- ``questions.csv`` or ``questions.jsonl`` (``question``, ``quote``, and ``document`` where a quote is in several)
  next to documents (.txt, .md and whatever else ``latechunk index`` reads): each quote is looked for in the documents.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from latechunk.errors import InputError, SpanError
from latechunk.evaluation.dataset import EvaluationSet, Gold, Question
from latechunk.evaluation.tables import field_of, name_of, read_lines, read_table
from latechunk.readers import find_files, read_documents
from latechunk.types import Document, Span

_LOG = logging.getLogger("latechunk")
_QUESTIONS = ("questions.csv", "questions.jsonl")
_COLUMNS = "question and quote (and document, if need be)"
_SEPARATOR = "\n\n"
_MOST_ERRORS = 20  # told of rows


def read_sets(path: Path) -> list[EvaluationSet]:
    """Read a set, or all sets in the subfolders of a folder, in order of their names.

    Raises:
        InputError: If there is none, or its files are not of the expected form.
    """
    if not path.exists():
        raise InputError(f"there is nothing at {path}")
    path = path.resolve()
    if path.name in _QUESTIONS and path.is_file():
        raise InputError(f"{path} holds questions; name its folder, {path.parent}, which holds their documents, too")
    if reader := _find_reader(path):
        return [reader(path)]
    parts = sorted(path.iterdir()) if path.is_dir() else []
    sets = [reader(part) for part in parts if (reader := _find_reader(part))]
    names = [one.name for one in sets]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"{path} holds two sets that are both called {min(twice)!r}; rename one of them")
    if not sets:
        raise InputError(
            f"{path} holds no evaluation set: needed are docs.jsonl and queries.jsonl, or corpus.jsonl, queries.jsonl "
            f"and qrels/test.tsv (BEIR), or a SQuAD .json file, or questions.csv (columns question, quote) next to "
            f"documents"
        )
    return sets


def _find_reader(path: Path) -> Callable[[Path], EvaluationSet] | None:
    if path.is_file():
        return _read_squad if path.suffix == ".json" and _is_squad(path) else None
    if (path / "docs.jsonl").is_file() and (path / "queries.jsonl").is_file():
        return _read_own
    if (path / "corpus.jsonl").is_file() and (path / "queries.jsonl").is_file():
        return _read_beir
    if any((path / name).is_file() for name in _QUESTIONS):
        return _read_quotes
    return None


def _read_own(folder: Path) -> EvaluationSet:
    documents, questions = [], []
    for place, row in read_lines(folder / "docs.jsonl"):
        metadata = {name: row[name] for name in ("title", "lang") if isinstance(row.get(name), str)}
        documents.append(Document(field_of(place, row, "id", str), field_of(place, row, "text", str), metadata))
    for place, row in read_lines(folder / "queries.jsonl"):
        spans = tuple(_span(place, pair) for pair in field_of(place, row, "spans", list))
        gold = Gold(field_of(place, row, "doc_id", str), spans)
        questions.append(Question(str(row.get("id", place)), field_of(place, row, "text", str), (gold,)))
    return EvaluationSet(folder.name, tuple(documents), tuple(questions))


def _read_beir(folder: Path) -> EvaluationSet:
    documents = []
    blank: set[str] = set()  # FiQA has some; an index takes none, and no search can find one
    for place, row in read_lines(folder / "corpus.jsonl"):
        parts = [str(row[name]) for name in ("title", "text") if row.get(name)]
        name, text = name_of(place, row, "_id"), _SEPARATOR.join(parts)
        if text.strip():
            documents.append(Document(name, text))
        else:
            blank.add(name)
    texts = {
        name_of(place, row, "_id"): field_of(place, row, "text", str)
        for place, row in read_lines(folder / "queries.jsonl")
    }
    gold: dict[str, list[Gold]] = {}
    for place, row in read_table(_find_judgements(folder)):
        try:
            query, document, score = row["query-id"], row["corpus-id"], float(row["score"])
            if not score.is_integer():
                raise ValueError(f"{score} is no whole number")
        except (KeyError, ValueError) as error:
            raise InputError(f"{place}: needed are query-id, corpus-id and a whole score, got {dict(row)}") from error
        if query not in texts:
            raise InputError(f"{place}: there is no query {query!r}")
        if score > 0 and document not in blank:
            gold.setdefault(query, []).append(Gold(document, (), int(score)))
    questions = tuple(Question(query, texts[query], tuple(answers)) for query, answers in gold.items())
    if blank:
        _LOG.warning("%s: blank documents are left out: %d", folder, len(blank))
    return EvaluationSet(folder.name, tuple(documents), questions)


def _find_judgements(folder: Path) -> Path:
    path = folder / "qrels" / "test.tsv"
    others = sorted(one.name for one in path.parent.glob("*.tsv"))
    if others and not path.exists():
        raise InputError(
            f"{folder} has no qrels/{path.name}, whose judgements are read; copy the ones that are meant to that name, "
            f"there are {', '.join(others)}"
        )
    return path


def _is_squad(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return '"data"' in file.read(10_000) or '"paragraphs"' in file.read(100_000)


def _read_squad(path: Path) -> EvaluationSet:
    """Articles whole: their paragraphs joined, so that questions are about long documents."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))["data"]
        documents = []
        questions: list[Question] = []
        for number, article in enumerate(data):
            name = str(article.get("title") or number)
            place, contexts = 0, []
            for paragraph in article["paragraphs"]:
                questions += _squad_questions(name, place, paragraph)
                contexts.append(paragraph["context"])
                place += len(paragraph["context"]) + len(_SEPARATOR)
            documents.append(Document(name, _SEPARATOR.join(contexts)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not of SQuAD's form: {type(error).__name__}: {error}") from error
    return EvaluationSet(path.stem, tuple(documents), tuple(questions))


def _squad_questions(name: str, place: int, paragraph: Mapping[str, Any]) -> Iterator[Question]:
    for asked in paragraph["qas"]:
        for one in asked["answers"]:
            start = one["answer_start"]
            if paragraph["context"][start : start + len(one["text"])] != one["text"]:
                raise ValueError(f"the answer {one['text']!r:.60} of question {asked['id']!r} is not at {start}")
        starts = {(one["answer_start"], one["answer_start"] + len(one["text"])) for one in asked["answers"]}
        spans = tuple(Span(place + start, place + end) for start, end in sorted(starts) if end > start)
        if spans:  # SQuAD 2.0 also has questions that nothing answers
            yield Question(str(asked["id"]), asked["question"], (Gold(name, spans),))


def _read_quotes(folder: Path) -> EvaluationSet:
    path, *others = [folder / name for name in _QUESTIONS if (folder / name).is_file()]
    if others:
        raise InputError(f"{folder} has both {path.name} and {others[0].name}; keep the one whose questions are meant")
    files = [file for file in find_files([folder], _stop) if file.path.name not in _QUESTIONS]
    documents = list(read_documents(files, _stop))
    if not documents:
        raise InputError(f"{folder} has {path.name} and no documents: put files with text next to it")
    named = {document.id: document for document in documents}
    for document in documents:  # by the path with the folder, too
        named.setdefault(f"{folder.as_posix()}/{document.id}", document)
    errors: list[InputError] = []
    questions = tuple(_quoted(path, documents, named, errors.append))
    if errors:
        raise _join(errors)
    return EvaluationSet(folder.name, tuple(documents), questions)


def read_questions(path: Path, documents: Sequence[Document]) -> tuple[tuple[Question, ...], list[str]]:
    """Read the questions of a table or of JSON lines, whose quotes are looked for in the documents.

    Returns:
        The questions, and for each row that cannot be one why: its quote is nowhere, or in two places.

    Raises:
        InputError: If the file cannot be read, or no row of it can be a question.
    """
    left_out: list[str] = []
    named = {document.id: document for document in documents}
    questions = tuple(_quoted(path, documents, named, lambda error: left_out.append(str(error))))
    if not questions:
        reasons = "; ".join(left_out[:3]) or "there is none"
        raise InputError(f"{path}: needed is a row with a question and a quote from a document of the index: {reasons}")
    return questions, left_out


def _quoted(
    path: Path,
    documents: Sequence[Document],
    named: Mapping[str, Document],
    on_error: Callable[[InputError], None],
) -> Iterator[Question]:
    """Questions with their quotes found; rows where that fails go to ``on_error``."""
    rows = read_lines(path) if path.suffix == ".jsonl" else read_table(path, ("question", "quote"), _COLUMNS)
    for number, (place, row) in enumerate(rows, start=1):
        try:
            wanted = row.get("document")
            if wanted and not isinstance(wanted, str):
                raise InputError(f"{place}: the field 'document' must be text, got {wanted!r:.60}")
            if wanted and wanted not in named:
                there = [document.id for document in documents[:10]] + ["..."] * (len(documents) > 10)
                raise InputError(f"{place}: there is no document {wanted!r}; there are {', '.join(there)}")
            among = [named[wanted]] if wanted else documents
            gold = find_quote(place, field_of(place, row, "quote", str), among)
            text = field_of(place, row, "question", str)
            if not text.strip():
                raise InputError(f"{place}: the question is blank")
            question = Question(f"q{number}", text, (gold,))
        except InputError as error:
            on_error(error)
        else:
            yield question


def _join(errors: Sequence[InputError]) -> InputError:
    """One error of several, so that all rows can be mended at once."""
    if len(errors) == 1:
        return errors[0]
    lines = [f"rows that are no questions: {len(errors):,}", *(f"  {error}" for error in errors[:_MOST_ERRORS])]
    return InputError("\n".join(lines + ["  ..."] * (len(errors) > _MOST_ERRORS)))


def find_quote(place: str, quote: str, documents: Sequence[Document]) -> Gold:
    """Find the one place of a quote, whose white space may differ from the text's.

    ``place`` says in errors where the quote is from.

    Raises:
        InputError: If it is nowhere, or in more than one place.
    """
    if not quote.split():
        raise InputError(f"{place}: the quote is empty")
    pattern = re.compile(r"\s+".join(map(re.escape, quote.split())))
    found = [(document.id, match.span()) for document in documents for match in pattern.finditer(document.text)]
    is_named = len(documents) == 1
    if not found:
        where = f"not in {documents[0].id!r}" if is_named else "in none of the documents"
        raise InputError(f"{place}: the quote {quote!r:.80} is {where}; it must be copied from the text")
    if len(found) > 1:
        where = ", ".join(f"{name} at {span[0]}" for name, span in found[:4])
        advice = "make it longer" if is_named else "make it longer, or name the document in a column 'document'"
        raise InputError(f"{place}: the quote {quote!r:.80} is in {len(found)} places ({where}); {advice}")
    ((name, (start, end)),) = found
    return Gold(name, (Span(start, end),))


def _span(place: str, pair: Any) -> Span:
    try:
        start, end = pair
        if isinstance(start, bool) or isinstance(end, bool):
            raise TypeError("true and false are no places")
        return Span(start, end)
    except (TypeError, ValueError, SpanError) as error:
        raise InputError(f"{place}: a span must be [start, end], got {pair!r:.60}: {error}") from error


def _stop(problem: Any, *_: Any) -> None:
    raise InputError(f"{problem.place}: {problem.reason}")
