"""What an evaluation comes to, in a sentence: how many answers come first, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latechunk.evaluation.arms import ARMS
from latechunk.evaluation.harness import SetResult
from latechunk.evaluation.metrics import Judgements, judge
from latechunk.evaluation.ranking import Ranking
from latechunk.evaluation.statistics import Comparison, Values, compare, questions_needed
from latechunk.printing import counted

_LEAST_DOCUMENTS = 6  # with fewer no difference is sure; see ``latechunk.evaluation.statistics``


def choose_compared(arms: Sequence[str]) -> tuple[str, str]:
    """The arm that is asked about, and the one that it is compared with; the same where there is only one."""
    reference = "naive" if "naive" in arms else arms[0]
    others = [arm for arm in ("default", "blend", "late", *arms) if arm in arms and arm != reference]
    return others[0] if others else reference, reference


def tell_first(result: SetResult, *, is_only: bool) -> str:
    """A sentence on how many answers come first in the corpus, at the first encoder and chunk size.

    The default, or what is compared where it is missing, against naive chunking; where that is missing, against the arm
    that finds most. ``is_only`` says that there is no other set, encoder or chunk size to tell this from.
    """
    encoder, size = result.results[0].encoder, result.results[0].max_tokens
    judged = judge(result.evaluation_set, result.tables[encoder, size])
    found = {
        one.arm: find_first(judged, one.rankings["corpus"])
        for one in result.results
        if (one.encoder, one.max_tokens) == (encoder, size)
    }
    arm, reference = choose_compared(list(found))
    if "default" in found:
        arm = "default"
    if reference == arm:
        reference = max((one for one in found if one != arm), key=lambda one: found[one].sum(), default=arm)
    n_documents, n = len(result.evaluation_set.documents), len(judged.chunks)
    documents = "document" if n_documents == 1 else f"{n_documents:,} documents"
    where = "your" if is_only else "the"
    of = "" if is_only else f" of {result.evaluation_set.name}, in chunks of at most {size} tokens,"
    told = f"On {where} {documents}{of} {ARMS[arm].name} finds {found[arm].sum():,.0f} of {n:,} answers first"
    if reference == arm:
        return f"{told}."
    clusters = [question.cluster for question in result.evaluation_set.questions]
    chance = _tell_chance(compare(found[arm], found[reference], clusters), n, len(set(clusters)))
    return f"{told}; {ARMS[reference].name} {found[reference].sum():,.0f}; {chance}."


def find_first(judged: Judgements, ranking: Ranking) -> Values:
    """For each question 1 if what comes first answers it, as in hit@1: by document where it asks for one."""
    chunks, documents = ranking.chunks[:, 0].tolist(), ranking.documents[:, 0].tolist()
    hits = [
        chunk in judged.chunks[number] if judged.has_spans[number] else document in judged.documents[number]
        for number, (chunk, document) in enumerate(zip(chunks, documents, strict=True))
    ]
    return np.array(hits, dtype=np.float64)


def _tell_chance(compared: Comparison, n_questions: int, n_documents: int) -> str:
    """Whether the difference may be chance, and what to ask to know."""
    if compared.is_sure:
        return "that difference is larger than chance explains"
    needed = -(-questions_needed(compared.wins, compared.losses, n_questions) // 10) * 10
    asked = counted(n_questions, "question")
    about = f", on {_LEAST_DOCUMENTS} documents or more" if n_documents < _LEAST_DOCUMENTS else ""
    if compared.wins == compared.losses:
        return f"with {asked} no difference shows: to see one of one answer in ten, ask at least {needed:,}{about}"
    advice = "ask about more documents" if needed <= n_questions else f"ask at least {needed:,}{about}"
    return f"with {asked} that difference may be chance: {advice}"
