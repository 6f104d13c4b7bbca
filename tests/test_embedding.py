import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import Document, Index, SentenceChunker, Span, TokenChunker, embed_documents
from latechunk.chunking.places import with_outline
from latechunk.embedding import ChunkedDocument, Embedding, chunk_documents, embed_chunks
from latechunk.embedding.progress import BatchProgress
from latechunk.errors import DocumentError, InputError, ModelError
from latechunk.types import Tokens
from tests.conftest import DIMS, SCRIPTS, FakeEncoder, no_error


class FixedChunker:
    """A user's own chunker that gives the same spans whatever the text."""

    settings = {"kind": "fixed"}

    def __init__(self, *spans):
        self.spans = [Span(*span) for span in spans]

    def split(self, text, offsets):
        return self.spans


def embed(encoder, document, mode, late_weight=0.5, chunker=None):
    embedding = Embedding(mode, late_weight)
    cuts = chunk_documents(encoder, [chunker or SentenceChunker(max_tokens=8)], embedding, [document], no_error)
    return cuts[0], embed_chunks(encoder, embedding, cuts)[0]


@pytest.mark.parametrize("script", SCRIPTS)
def test_spans_reproduce_the_text(script, fake):
    document = Document("a", SCRIPTS[script] * 3)

    cut, vectors = embed(fake, document, "late")

    assert "".join(document.text[span.start : span.end] for span in cut.spans) == document.text
    assert vectors.shape == (len(cut.spans), DIMS)


def test_late_and_naive_by_hand(fake):
    # Chunks of one token each: naive sees the token alone, late a quarter of its neighbours too.
    document = Document("a", "one two three")
    chunker = FixedChunker((0, 4), (4, 8), (8, 13))
    one, two, three = (fake._vector(int(token)) for token in fake.tokenize([document.text])[0].ids)

    _, late = embed(fake, document, "late", chunker=chunker)
    _, naive = embed(fake, document, "naive", chunker=chunker)

    expected = two + 0.25 * (one + three)
    np.testing.assert_allclose(late[1], expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(naive[1], two / np.linalg.norm(two), atol=1e-6)


@given(weight=st.floats(0.01, 0.99))
def test_a_blend_is_the_unit_vector_along_the_weighted_sum(weight):
    fake, document = FakeEncoder(), Document("a", "Berlin is big. It has many people. The river is slow and wide here.")

    (_, late), (_, naive) = embed(fake, document, "late"), embed(fake, document, "naive")
    _, blend = embed(fake, document, "blend", weight)

    expected = weight * late + (1 - weight) * naive
    np.testing.assert_allclose(blend, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)


def test_all_modes_have_the_same_spans(fake):
    document = Document("a", SCRIPTS["Latin"] * 4)

    spans = {mode: embed(fake, document, mode)[0].spans for mode in ("late", "naive", "blend")}

    assert spans["late"] == spans["naive"] == spans["blend"]


def test_vectors_come_back_per_document_in_order(fake):
    documents = [Document(name, text * 2) for name, text in SCRIPTS.items()]

    for mode in ("late", "naive", "blend"):
        cuts = chunk_documents(fake, [SentenceChunker(max_tokens=5)], Embedding(mode), documents, no_error)
        together = embed_chunks(fake, Embedding(mode), cuts)
        for cut, vectors in zip(cuts, together, strict=True):
            np.testing.assert_array_equal(embed_chunks(fake, Embedding(mode), [cut])[0], vectors)


@pytest.mark.parametrize("text", ["", " ", "\n\r\n\t", "\u3000"])
def test_a_document_without_a_token_is_named(fake, text):
    failed = {}

    cuts = chunk_documents(
        fake,
        [SentenceChunker()],
        Embedding(),
        [Document("blank", text), Document("good", "some text")],
        lambda document, error: failed.update({document.id: str(error)}),
    )

    assert [cut.document.id for cut in cuts] == ["good"]
    assert "document 'blank' holds no token" in failed["blank"]


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([(0, 4), (3, 99)], "ends beyond the text's 8 characters"),
        ([(4, 8), (0, 4)], "must be in order"),
        ([(0, 3), (3, 4)], r"\[3, 4\) holds no token"),
        ([], "no span at all"),
    ],
)
def test_wrong_spans_of_a_chunker_are_named(fake, spans, reason):
    with pytest.raises(DocumentError, match=f"document 'a' is cut wrongly by .*{reason}"):
        embed(fake, Document("a", "one four"), "late", chunker=FixedChunker(*spans))


