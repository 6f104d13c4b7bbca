"""Generate training data in which only the document tells the answer: look-alikes that differ in the name."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files

import numpy as np

from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet, Gold, Question
from latechunk.types import Document, Span
from latechunk.validation import Validated

N_DOCUMENTS, _MOST_DOCUMENTS = 60, 90  # of each kind; of the kinds with the fewest names there are 96
PREFIX = "generated-"
_SLOT = re.compile(r"<([^<>]+)>")
_RANGE = re.compile(r"(#?)(\d+)-(\d+)")
_MOST_FILLERS = 4  # after a fact


class _Fact(Validated):
    say: list[str]
    ask: list[str]


class _Kind(Validated):
    kind: str
    name: str
    language: str = "en"
    opening: list[str]
    asked: list[str]
    facts: list[_Fact]
    fillers: list[str] | None = None


class _Templates(Validated):
    fillers: list[str]
    words: Mapping[str, str]
    kinds: list[_Kind]


def generate_lookalikes(
    n_documents: int = N_DOCUMENTS, seed: int = 0, languages: Collection[str] = ()
) -> list[EvaluationSet]:
    """Generate sets of documents of one structure each, of which the opening alone names the subject.

    All other sentences are facts, in another order in each document, and sentences that say nothing. Questions name
    the subject and ask for one fact, so that a chunk that answers is found if its vector knows whose it is. Those of
    twelve kinds are about 300 tokens long, and those of three kinds 600: leases, handbooks and protocols of trials.
    Bridges are in German, theatres in Spanish, museums in Russian, libraries in Hindi, trails in Chinese with
    traditional characters, and the other ten kinds in English.

    Args:
        n_documents: Of each set, all about other subjects; at most 90.
        seed: Of all that is drawn.
        languages: ISO 639 codes of those that are wanted; empty for all.

    Returns:
        A set for each kind of subject, named ``generated-`` and the kind.

    Raises:
        InputError: If more documents are wanted than there are names for.

    Examples:
        >>> (vessels, *_) = generate_lookalikes(n_documents=2)
        >>> len(vessels.documents), vessels.name
        (2, 'generated-vessels')
    """
    if not 1 <= n_documents <= _MOST_DOCUMENTS:
        raise InputError(f"n_documents must be from 1 to {_MOST_DOCUMENTS}, got {n_documents}")
    text = files("latechunk.training").joinpath("lookalikes.toml").read_text(encoding="utf-8")
    templates = _Templates.from_json(json.dumps(tomllib.loads(text)))
    return [
        _generate(templates, kind, n_documents, np.random.default_rng((seed, number)))
        for number, kind in enumerate(templates.kinds)
        if not languages or kind.language in languages
    ]


def _generate(templates: _Templates, kind: _Kind, n_documents: int, chance: np.random.Generator) -> EvaluationSet:
    names: dict[str, None] = {}  # in order
    while len(names) < n_documents:
        names[_fill(kind.name, templates.words, chance)] = None
    documents: list[Document] = []
    questions: list[Question] = []
    space = "" if kind.language == "zh" else " "
    for name in names:
        sentences = _tell(templates, kind, name, chance)
        documents.append(Document(name, space.join(sentence for sentence, _ in sentences)))
        start = 0
        for sentence, asked in sentences:
            gold = Gold(name, (Span(start, start + len(sentence)),))
            questions += [Question(f"{name} {len(questions)}", one, (gold,)) for one in asked]
            start += len(sentence) + len(space)
    return EvaluationSet(f"{PREFIX}{kind.kind}", tuple(documents), tuple(questions))


def _tell(
    templates: _Templates, kind: _Kind, name: str, chance: np.random.Generator
) -> list[tuple[str, tuple[str, ...]]]:
    """The sentences of a document, each with the questions that it answers."""

    def pick(wordings: Sequence[str]) -> str:
        chosen = wordings[int(chance.integers(len(wordings)))]
        return _fill(chosen, templates.words, chance).replace("{name}", name)

    told: list[tuple[str, tuple[str, ...]]] = [(pick(kind.opening), (pick(kind.asked),))]
    for number in chance.permutation(len(kind.facts)):
        fact = kind.facts[int(number)]
        own = kind.fillers or templates.fillers
        fillers = chance.choice(own, int(chance.integers(1, _MOST_FILLERS + 1)), replace=False)
        told += [(str(filler), ()) for filler in fillers]
        told.append((pick(fact.say), (pick(fact.ask),)))
    return told


def _fill(template: str, words: Mapping[str, str], chance: np.random.Generator) -> str:
    """Draw what is in <>."""

    def draw(found: re.Match[str]) -> str:
        slot = words.get(found[1], found[1])
        bounds = _RANGE.fullmatch(slot)
        if bounds:
            number = int(chance.integers(int(bounds[2]), int(bounds[3]) + 1))
            return f"{number:,}" if bounds[1] else str(number)
        options = slot.split("|")
        return options[int(chance.integers(len(options)))]

    return _SLOT.sub(draw, template)
