"""A question in, an FTS5 query out that takes it for data: its words or trigrams, any of which may match."""

from __future__ import annotations

import re

_MOST_TERMS = 1_000  # of a question; a whole document asked as a question is cut here, for lexical search alone


def to_query(question: str, *, trigrams: bool) -> str:
    """A question as an FTS5 query of quoted words or trigrams, any of which may match; empty where there is none.

    Args:
        question: Taken as words, never as FTS5's query syntax; of its different words or trigrams the first 1,000.
        trigrams: Whether the index holds trigrams, so that words of one or two characters cannot be found.
    """
    words = re.findall(r"\w+", question)
    if trigrams:
        words = [word[place : place + 3] for word in words for place in range(len(word) - 2)]
    return " OR ".join(f'"{word}"' for word in list(dict.fromkeys(words))[:_MOST_TERMS])
