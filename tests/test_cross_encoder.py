"""Cross-encoders as rerankers: a tiny random one, written on the spot."""

import pytest
import torch
from sentence_transformers import CrossEncoder
from transformers import BertConfig, BertForSequenceClassification

from latechunk import CrossEncoderReranker, Document, Index
from latechunk.errors import InputError, ModelError
from tests.checkpoints import train_wordpiece
from tests.conftest import FakeEncoder


def write_cross_encoder(folder, n_labels=1):
    tokenizer = train_wordpiece()
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=n_labels,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_cross_encoder(tmp_path_factory.mktemp("reranker"))


def test_scores_are_the_models_own(folder):
    texts = ["It is the capital.", "It has people.", "Berlin " * 100]
    expected = CrossEncoder(str(folder), device="cpu").predict([("what is it?", text) for text in texts])

    scores = CrossEncoderReranker.load(str(folder), device="cpu", batch_size=2)("what is it?", texts)

    assert scores == pytest.approx(expected.tolist(), abs=1e-6)
    assert CrossEncoderReranker.load(str(folder), device="cpu")("what is it?", []) == []


def test_a_search_is_ordered_by_it(folder, tmp_path):
    reranker = CrossEncoderReranker.load(str(folder), device="cpu")
    with Index.create(tmp_path / "index", encoder=FakeEncoder()) as index:
        index.add([Document(str(number), f"Text {number} of the capital.") for number in range(20)])
        hits = index.search("what is the capital?", 5, rerank=reranker)
    scores = reranker("what is the capital?", [f"Text {number} of the capital." for number in range(20)])

    assert [hit.score for hit in hits] == pytest.approx(sorted(scores, reverse=True)[:5], abs=1e-6)


def test_what_is_no_reranker_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"CrossEncoderReranker\.load takes a name"):
        CrossEncoderReranker(str(folder))
    with pytest.raises(InputError, match="one output.*has 3"):
        CrossEncoderReranker.load(str(write_cross_encoder(tmp_path / "three", n_labels=3)))
    with pytest.raises(InputError, match="batch_size"):
        CrossEncoderReranker.load(str(folder), batch_size=0)
    with pytest.raises(ModelError, match=r"needs a config\.json"):
        CrossEncoderReranker.load(str(tmp_path))


def test_a_name_that_is_not_found_gets_a_reranker_as_example():
    with pytest.raises(ModelError, match="a reranker is, for one, 'cross-encoder/ms-marco-MiniLM-L6-v2'") as caught:
        CrossEncoderReranker.load("nobody/no-such-reranker")
    assert "latechunk models" not in str(caught.value)  # those are encoders


def test_a_model_without_its_head_is_incomplete(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    write_cross_encoder(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({name: one for name, one in weights.items() if "classifier" not in name}, tmp_path / "model.safetensors")

    with pytest.raises(ModelError, match=r"incomplete.*classifier"):
        CrossEncoderReranker.load(str(tmp_path))
