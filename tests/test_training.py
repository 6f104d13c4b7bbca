"""Segments, loss, adapters and the model that is trained."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("datasets")
pytest.importorskip("peft")

from latechunk import Block, Document, Encoder, StructureChunker
from latechunk.embedding import embed_documents
from latechunk.encoding.local_global import LocalGlobalPass
from latechunk.encoding.pooling import SpanPool
from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet, Gold, Question
from latechunk.models.catalogue import LocalGlobal
from latechunk.training.average import average_factors
from latechunk.training.batches import BatchMaker
from latechunk.training.data import TrainingData, TrainingDocument, TrainingQuestion, prepare
from latechunk.training.lookalikes import generate_lookalikes
from latechunk.training.lora import TrainableAdapters, find_targets
from latechunk.training.loss import SpanContrastiveLoss, info_nce
from latechunk.training.model import build_model
from latechunk.training.run import train
from latechunk.training.segments import SegmentSource, overlaps, place_segment
from latechunk.training.settings import LoraSettings, LossSettings, RunSettings, SegmentSettings, TrainingSettings
from latechunk.training.states import KeptStates, batch_of
from latechunk.types import PoolingTask, Span, Tokens
from tests.checkpoints import write_bert
from tests.conftest import SCRIPTS

LONG_CONTEXT = LocalGlobal(
    local_layers=1,
    local_tokens=22,
    local_overlap=6,
    penalty=1.0,
    distance=6.0,
    width=2.0,
    block_tokens=8,
    mean_tokens=4,
)
TEXT = " ".join(SCRIPTS.values())


def set_of(n_documents=3, name="tales", n_parts=15):
    """Documents of a few scripts, each with questions that quote some of its words."""
    documents, questions = [], []
    for number in range(n_documents):
        text = " ".join(f"{number} {part}" for part in list(SCRIPTS.values())[:n_parts])
        documents.append(Document(f"d{number}", text))
        for asked in range(4):
            start = len(text) * asked // 5
            while text[start].isspace():
                start += 1
            span = Span(start, min(len(text), start + 9))
            question = f"what is {text[start : start + 9].strip()} of {number}"
            questions.append(Question(f"q{number}-{asked}", question, (Gold(f"d{number}", (span,)),)))
    return EvaluationSet(name, tuple(documents), tuple(questions))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("models") / "bert", positions=128)


def load(folder, **options):
    return Encoder.load(str(folder), dtype="float32", **options)


def load_long(folder):
    return load(folder, context="local-global", local_global=LONG_CONTEXT, window_tokens=4096)


SETTINGS = TrainingSettings(
    lora=LoraSettings(rank=4, alpha=8),
    segments=SegmentSettings(chunk_tokens=(8, 16), least_tokens=24, most_tokens=60),
    run=RunSettings(n_steps=2, batch_segments=3),
    query_adapter=True,
)


class Bench:
    """Everything of a run but the trainer."""

    def __init__(self, encoder, settings=SETTINGS, seed=0, data=None):
        torch.manual_seed(seed)
        self.encoder = encoder
        self.data = prepare(encoder, [data or set_of()], settings.segments.chunk_tokens)
        model, plan = encoder.parts
        self.long_pass = (
            LocalGlobalPass(model.transformer.model, plan.local_global, pad_id=model.pad_id)
            if plan.local_global
            else None
        )
        n_fixed = plan.local_global.local_layers if plan.local_global else 0
        self.adapters = TrainableAdapters(
            model.transformer.model, ["retrieval_passage", "retrieval_query"], settings.lora, n_fixed
        )
        self.model = build_model(model, self.adapters, self.long_pass, "float32")
        self.loss = SpanContrastiveLoss(self.model, settings.loss)
        self.make = BatchMaker(encoder, self.data, self.long_pass, self.model, settings)

    def shake(self):
        """Adapters begin as nothing; let them do something."""
        with torch.no_grad():
            for number, parameter in enumerate(self.adapters.parameters()):
                parameter.add_(torch.sin(torch.arange(parameter.numel()) + number).view_as(parameter) * 0.05)

    def gradients(self, number=0):
        features, labels = self.make(number)
        self.loss.load_bank({})
        for parameter in self.adapters.parameters():
            parameter.grad = None
        parts = self.loss(features, labels)
        total = torch.stack(list(parts.values())).sum()
        total.backward()
        return float(total.detach()), [parameter.grad.clone() for parameter in self.adapters.parameters()]


# ------------------------------------------------------------------------------------------------------- the loss


def test_info_nce_by_hand():
    # e^s: answers 2 and 3, of candidates 2, 3, 5 and not 7.
    scores = torch.tensor([[2.0, 3.0, 5.0, 7.0]]).log()
    gold = torch.tensor([[True, True, False, False]])
    candidates = torch.tensor([[True, True, True, False]])

    (loss,) = info_nce(scores, gold, candidates)

    assert float(loss) == pytest.approx(-math.log(5 / 10))


def labels_of(documents, owner, asked_of, gold, own_only=None):
    return {
        "documents": torch.tensor(documents),
        "owner": torch.tensor(owner),
        "asked_of": torch.tensor(asked_of),
        "gold": torch.tensor(gold),
        "own_only": torch.tensor(own_only or [False] * len(asked_of)),
    }


class Given(torch.nn.Module):
    """A model that gives what it is told to."""

    def forward(self, features):
        return {"sentence_embedding": features["given"]}


E1, E2 = [1.0, 0.0], [0.0, 1.0]
ASKED = {"given": torch.tensor([E1]), "untrained": torch.tensor([E1]), "adapter": None}  # one question


def contrast(documents, settings, own_only=None, batches=1):
    """Two segments of two chunks, e1 and e2 each; one question, e1, answered by the first chunk of the first."""
    loss = SpanContrastiveLoss(Given(), settings)
    late = torch.tensor([E1, E2, E1, E2])
    labels = labels_of(documents, [0, 0, 1, 1], [0], [[True, False, False, False]], own_only=own_only)
    for _ in range(batches):
        parts = loss([{"given": late, "adapter": "p", "alone": None}, ASKED], labels)
    return float(parts["contrast"])


PLAIN = {
    "temperature": 1.0,
    "late_weight": 1.0,
    "document_weight": 0.0,
    "margin": None,
    "anchor": 0.0,
    "bank_segments": 0,
}


def test_within_the_document_only_chunks_of_the_segment_compete():
    # Candidates: e1 (answer, cosine 1) and e2 (cosine 0).
    assert contrast([0, 1], LossSettings(within_weight=1.0, **PLAIN)) == pytest.approx(
        -math.log(math.e / (math.e + 1)), abs=1e-6
    )


def test_other_documents_compete_and_other_segments_of_the_same_do_not():
    across = LossSettings(within_weight=0.0, **PLAIN)

    two_documents, one_document = contrast([0, 1], across), contrast([0, 0], across)

    assert two_documents == pytest.approx(-math.log(math.e / (2 * math.e + 2)), abs=1e-6)
    assert one_document == pytest.approx(-math.log(math.e / (math.e + 1)), abs=1e-6)


def test_questions_of_many_documents_are_compared_within_theirs():
    across = LossSettings(within_weight=0.0, **PLAIN)

    assert contrast([0, 1], across, own_only=[True]) == pytest.approx(-math.log(math.e / (math.e + 1)), abs=1e-6)


def test_the_bank_adds_other_documents_of_earlier_batches():
    banked = LossSettings(within_weight=0.0, **{**PLAIN, "bank_segments": 2})

    # The second time, the bank holds both segments: that of the question's own document does not compete.
    assert contrast([0, 1], banked, batches=2) == pytest.approx(-math.log(math.e / (3 * math.e + 3)), abs=1e-6)


def test_the_blend_is_what_is_compared():
    settings_ = LossSettings(**{**PLAIN, "late_weight": 0.5, "within_weight": 1.0})
    loss = SpanContrastiveLoss(Given(), settings_)
    labels = labels_of([0], [0, 0], [0], [[True, False]])
    group = {"given": torch.tensor([E1, E2]), "adapter": "p", "alone": torch.tensor([E2, E1])}

    parts = loss([group, ASKED], labels)

    assert float(parts["contrast"]) == pytest.approx(math.log(2), abs=1e-6)  # both blends lie halfway


def at(cosine):
    """A vector at this cosine with e1."""
    return [cosine, math.sqrt(1 - cosine * cosine)]


def parts_of(late, labels, settings, batches=1):
    loss = SpanContrastiveLoss(Given(), settings)
    for _ in range(batches):
        parts = loss([{"given": torch.tensor(late), "adapter": "p", "alone": None}, ASKED], labels)
    return {name: float(value) for name, value in parts.items()}


def test_documents_are_told_apart_by_the_best_chunk_of_each():
    # Of documents 0, 1, 0 and 2; the third segment, of the question's own document, is no candidate.
    late = [at(0.5), at(0.9), at(0.1), at(0.7), at(0.8), at(0.3)]
    gold = [[True, False, False, False, False, False]]
    labels = labels_of([0, 1, 0, 2], [0, 0, 1, 1, 2, 3], [0], gold)
    settings_ = LossSettings(**{**PLAIN, "document_weight": 0.25, "within_weight": 1.0, "bank_segments": 4})
    best, others = math.exp(0.9), math.exp(0.7) + math.exp(0.3)

    first, second = (parts_of(late, labels, settings_, batches) for batches in (1, 2))

    assert first["document"] == pytest.approx(-0.25 * math.log(best / (best + others)), abs=1e-6)
    assert first["contrast"] == pytest.approx(-0.75 * math.log(math.exp(0.5) / (math.exp(0.5) + best)), abs=1e-6)
    assert second["document"] == pytest.approx(-0.25 * math.log(best / (best + 2 * others)), abs=1e-6)  # with the bank
    labels["own_only"] = torch.tensor([True])
    assert parts_of(late, labels, settings_, 2)["document"] == pytest.approx(0.0, abs=1e-6)


def test_what_is_closer_than_the_answers_by_more_than_the_margin_does_not_count():
    late = [at(0.4), at(0.6), at(0.65), at(0.8), at(0.69), at(0.88)]
    gold = [[True, True, False, False, False, False]]
    labels = labels_of([0, 1], [0, 0, 0, 0, 1, 1], [0], gold)
    answers, near = math.exp(0.4) + math.exp(0.6), math.exp(0.65)

    def with_margin(within):
        return LossSettings(**{**PLAIN, "margin": 0.1, "within_weight": within, "document_weight": 0.5})

    within, across = parts_of(late, labels, with_margin(1.0)), parts_of(late, labels, with_margin(0.0))

    assert within["contrast"] == pytest.approx(-0.5 * math.log(answers / (answers + near)), abs=1e-6)
    assert across["contrast"] == pytest.approx(
        -0.5 * math.log(answers / (answers + near + math.exp(0.69))), abs=1e-6
    )  # not 0.8 and 0.88
    # The other document, at 0.88, is at most 0.1 closer than the own one, at 0.8.
    assert within["document"] == pytest.approx(
        -0.5 * math.log(math.exp(0.8) / (math.exp(0.8) + math.exp(0.88))), abs=1e-6
    )


def test_the_late_half_of_the_blend_is_anchored():
    settings_ = LossSettings(**{**PLAIN, "late_weight": 0.5, "anchor": 3.0, "temperature": 0.5})
    late = {"given": torch.tensor([E1, E2]), "untrained": torch.tensor([at(0.8), E2])}
    group = {**late, "adapter": "p", "alone": torch.tensor([at(0.9), E1])}
    labels = labels_of([0], [0, 0], [0], [[True, False]])

    parts = SpanContrastiveLoss(Given(), settings_)([group, ASKED], labels)

    assert float(parts["anchor"]) == pytest.approx(3 * (0.2 + 0.0) / 2 / 0.5, abs=1e-6)


def test_anchor_is_one_less_the_cosine_with_the_untrained_model(folder, tmp_path):
    bench = Bench(load_long(folder))
    features, labels = bench.make(0)

    before = bench.loss(features, labels)
    bench.shake()
    after = bench.loss(features, labels)

    assert before["anchor"].item() == pytest.approx(0, abs=1e-5)
    assert before["query_anchor"].item() == pytest.approx(0, abs=1e-5)
    assert after["anchor"].item() > 1e-4
    assert after["query_anchor"].item() > 1e-4


def test_both_adapters_learn_and_the_base_does_not(folder, tmp_path):
    bench = Bench(load_long(folder))
    bench.shake()
    bench.gradients()

    named = dict(bench.model.named_parameters())
    with_gradient = {name for name, parameter in named.items() if parameter.grad is not None and parameter.grad.any()}
    assert with_gradient
    assert all(".lora_" in name for name in with_gradient)
    assert any("retrieval_passage" in name for name in with_gradient)
    assert any("retrieval_query" in name for name in with_gradient)
    assert not any(parameter.requires_grad for name, parameter in named.items() if ".lora_" not in name)
    assert all(".layer.0." not in name for name in with_gradient)  # local, and thus fixed


def test_the_bank_comes_back_from_a_checkpoint(folder, tmp_path):
    bench = Bench(load_long(folder))
    bench.loss(*bench.make(0))
    state = bench.loss.bank_state()
    other = SpanContrastiveLoss(bench.model, SETTINGS.loss)
    other.load_bank(state)

    with torch.no_grad():
        assert other(*bench.make(1))["contrast"].item() == bench.loss(*bench.make(1))["contrast"].item()


# ------------------------------------------------------------------------------- what is trained is what is used


@pytest.mark.parametrize("context", ["local-global", "windows"])
def test_without_adapters_training_reads_as_the_encoder_does(folder, tmp_path, context):
    encoder = load_long(folder) if context == "local-global" else load(folder, context="windows", window_tokens=128)
    bench = Bench(encoder, data=set_of(n_parts=3))
    long_enough = TrainingSettings(
        lora=SETTINGS.lora,
        segments=SegmentSettings(chunk_tokens=(8, 16), least_tokens=4096, most_tokens=4096),
        run=SETTINGS.run,
        query_adapter=False,
    )
    whole = BatchMaker(encoder, bench.data, bench.long_pass, bench.model, long_enough)
    (features, _), labels = whole(0)

    with torch.no_grad():
        got = bench.model(features)["sentence_embedding"].numpy()

    again = load_long(folder) if context == "local-global" else load(folder, context="windows", window_tokens=128)
    for segment, document in enumerate(labels["documents"].tolist()):
        mine = bench.data.documents[document]
        vectors = got[(labels["owner"] == segment).numpy()]
        (ranges,) = [one for one in mine.cuts.values() if len(one) == len(vectors)]
        (want,) = again.encode_spans([PoolingTask(mine.tokens, ranges)])
        np.testing.assert_allclose(vectors, want, atol=1e-5)


def test_what_is_kept_of_frozen_layers_is_what_they_give_again(folder, tmp_path):
    run = SETTINGS.run.replaced(n_batches=2)
    bench = Bench(load_long(folder), SETTINGS.replaced(run=run))
    bench.shake()
    loss, gradients = bench.gradients(0)
    settings_ = SETTINGS.replaced(run=run)
    bench.make = BatchMaker(bench.encoder, bench.data, bench.long_pass, bench.model, settings_, tmp_path / "kept")
    first = bench.gradients(0)
    model, _ = bench.encoder.parts
    model.transformer.model.embeddings.register_forward_hook(lambda *_: pytest.fail("a frozen layer was run again"))

    second = bench.gradients(batch_again(0))

    assert [path.suffix for path in (tmp_path / "kept").iterdir()] == [".safetensors"]
    assert second[0] == first[0] == pytest.approx(loss, rel=1e-2)
    for one, other, exact in zip(second[1], first[1], gradients, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, exact, atol=0.02 * float(exact.abs().max()) + 1e-6)


def batch_again(step, n_batches=2, in_a_row=6):
    """The next step with the same batch."""
    batch = batch_of(step, n_batches, in_a_row, seed=0)
    return next(one for one in range(n_batches, 2 * n_batches) if batch_of(one, n_batches, in_a_row, seed=0) == batch)


@given(st.integers(1, 40), st.integers(0, 7), st.integers(0, 5))
def test_each_batch_comes_once_in_as_many_steps_and_those_in_a_row_stay_together(n_batches, in_a_row, seed):
    steps = [batch_of(step, n_batches, in_a_row, seed) for step in range(2 * n_batches)]
    for epoch in (steps[:n_batches], steps[n_batches:]):
        assert sorted(epoch) == list(range(n_batches))
        breaks = [other for one, other in pairwise(epoch) if other != one + 1]
        assert all(other % max(1, in_a_row) == 0 for other in breaks)


def test_chunks_alone_are_read_as_an_index_reads_them(folder):
    bench = Bench(load_long(folder))
    bench.shake()
    (group, _), _ = bench.make(3)
    segments = SegmentSource(bench.data, SETTINGS.segments, 0).draw(3, 3)
    texts = [text for one in segments for text in bench.make._texts(one)]

    for text, segment in zip(texts[:2], segments[:1] * 2, strict=True):
        assert text in bench.data.documents[segment.document].text
    np.testing.assert_allclose(group["alone"].numpy(), load_long(folder).encode_texts(texts), atol=1e-5)


def test_questions_of_two_documents_are_compared_within_each(folder):
    encoder = load(folder)
    texts = {"a": "One is here. Two is there. " * 4, "b": "Three is one. Four is two. " * 4}
    documents = tuple(Document(name, text) for name, text in texts.items())
    both = Question("both", "what", tuple(Gold(name, (Span(0, 3),)) for name in texts))
    one = Question("one", "which", (Gold("a", (Span(0, 3),)),))

    data = prepare(encoder, [EvaluationSet("s", documents, (both, one))], (8,))

    assert [(question.text, question.is_shared) for question in data.questions] == [
        ("what", True),
        ("which", False),
        ("what", True),
    ]


def test_what_does_not_fit_a_plain_pass_is_an_error(folder, tmp_path):
    def attempt(settings_, data=None):
        encoder = load_long(folder)
        prepared = prepare(encoder, [data or set_of()], settings_.segments.chunk_tokens)
        train(encoder, prepared, tmp_path / "out", settings_)

    with pytest.raises(InputError, match="n_layers must be at most the 1 layers"):
        attempt(SETTINGS.replaced(lora=LoraSettings(n_layers=2)))

    long_chunks = SegmentSettings(chunk_tokens=(16, 127), least_tokens=200, most_tokens=300)
    with pytest.raises(InputError, match=r"chunk_tokens may be at most 126 .*, got 127; train smaller"):
        attempt(SETTINGS.replaced(segments=long_chunks))
    original = set_of()
    asked = replace(original.questions[0], text="what " * 127)
    with pytest.raises(InputError, match="a question of 508 tokens is longer than the 126"):
        attempt(SETTINGS, replace(original, questions=(asked, *original.questions[1:])))
    assert not (tmp_path / "out").exists()  # a run that cannot begin leaves nothing behind


def test_span_pool_sums_over_passes_as_over_one():
    table = torch.arange(12.0).view(6, 2)
    pool = SpanPool()
    at_once = pool(
        {
            "token_embeddings": table,
            "rows": torch.tensor([0, 1, 2, 4]),
            "bags": torch.tensor([0, 3]),
            "spans": torch.tensor([0, 1]),
            "n_rows": torch.tensor([3, 1]),
        }
    )["sentence_embedding"]

    sums = torch.zeros(2, 2)
    pool.add(sums, table[:2], torch.tensor([0, 1]), torch.tensor([0]), torch.tensor([0]))
    pool.add(sums, table[2:], torch.tensor([0, 2]), torch.tensor([0, 1]), torch.tensor([0, 1]))

    assert at_once.tolist() == [[2.0, 3.0], [8.0, 9.0]]
    torch.testing.assert_close(sums / torch.tensor([[3], [1]]), at_once)


def test_adapters_are_written_and_read_exactly(folder, tmp_path):
    bench = Bench(load_long(folder))
    bench.shake()
    bench.adapters.save(tmp_path / "saved", dtype=torch.float32)
    other = Bench(load_long(folder), seed=1)
    other.adapters.load(tmp_path / "saved")

    for name in bench.adapters.names:
        was, came = bench.adapters.state(name), other.adapters.state(name)
        assert was.keys() == came.keys()
        assert all(torch.equal(was[key], came[key]) for key in was)
    modes = {path.stat().st_mode for path in (tmp_path / "saved" / "retrieval_query").iterdir() if path.suffix != ".md"}
    assert len(modes) == 1  # who may read the settings may read the weights
    config = json.loads((tmp_path / "saved" / "retrieval_query" / "adapter_config.json").read_text())
    assert config["r"] == 4
    assert config["lora_alpha"] == 8


def test_targets_are_the_linear_layers_of_the_top(folder):
    backbone = load(folder).parts[0].transformer.model

    names = find_targets(backbone, LoraSettings(n_layers=1), 0)

    assert names == [
        f"encoder.layer.1.{name}"
        for name in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
        )
    ]
    with pytest.raises(InputError, match="at most the 1 layers that are not fixed, got 2"):
        find_targets(backbone, LoraSettings(n_layers=2), 1)
    with pytest.raises(InputError, match="no linear layer has a name of the form 'nothing'"):
        find_targets(backbone, LoraSettings(targets="nothing"), 0)


# ------------------------------------------------------------------------------------------------- data, segments


def test_answers_become_tokens(folder):
    encoder = load(folder)
    text = "The city lies on the river. It has three bridges. " * 6
    start = text.index("three bridges")
    gold = Gold("d", (Span(start, start + len("three bridges")),))
    data = prepare(
        encoder,
        [EvaluationSet("s", (Document("d", text), Document("unasked", "x")), (Question("q", "?a", (gold,)),))],
        (8,),
    )

    (document,) = data.documents
    (question,) = data.questions
    offsets = document.tokens.offsets[slice(*question.answers[0])]
    assert text[offsets[0, 0] : offsets[-1, 1]] == "three bridges"
    assert data.counts() == {"s": {"documents": 1, "questions": 1, "tokens": len(document.tokens)}}


def test_documents_are_cut_by_their_outline_as_in_an_index(folder):
    encoder = load(folder)
    text = "The city lies on the river. " * 7 + "Bridges\n" + "It has three bridges. " * 12
    start = text.index("Bridges")
    document = Document("d", text, outline=(Block("heading", start, start + 7, 1),))
    gold = Gold("d", (Span(0, 6),))

    data = prepare(encoder, [EvaluationSet("s", (document,), (Question("q", "?a", (gold,)),))], (64,))

    assert start in [span.start for span in data.documents[0].spans[64]]
    (embedded,) = embed_documents([document], encoder=encoder, chunker=StructureChunker(max_tokens=64))
    assert [(one.start, one.end) for one in embedded.chunks] == [
        (span.start, span.end) for span in data.documents[0].spans[64]
    ]


def test_unusable_questions_are_named(folder):
    encoder = load(folder)
    text = "One. \n\n\n Two."
    documents = (Document("d", text),)
    blank = Question("blank", "what", (Gold("d", (Span(6, 8),)),))
    whole = Question("whole", "which", (Gold("d"),))
    good = Question("good", "what two", (Gold("d", (Span(9, 12),)),))
    one = EvaluationSet("s", documents, (blank, good))

    with pytest.raises(InputError, match=r"cannot be trained on: 1\n  s, question 'blank'.*in no chunk"):
        prepare(encoder, [one], (8,))
    with pytest.raises(InputError, match="names a document and no characters"):
        prepare(encoder, [EvaluationSet("s", documents, (whole,))], (8,))
    assert len(prepare(encoder, [one], (8,), skip_unusable=True).questions) == 1
    with pytest.raises(InputError, match="no question left to train on"):
        prepare(encoder, [EvaluationSet("s", documents, (whole,))], (8,), skip_unusable=True)


def document_of(n_tokens, size, asked, name="s"):
    ids = np.arange(n_tokens)
    cuts = np.array([[first, min(first + size, n_tokens)] for first in range(0, n_tokens, size)])
    tokens = Tokens((), ids, np.stack([ids, ids + 1], axis=1))
    return TrainingDocument(name, "d", tokens, "", {size: cuts}, {size: []}, asked)


@settings(max_examples=60, deadline=None)
@given(
    n_tokens=st.integers(20, 200),
    size=st.integers(2, 20),
    answer=st.integers(0, 19),
    length=st.integers(20, 120),
    number=st.integers(0, 5),
)
def test_segments_are_whole_chunks_with_answers(n_tokens, size, answer, length, number):
    question = TrainingQuestion("q", 0, np.array([[answer, answer + 1]]))
    data = TrainingData((document_of(n_tokens, size, (0,)),), (question,))
    source = SegmentSource(data, SegmentSettings(chunk_tokens=(size,), least_tokens=length, most_tokens=length), 0)
    try:
        (segment,) = source.draw(number, 1)
    except InputError:
        assert length < 3 * size or n_tokens <= size  # no room for two whole chunks around the answer
        return

    cuts = data.documents[0].cuts[size]
    rows = cuts[segment.first_chunk : segment.first_chunk + len(segment.ranges)]
    np.testing.assert_array_equal(segment.ranges + segment.start, rows)
    assert (segment.start, segment.end) == (rows[0, 0], rows[-1, 1])
    assert segment.end - segment.start <= length
    assert segment.gold.any()
    assert not segment.gold.all()
    np.testing.assert_array_equal(segment.gold[0], overlaps(rows, question.answers))


@given(st.integers(1, 500), st.integers(1, 300), st.integers(0, 2**31), st.data())
def test_a_segment_holds_the_token_it_is_placed_around(n_tokens, length, seed, data):
    first = data.draw(st.integers(0, n_tokens - 1))

    start = place_segment(np.random.default_rng(seed), n_tokens, length, first, first + 1)

    assert 0 <= start <= first < start + length or n_tokens <= length
    assert start + length <= n_tokens or start == 0


def test_batches_depend_on_number_and_seed_alone():
    question = TrainingQuestion("q", 0, np.array([[5, 6]]))
    data = TrainingData((document_of(400, 10, (0,)),), (question,))
    wanted = SegmentSettings(chunk_tokens=(10,), least_tokens=50, most_tokens=200)

    one, same, other = (SegmentSource(data, wanted, seed) for seed in (0, 0, 1))
    same.draw(7, 2)

    places = [[(s.start, s.end) for s in source.draw(3, 4)] for source in (one, same, other)]
    assert places[0] == places[1] != places[2]


def test_weights_choose_sets():
    questions = tuple(TrainingQuestion("q", number, np.array([[5, 6]])) for number in range(2))
    data = TrainingData((document_of(99, 10, (0,), "a"), document_of(99, 10, (1,), "b")), questions)
    source = SegmentSource(data, SegmentSettings(chunk_tokens=(10,), least_tokens=50, mixture={"a": 0.0}), 0)

    assert {segment.document for number in range(20) for segment in source.draw(number, 2)} == {1}


def test_documents_of_a_whole_set_are_read_from_their_beginning():
    questions = tuple(TrainingQuestion("q", number, np.array([[85, 86]])) for number in range(2))
    data = TrainingData((document_of(99, 10, (0,), "a"), document_of(99, 10, (1,), "b")), questions)
    settings = SegmentSettings(chunk_tokens=(10,), least_tokens=40, most_tokens=120, whole=("a",))
    drawn = [segment for number in range(20) for segment in SegmentSource(data, settings, 0).draw(number, 2)]

    assert {(one.start, one.end) for one in drawn if one.document == 0} == {(0, 99)}
    assert min(one.end - one.start for one in drawn if one.document == 1) < 60


def test_documents_are_drawn_by_the_root_of_their_number_of_questions():
    questions = tuple(TrainingQuestion("q", int(n == 9), np.array([[5, 6]])) for n in range(10))
    data = TrainingData((document_of(99, 10, tuple(range(9))), document_of(99, 10, (9,))), questions)
    source = SegmentSource(data, SegmentSettings(chunk_tokens=(10,), least_tokens=50, most_tokens=60), 0)

    drawn = [segment.document for number in range(500) for segment in source.draw(number, 4)]

    assert np.mean(np.array(drawn) == 0) == pytest.approx(3 / 4, abs=0.04)  # 9 / 10 by the number itself


def two_sets(n_tokens=100):
    documents = [document_of(100, 10, (0,), "a"), document_of(n_tokens, 10, (1,), "b")]
    return TrainingData(tuple(documents), tuple(TrainingQuestion("q", n, np.array([[5, 6]])) for n in range(2)))


def test_batches_in_a_row_are_of_one_set():
    def rows(n_in_a_row, data):
        wanted = SegmentSettings(chunk_tokens=(10,), least_tokens=50, most_tokens=90, batches_in_a_row=n_in_a_row)
        source = SegmentSource(data, wanted, 0)
        return [{one.document for n in range(row, row + 3) for one in source.draw(n, 4)} for row in range(0, 120, 3)]

    in_rows = rows(3, two_sets())
    assert all(len(row) == 1 for row in in_rows)
    assert 10 < sum(row == {0} for row in in_rows) < 30
    assert all(len(row) == 2 for row in rows(0, two_sets()))
    assert all(row == {0} for row in rows(3, two_sets(n_tokens=10)))  # the other has one chunk: nothing to compare


@pytest.mark.parametrize("size", [10, 40])
def test_a_batch_is_found_wherever_some_segment_has_a_question(size):
    """Many documents of one chunk and one of three; with chunks of 40 no short segment has two of them."""
    documents = [*(document_of(9, size, (n,)) for n in range(3_000)), document_of(120, size, (3_000,))]
    questions = tuple(TrainingQuestion("q", n, np.array([[5, 6]])) for n in range(3_001))
    settings = SegmentSettings(chunk_tokens=(size,), least_tokens=30, most_tokens=90)
    source = SegmentSource(TrainingData(tuple(documents), questions), settings, 0)

    drawn = [segment for number in range(3) for segment in source.draw(number, 2)]

    assert {one.document for one in drawn} == {3_000}
    assert all(one.end <= 90 for one in drawn)


def test_states_of_a_damaged_file_are_computed_again(tmp_path):
    kept, computed = KeptStates(tmp_path), []

    def read():
        with kept.of(0) as keep:
            states, _ = keep("late", lambda: (computed.append(1) or torch.arange(3.0), None))
        return states.tolist()

    assert read() == read() == [0, 1, 2]
    (tmp_path / "0.safetensors").write_bytes((tmp_path / "0.safetensors").read_bytes()[:-2])
    assert read() == read() == [0, 1, 2]
    assert len(computed) == 2


def test_texts_too_short_to_compare_chunks_are_an_error():
    data = TrainingData((document_of(9, 10, (0,)),), (TrainingQuestion("q", 0, np.array([[5, 6]])),))

    with pytest.raises(InputError, match="answered by some chunks of its segment and not by all"):
        SegmentSource(data, SegmentSettings(chunk_tokens=(10,)), 0).draw(0, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoraSettings(rank=0), "rank must be at least 1, got 0"),
        (lambda: LoraSettings(rank=100_000), "rank must be at most 1,024, got 100000"),
        (lambda: LoraSettings(alpha=math.nan), "alpha must be a finite number"),
        (lambda: LossSettings(temperature=0.0), "temperature must be more than 0"),
        (lambda: LossSettings(late_weight=0.0), "late_weight must be more than 0"),
        (lambda: LossSettings(document_weight=1.5), "document_weight must be at most 1"),
        (lambda: LossSettings(within_weight=-0.5), "within_weight must be at least 0"),
        (lambda: LossSettings(margin=-0.1), "margin must be at least 0"),
        (lambda: LossSettings(anchor=-1.0), "anchor must be at least 0"),
        (lambda: LossSettings(bank_segments=-1), "bank_segments must be at least 0"),
        (lambda: SegmentSettings(chunk_tokens=()), "chunk_tokens .* at least 1 item"),
        (lambda: SegmentSettings(least_tokens=9, most_tokens=8), "most_tokens must be at least 9, got 8"),
        (lambda: SegmentSettings(mixture={"a": -1.0}), "mixture.a must be at least 0"),
        (lambda: RunSettings(n_steps=0), "n_steps must be at least 1"),
        (lambda: RunSettings(batch_segments=100_000), "batch_segments must be at most 1,024, got 100000"),
        (lambda: RunSettings(n_steps=True), "n_steps must be a whole number"),
        (lambda: RunSettings(precision="float16"), "precision must be one of 'float32' or 'bfloat16'"),
        (lambda: RunSettings(learning_rate=math.inf), "learning_rate must be a finite number"),
    ],
)
def test_settings_out_of_range(make, message):
    with pytest.raises(InputError, match=message):
        make()


# ------------------------------------------------------------------------------------------------------- look-alikes


def test_lookalikes_differ_in_the_name_which_the_first_sentence_alone_holds():
    sets = generate_lookalikes(n_documents=20)

    assert [len(one.documents) for one in sets] == [20] * 15
    for one in sets:
        assert len({document.id for document in one.documents}) == 20
        for document in one.documents:
            assert document.text.count(document.id) == 1
            asked = [question for question in one.questions if question.gold[0].document_id == document.id]
            assert len(asked) in (8, 9)
            answers = []
            for question in asked:
                (span,) = question.gold[0].spans
                answers.append(document.text[span.start : span.end])
                assert document.id in question.text
                assert answers[-1][-1] in ".।。"
            assert document.id in answers[0]
            assert len(set(answers)) == len(asked)
        assert not set("<>{}|") & set("".join(document.text for document in one.documents))


def test_lookalikes_are_of_languages_that_are_wanted():
    everything, english, others = (generate_lookalikes(3, languages=some) for some in ((), ("en",), ("de", "hi", "zh")))

    assert [len(some) for some in (everything, english, others)] == [15, 10, 3]
    assert everything[:10] == english
    assert [one.name for one in others] == ["generated-bridges", "generated-libraries", "generated-trails"]


def test_lookalikes_depend_on_the_seed_alone():
    one, same, other = (generate_lookalikes(3, seed) for seed in (0, 0, 1))

    assert one == same
    assert one != other
    with pytest.raises(InputError, match="n_documents must be from 1 to 90, got 91"):
        generate_lookalikes(91)


@given(st.integers(1, 4), st.integers(1, 7), st.integers(0, 2**31))
def test_the_mean_of_adapters_is_the_nearest_of_their_rank(n_adapters, rank, seed):
    generator = torch.Generator().manual_seed(seed)
    ups = [torch.randn(6, rank, generator=generator) for _ in range(n_adapters)]
    downs = [torch.randn(rank, 5, generator=generator) for _ in range(n_adapters)]

    up, down = average_factors(ups, downs)

    wanted = torch.stack([one @ other for one, other in zip(ups, downs, strict=True)]).mean(0)
    sizes = torch.linalg.svdvals(wanted)
    assert (up.shape, down.shape) == ((6, rank), (rank, 5))
    assert float(torch.linalg.norm(wanted - up @ down)) == pytest.approx(
        float(torch.linalg.norm(sizes[rank:])), abs=1e-4
    )
    if n_adapters == 1:
        assert torch.allclose(up @ down, wanted, atol=1e-4)


def test_the_mean_of_adapters_by_hand():
    """Of 4 along one axis and 2 along another the mean is 2 and 1; one rank keeps the 2, split evenly."""
    ups = [torch.tensor([[2.0], [0.0]]), torch.tensor([[0.0], [1.0]])]
    downs = [torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 2.0]])]

    up, down = average_factors(ups, downs)

    assert torch.allclose(up @ down, torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), atol=1e-6)
    assert up.abs().flatten().tolist() == pytest.approx([2**0.5, 0], abs=1e-6)