def test_a_chunk_that_is_blank_alone_is_an_error_not_another_vector():
    class ContextTokenizer(FakeEncoder):
        """Has a token for '-' only between words."""

        def tokenize(self, texts):
            return [super(ContextTokenizer, self).tokenize([text.strip("-") or " "])[0] for text in texts]

    document, chunker = Document("a", "one - two"), FixedChunker((0, 4), (4, 5), (5, 9))
    encoder = ContextTokenizer()

    embed(encoder, document, "late", chunker=chunker)
    with pytest.raises(DocumentError, match="chunk of document 'a' holds no token when read alone: '-'"):
        embed(encoder, document, "naive", chunker=chunker)


def test_vectors_that_cancel_are_an_error():
    class Opposite(FakeEncoder):
        """Gives a text alone the opposite of what it gives it in a document."""

        def encode_spans(self, tasks, on_progress=None):
            sign = 1 if len(tasks) == 1 and len(tasks[0].ranges) > 1 else -1
            return [np.full((len(task.ranges), 4), sign / 2, dtype=np.float32) for task in tasks]

    with pytest.raises(ModelError, match="cancel each other"):
        embed(Opposite(dims=4), Document("a", "one two"), "blend", chunker=FixedChunker((0, 3), (4, 7)))


@pytest.mark.parametrize(
    "wrong", [dict(mode="best"), dict(late_weight=0.0), dict(late_weight=1.0), dict(late_weight=1)]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        Embedding(**wrong)


class Wrong(FakeEncoder):
    """Gives what a function makes of the right vectors."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def encode_spans(self, tasks, on_progress=None):
        return self.spoil(super().encode_spans(tasks, on_progress))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda vectors: [one[:, :-1] for one in vectors],
        lambda vectors: [one[:-1] for one in vectors],
        lambda vectors: [np.concatenate([one, one[:1]]) for one in vectors],
        lambda vectors: [one.T for one in vectors],
        lambda vectors: [one[0] for one in vectors],
        lambda vectors: [one[None] for one in vectors],
        lambda vectors: [one * np.nan for one in vectors],
        lambda vectors: [one * np.inf for one in vectors],
        lambda vectors: [one * 0 for one in vectors],
        lambda vectors: [one * 10 for one in vectors],
        lambda vectors: [one.tolist() for one in vectors],
        lambda vectors: vectors[:-1],
        lambda vectors: None,
        lambda vectors: [None for _ in vectors],
        lambda vectors: (one for one in vectors),
    ],
)
@pytest.mark.parametrize("mode", ["late", "naive", "blend"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_vectors_that_an_index_cannot_hold_are_refused(spoil, mode):
    document = Document("a", "One sentence here is long enough. Another one stands here, too, and is long.")

    with pytest.raises(ModelError, match="must give|must return"):
        embed(Wrong(spoil), document, mode)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda offsets: [*offsets[:-1], [0, 0]],  # a special token's
        lambda offsets: [[0, 0], *offsets[1:]],
        lambda offsets: offsets[::-1],
        lambda offsets: offsets[:-1],
        lambda offsets: 2 * offsets,  # of bytes
        lambda offsets: offsets - 1,
        lambda offsets: offsets.astype(float),
        lambda offsets: offsets[None],
    ],
)
def test_offsets_of_an_encoder_that_are_no_places_in_the_text_are_refused(spoil):
    class Misplaced(FakeEncoder):
        def tokenize(self, texts):
            found = super().tokenize(texts)
            return [Tokens((), one.ids, np.asarray(spoil(one.offsets))) for one in found]

    with pytest.raises(ModelError, match=r"offsets of 3 tokens must be .* for document 'a' came"):
        embed(Misplaced(), Document("a", "One two three."), "late")


def test_offsets_as_a_list_are_refused():
    class Listed(FakeEncoder):
        def tokenize(self, texts):
            return [Tokens((), one.ids, one.offsets.tolist()) for one in super().tokenize(texts)]

    with pytest.raises(ModelError, match=r"must be whole numbers of shape \(3, 2\)"):
        embed(Listed(), Document("a", "One two three."), "late")


@pytest.mark.parametrize(
    "spans", [[(0, 3)], [None], np.array([[0, 3]]), (Span(0, 3) for _ in range(1)), "spans", [Span(0, 3), None]]
)
def test_rubbish_of_a_chunker_is_named(fake, spans):
    chunker = FixedChunker()
    chunker.spans = spans

    with pytest.raises(DocumentError, match=r"must return a list of latechunk\.Span"):
        embed(fake, Document("a", "one two"), "late", chunker=chunker)


def test_a_chunker_that_looks_at_documents_is_given_their_outline(fake):
    class Sections(FixedChunker):
        def split_document(self, document, offsets):
            starts = [block.start for block in document.outline if block.kind == "heading"]
            return [Span(start, end) for start, end in zip(starts, [*starts[1:], len(document.text)], strict=True)]

    document = Document("a", "# One\n\nBerlin is big.\n\n# Two\n\nIt grows.")

    cut, _ = embed(fake, document, "late", chunker=Sections((0, 3)))

    assert cut.spans == [Span(0, 23), Span(23, 39)]


# Without an index.


@pytest.mark.parametrize("mode", ["late", "naive", "blend"])
def test_embed_documents_gives_what_an_index_stores(fake, tmp_path, mode):
    documents = [Document(name, text * 3, {"n": 1}) for name, text in SCRIPTS.items()]
    chunker = SentenceChunker(max_tokens=8)
    options = {"chunker": chunker, "mode": mode, "late_weight": 0.25 if mode == "blend" else None}
    with Index.create(tmp_path / "x", encoder=fake, **options) as index:
        index.add(documents)

        embedded = list(embed_documents(documents, encoder=fake, **options))

        assert [one.document for one in embedded] == [with_outline(one) for one in documents]
        for one in embedded:
            assert one.chunks == index.chunks(one.document.id)
            stored = index.stored(one.document.id)
            assert one.n_tokens == stored.n_tokens
            np.testing.assert_array_equal(one.vectors, stored.vectors)


def test_embed_documents_chooses_as_an_index_does(fake, tmp_path):
    class Recommending(FakeEncoder):
        recommended_embedding = {"mode": "blend", "late_weight": 0.3}

    encoder, documents = Recommending(), [Document("a", SCRIPTS["Latin"] * 40)]
    with Index.create(tmp_path / "x", encoder=encoder) as index:
        index.add(documents)
        (chosen,) = embed_documents(documents, encoder=encoder)
        (given,) = embed_documents(documents, encoder=fake, chunker=SentenceChunker(), mode="blend", late_weight=0.3)

        assert chosen.chunks == given.chunks == index.chunks("a")
        np.testing.assert_array_equal(chosen.vectors, index.stored("a").vectors)
        np.testing.assert_array_equal(chosen.vectors, given.vectors)


@pytest.mark.parametrize("mode", ["late", "naive", None])
def test_a_share_without_a_blend_is_refused(fake, tmp_path, mode):
    said = f'mode is "{mode or "late"}", .*; say mode="blend", or leave late_weight out'
    with pytest.raises(InputError, match=said):
        Index.create(tmp_path / "x", encoder=fake, mode=mode, late_weight=0.3)
    with pytest.raises(InputError, match=said):
        embed_documents([], encoder=fake, mode=mode, late_weight=0.5)
    assert not (tmp_path / "x").exists()


def test_an_embedded_document_is_equal_to_itself_alone(fake):
    one, other = (next(embed_documents([Document("a", "Some text.")], encoder=fake)) for _ in range(2))

    assert one != other
    assert {one, other} - {other} == {one}


def test_embed_documents_streams(fake, monkeypatch):
    monkeypatch.setattr("latechunk.embedding.stream._SECONDS", 0)  # batches stay as small as the first
    taken = []

    def stream():
        for number in range(1_000):
            taken.append(number)
            yield Document(str(number), "x " * 11_000)  # a batch of its own

    embedded = embed_documents(stream(), encoder=fake, chunker=TokenChunker(max_tokens=5_500))

    assert next(embedded).document.id == "0"
    assert len(next(embedded).chunks) == 2
    assert len(taken) <= 4
    embedded.close()
    assert len(taken) <= 4


@pytest.mark.parametrize("overlap", [0, 2])
def test_progress_within_a_document_goes_on_to_its_end_in_every_mode(overlap):
    class Stepwise(FakeEncoder):
        def encode_spans(self, tasks, on_progress=None):
            for number, task in enumerate(tasks):
                for _ in task.tokens.ids:
                    on_progress(number, 1)
            return super().encode_spans(tasks)

    text = " ".join(f"Word{number} is here." for number in range(40))
    chunker = SentenceChunker(max_tokens=12, overlap=overlap)
    for mode, n_reports in {"late": 120, "naive": 120, "blend": 240}.items():
        done = []
        document = Document("a", text)
        list(embed_documents([document], encoder=Stepwise(), chunker=chunker, mode=mode, on_progress=done.append))

        assert len(done) == n_reports or overlap
        assert max(one.documents for one in done) < 1 / 100
        assert sum(one.documents for one in done) == pytest.approx(1)
        assert sum(one.tokens for one in done) == 120


def test_a_long_document_is_announced_once(caplog):
    caplog.set_level("INFO", "latechunk")
    text, now, told = "word " * 1000, [0.0], []
    short, long = (
        ChunkedDocument(document, tokens, [], [], np.zeros((0, 2)), [])
        for document in (Document("short", text[:500]), Document("long", text))
        for tokens in FakeEncoder().tokenize([document.text])
    )
    progress = BatchProgress([short, long], 2, told.append, lambda: now[0])
    report = progress.of_pass([100, 1000])
    for now[0] in (4.0, 10.0, 20.0):
        report(1, 100)

    said = "document 'long' has 5,000 characters in 1,000 tokens: about 110 s and 0 MB besides what the model takes"
    assert [one.note for one in told] == ["", said, ""]
    assert [record.getMessage() for record in caplog.records] == [said]


@pytest.mark.parametrize("lengths", [[1000], [400, 300, 300]])
def test_what_is_done_soon_is_not_announced(lengths):
    now, told = [0.0], []
    chunked = [
        ChunkedDocument(Document(str(n), "word " * n), tokens, [], [], np.zeros((0, 2)), [])
        for n in lengths
        for tokens in FakeEncoder().tokenize(["word " * n])
    ]
    report = BatchProgress(chunked, 1, told.append, lambda: now[0]).of_pass(lengths)
    for now[0] in (6.0, 500.0):
        report(0, 200 if len(lengths) == 1 else 20)

    assert [one.note for one in told] == ["", ""]


def test_embed_documents_leaves_out_what_fails(fake):
    documents = [Document("a", "One."), Document("blank", " "), Document("a", "Again."), Document("b", "Two.")]
    failed, done = [], []

    embedded = embed_documents(
        documents,
        encoder=fake,
        on_error=lambda document, error: failed.append((document.text, str(error))),
        on_progress=lambda progress: done.append(progress.documents),
    )

    assert [one.document.id for one in embedded] == ["a", "b"]
    assert [text for text, _ in failed] == [" ", "Again."]
    assert "no token (1 character): a document needs text" in failed[0][1]
    assert "comes twice" in failed[1][1]
    assert sum(done) == pytest.approx(2)
    with pytest.raises(DocumentError, match="'blank' holds no token"):
        list(embed_documents(documents[:2], encoder=fake))


def test_embed_documents_refuses_wrong_arguments_at_once(fake):
    with pytest.raises(InputError, match=r"pass \[document\]"):
        embed_documents(Document("a", "One."), encoder=fake)
    with pytest.raises(InputError, match="mode must be"):
        embed_documents([], encoder=fake, mode="best")
    with pytest.raises(InputError, match=r"a latechunk\.Document is needed, got builtins\.str"):
        list(embed_documents(["text"], encoder=fake))


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            "langchain_core.documents.base",
            r"got langchain_core\.documents\.base\.Doc, which .*LateChunkVectorStore takes",
        ),
        ("llama_index.core.schema", r"got llama_index\.core\.schema\.Doc, which .*to_documents turns into it"),
        ("mine", r"got mine\.Doc: "),
    ],
)
def test_a_document_of_a_framework_is_told_where_to_go(fake, module, said):
    foreign = type("Doc", (), {"__module__": module})
    with pytest.raises(InputError, match=said):
        list(embed_documents([foreign()], encoder=fake))
