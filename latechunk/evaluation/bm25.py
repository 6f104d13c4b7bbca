"""Chunks' texts and questions in, BM25 scores out, by SQLite's FTS5."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from latechunk.storage.fulltext import to_query
from latechunk.types import FloatArray

# Languages that put no space between words, by ISO 639 code: three characters at a time are looked for there.
_UNSPACED = ("zh", "ja", "th", "lo", "km", "my", "yue", "cmn", "jpn", "tha", "zho")


def bm25_scores(texts: Sequence[str], questions: Sequence[str], languages: set[str]) -> FloatArray:
    """BM25 of each question with each text (k1 = 1.2, b = 0.75, as FTS5 has them); any word of the question may match.

    Args:
        texts: What is searched.
        questions: Taken as words, never as FTS5's query syntax.
        languages: ISO 639 codes of the texts; where one is written without spaces, trigrams are matched, else words
            with their diacritics folded.

    Returns:
        Higher is better, ``-inf`` where nothing matches, shape ``(len(questions), len(texts))``.
    """
    trigrams = any(language.split("-")[0].lower() in _UNSPACED for language in languages)
    tokenizer = "trigram" if trigrams else "unicode61 remove_diacritics 2"
    scores = np.full((len(questions), len(texts)), -np.inf, dtype=np.float32)
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE VIRTUAL TABLE chunks USING fts5(text, tokenize='{tokenizer}')")
        database.executemany("INSERT INTO chunks(rowid, text) VALUES (?, ?)", enumerate(texts, start=1))
        for number, question in enumerate(questions):
            if words := to_query(question, trigrams=trigrams):
                rows = database.execute("SELECT rowid, bm25(chunks) FROM chunks WHERE chunks MATCH ?", (words,))
                for row, score in rows:
                    scores[number, row - 1] = -score
    return scores
