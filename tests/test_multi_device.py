import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk import DevicePool, Document, Encoder, Index, TokenChunker
from latechunk.embedding.chunks import token_ranges
from latechunk.encoding import multi_device
from latechunk.encoding.multi_device import _share_out
from latechunk.errors import InputError, ModelError, SpanError
from latechunk.types import PoolingTask
from tests.checkpoints import write_bert
from tests.conftest import SCRIPTS


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = write_bert(tmp_path_factory.mktemp("models") / "bert")
    return Encoder.load(str(folder), dtype="float32", window_tokens=48, overlap_tokens=12)


@pytest.fixture(scope="module")
def pool(encoder):
    with DevicePool(encoder, ["cpu", "cpu"]) as pool:
        yield pool


def tasks_of(encoder):
    tasks = []
    for text in SCRIPTS.values():
        (tokens,) = encoder.tokenize([text * 3])
        spans = TokenChunker(max_tokens=9).split(text * 3, tokens.offsets)
        tasks.append(PoolingTask(tokens, token_ranges(tokens.offsets, spans)))
    return tasks


def test_processes_give_what_one_encoder_gives(encoder, pool):
    tasks = tasks_of(encoder)
    done = {}

    got = pool.encode_spans(tasks, lambda number, n_tokens: done.update({number: n_tokens}))

    for one, other in zip(got, encoder.encode_spans(tasks), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert done == {number: len(task.tokens) for number, task in enumerate(tasks)}
    assert pool.encode_spans([]) == []


def test_an_index_made_with_a_pool_opens_without_one(tmp_path, encoder, pool):
    documents = [Document(name, text) for name, text in SCRIPTS.items()]
    with Index.create(tmp_path / "x", encoder=pool, chunker=TokenChunker(max_tokens=20)) as index:
        index.add(documents)
        expected = index.search("Berlin", k=5)
        assert index.info().made["on"]["device"] == "cpu, cpu"

    with Index.open(tmp_path / "x", encoder=encoder) as index:
        assert [hit.chunk for hit in index.search("Berlin", k=5)] == [hit.chunk for hit in expected]


def test_a_process_that_dies_is_an_error(encoder):
    with DevicePool(encoder, ["cpu"]) as pool:
        pool.encode_spans(tasks_of(encoder)[:1])
        (process,) = pool._processes._processes.values()
        process.kill()
        process.join()

        with pytest.raises(ModelError, match="encoding on cpu failed: a process of the pool died"):
            pool.encode_spans(tasks_of(encoder)[:1])
        with pytest.raises(InputError, match="closed"):
            pool.encode_spans(tasks_of(encoder)[:1])


def test_a_pool_survives_an_interrupted_call(encoder, pool):
    tasks = tasks_of(encoder)

    def interrupt(number, n_tokens):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.encode_spans(tasks, interrupt)

    for one, other in zip(pool.encode_spans(tasks), encoder.encode_spans(tasks), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_each_process_takes_a_device_of_its_own(monkeypatch):
    waiting, taken = SimpleQueue(), []
    monkeypatch.setattr(multi_device, "_recipe", taken)
    monkeypatch.setattr(multi_device.signal, "signal", lambda *_: None)
    for device in ("cuda:0", "cuda:1"):
        waiting.put(device)

    for _ in range(2):
        multi_device._start_process({"dims": 8}, {"device": "cpu", "dtype": "float32"}, waiting)

    assert taken == [({"dims": 8}, {"device": device, "dtype": "float32"}) for device in ("cuda:0", "cuda:1")]


def encode_there(encoder, text):
    return encoder.encode_query(text), encoder.settings, encoder.runtime


def test_an_encoder_is_pickled_by_its_settings(encoder):
    packed = pickle.dumps(encoder)
    assert len(packed) < 2_000

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        vector, settings, runtime = executor.submit(encode_there, encoder, "Berlin").result()

    np.testing.assert_allclose(vector, encoder.encode_query("Berlin"), atol=1e-6)
    assert (settings, runtime) == (encoder.settings, encoder.runtime)


def test_an_encoder_is_a_key(encoder):
    assert {encoder: "cached"}[encoder] == "cached"
    assert pickle.loads(pickle.dumps(encoder)) not in {encoder}


def test_a_pickled_encoder_keeps_how_it_computes(encoder):
    one = Encoder.load(encoder.settings["model"], dtype="bfloat16", attention="eager", batch_tokens=99, adapters=None)

    other = pickle.loads(pickle.dumps(one))

    assert (other.settings, other.runtime) == (one.settings, one.runtime)
    assert other.runtime["batch_tokens"] == 99


def test_a_pickled_encoder_needs_the_same_files(tmp_path):
    encoder = Encoder.load(str(write_bert(tmp_path / "bert")), window_tokens=48)
    packed = pickle.dumps(encoder)
    config = tmp_path / "bert" / "config.json"
    config.write_text(config.read_text().replace('"layer_norm_eps": 1e-12', '"layer_norm_eps": 1e-6'))

    with pytest.raises(ModelError, match="on this machine differ in config_sha256; bring the same files"):
        pickle.loads(packed)


def test_the_fingerprint_of_files_is_what_a_loaded_encoder_has(encoder):
    hashes = Encoder.fingerprint(encoder.settings["model"])

    assert hashes == {name: value for name, value in encoder.settings.items() if name.endswith("_sha256")}
    assert len(hashes) == 4


def test_threads_share_a_pool(encoder, pool):
    tasks = tasks_of(encoder)
    parts = [tasks[start : start + 3] for start in range(0, len(tasks), 3)] * 3
    expected = [encoder.encode_spans(part) for part in parts]

    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(pool.encode_spans, parts))

    for one, other in zip(got, expected, strict=True):
        for vectors, right in zip(one, other, strict=True):
            np.testing.assert_allclose(vectors, right, atol=1e-6)


def test_an_error_in_a_process_keeps_its_kind_and_the_pool(encoder, pool, capfd):
    (tokens,) = encoder.tokenize(["one two three"])

    with pytest.raises(SpanError, match="a range of tokens needs"):
        pool.encode_spans([PoolingTask(tokens, np.array([[0, 99]]))])
    assert len(pool.encode_spans(tasks_of(encoder)[:2])) == 2
    assert "Traceback" not in capfd.readouterr().err


def test_a_closed_pool_says_so(encoder):
    pool = DevicePool(encoder, ["cpu"])
    pool.close()
    pool.close()

    with pytest.raises(InputError, match="closed"):
        pool.encode_spans([])


@pytest.mark.parametrize("devices", ["cuda:0", [], [0], ["nonsense"], [""]])
def test_devices_that_are_no_names_are_refused(encoder, devices):
    with pytest.raises(InputError, match="devices must be a sequence of names|device must be"):
        DevicePool(encoder, devices)


@given(st.lists(st.integers(0, 1000), max_size=60), st.integers(1, 12))
def test_groups_hold_everything_once_and_are_about_even(weights, n_groups):
    groups = _share_out(weights, n_groups)

    assert sorted(number for group in groups for number in group) == list(range(len(weights)))
    assert all(groups)
    loads = [sum(max(1, weights[number]) for number in group) for group in groups]
    if loads:
        assert max(loads) - min(loads) <= max(1, *weights)
