"""BM25 of questions with texts, by the full-text tables of an index, in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from latechunk.storage.fulltext import add_words, find_words, table_definitions, to_query
from latechunk.types import FloatArray, Span

# Languages that put no space between words, by ISO 639 code: three characters at a time are looked for there.
_UNSPACED = ("zh", "ja", "th", "lo", "km", "my", "yue", "cmn", "jpn", "tha", "zho")


def bm25_scores(texts: Sequence[str], questions: Sequence[str], languages: set[str]) -> FloatArray:
    """BM25 of each question with each text; any word of the question may match.

    Where one of the ``languages`` (ISO 639 codes) is written without spaces, trigrams are matched, else words with
    their diacritics folded.

    Returns:
        Higher is better, ``-inf`` where nothing matches, shape ``(len(questions), len(texts))``.
    """
    trigrams = any(language.split("-")[0].lower() in _UNSPACED for language in languages)
    words = "trigram" if trigrams else "unicode61"
    scores = np.full((len(questions), len(texts)), -np.inf, dtype=np.float32)
    with closing(sqlite3.connect(":memory:")) as database:
        for definition in table_definitions({"search": {"words": words}, "chunkers": {"texts": {}}}):
            database.execute(definition)
        for number, text in enumerate(texts):
            add_words(database, [number], text, [[Span(0, len(text))]])
        for number, question in enumerate(questions):
            if query := to_query(question, trigrams=trigrams):
                for score, text_number in find_words(database, query, len(texts), 0, None):
                    scores[number, text_number] = score
    return scores
