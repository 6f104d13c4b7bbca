import contextlib

import faiss
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latechunk.ann.faiss_ops import build, core_of, require_buildable, transforms_of
from latechunk.ann.spec import AUTO_IVF_FROM, FaissSpec, IndexSpec, is_factory
from latechunk.errors import InputError


def test_auto_is_flat_for_few_and_ivf_for_many():
    assert IndexSpec().faiss_spec(AUTO_IVF_FROM - 1, 384) == FaissSpec("Flat", 384)
    assert IndexSpec().faiss_spec(1_000_000, 384) == FaissSpec("IVF4000,SQ8", 384)
    assert IndexSpec().faiss_spec(100_000_000, 384) == FaissSpec("IVF40000,SQ8", 384)


def test_kinds_by_name():
    assert IndexSpec("flat").faiss_spec(10**7, 384).factory == "Flat"
    assert IndexSpec("hnsw").faiss_spec(10**7, 384).factory == "HNSW32,SQ8"
    assert IndexSpec("ivf").faiss_spec(3_900, 384).factory == "IVF100,SQ8"
    assert IndexSpec("ivf").faiss_spec(10**9, 384).factory == "IVF65536,SQ8"
    assert IndexSpec("IVF1024,RaBitQ").faiss_spec(10**7, 384).factory == "IVF1024,RaBitQ"


def test_too_few_to_train_are_flat_and_whole():
    assert IndexSpec("ivf").faiss_spec(255, 384) == FaissSpec("Flat", 384)
    assert IndexSpec("IVF1024,SQ8", 128).faiss_spec(4_095, 384) == FaissSpec("Flat", 384)
    assert IndexSpec("IVF1024,SQ8", 128).faiss_spec(4_096, 384) == FaissSpec("IVF1024,SQ8", 128)
    assert IndexSpec("IVF2,PQ8x12").faiss_spec(4 * 4_096 - 1, 384) == FaissSpec("Flat", 384)


ACCEPTED = """
    Flat SQ8 SQfp16 RaBitQ RaBitQ4 IVF1024,RaBitQ IVF16,Flat IVF4096,PQ48 IVF16,PQ8x10 HNSW32 HNSW32_SQ8 HNSW32,SQ8
    HNSW16,Flat OPQ16_32,IVF16,PQ16 RR64,IVF16,RaBitQ PCAR32,SQ8
    IVF1,Flat IVF65536,SQ8 HNSW2 HNSW128
"""
REFUSED = """
    FLAT IVF999999999 IVF999999999,Flat IVF0,SQ8 IVF65537,SQ8 HNSW1 HNSW129 HNSW999 PQ48 IVF16,PQ16x4fs IVF16,PQ8x24
    HNSW32_PQ16
    LSH IVF16 IVF16,SQ8,RFlat IDMap,Flat IVF16_HNSW32,SQ8 IMI2x10,Flat IVF१६,SQ8
"""


@pytest.mark.parametrize("factory", ACCEPTED.split())
def test_factory_strings_that_are_accepted(factory):
    assert IndexSpec(factory).kind == factory


@pytest.mark.parametrize("kind", [*REFUSED.split(), "", "flat ", "Flat\n", "x" * 10**6, None, 3, b"flat"])
def test_what_is_no_kind_is_refused_with_what_is_accepted(kind):
    with pytest.raises(InputError, match="accepted are"):
        IndexSpec(kind)


@pytest.mark.parametrize("dims", [0, -1, True, 1.5, "8"])
def test_first_pass_dims_must_be_a_length(dims):
    with pytest.raises(InputError, match="first_pass_dims"):
        IndexSpec("flat", dims)


def test_first_pass_dims_must_not_be_more_than_there_are():
    assert IndexSpec("flat", 384).faiss_spec(10**5, 384) == FaissSpec("Flat", 384)
    with pytest.raises(InputError, match="have 384 numbers"):
        IndexSpec("flat", 385).faiss_spec(10, 384)


@pytest.mark.parametrize("kind", ["IVF16,PQ7", "OPQ7,IVF16,PQ7", "PCA32,SQ8", "RR17,SQ8"])
def test_what_does_not_fit_the_length_of_the_vectors_is_refused(kind):
    with pytest.raises(InputError, match="16"):
        require_buildable(IndexSpec(kind), 16)


@pytest.mark.parametrize(
    ("factory", "n_lists", "least", "wanted"),
    [
        ("Flat", 0, 256, 20_000),
        ("SQ8", 0, 256, 20_000),
        ("IVF64,SQ8", 64, 256, 20_000),
        ("IVF1000,Flat", 1_000, 4_000, 39_000),
        ("IVF2,PQ8", 2, 1_024, 20_000),
        ("IVF2,PQ8x12", 2, 16_384, 32_768),
        ("no factory", 0, 256, 20_000),
    ],
)
def test_what_training_takes(factory, n_lists, least, wanted):
    spec = FaissSpec(factory, 16)

    assert (spec.n_lists, spec.min_training, spec.training_size) == (n_lists, least, wanted)


def test_what_is_built_compares_products_and_trains_in_silence():
    flat, graph, lists = (build(FaissSpec(factory, 16)) for factory in ("Flat", "HNSW32,SQ8", "RR8,IVF4,PQ4x4"))

    assert [one.metric_type for one in (flat, graph, lists)] == [faiss.METRIC_INNER_PRODUCT] * 3
    assert [one.ntotal for one in (flat, graph, lists)] == [0] * 3
    assert core_of(graph).hnsw.efConstruction == 100
    core = core_of(lists)
    assert (core.cp.min_points_per_centroid, core.pq.cp.min_points_per_centroid) == (1, 1)
    assert [one.d_out for one in transforms_of(lists)] == [8]
    assert transforms_of(flat) == []


@pytest.mark.parametrize(("kind", "dims"), [("OPQ4_8,IVF8,PQ4", 8), ("RR8,IVF16,SQ8", 8), ("flat", 8)])
def test_what_makes_vectors_no_longer_is_accepted(kind, dims):
    require_buildable(IndexSpec(kind), dims)


@pytest.mark.parametrize("kind", ["RR17,IVF16,SQ8", "PCAR17,SQ8"])
def test_what_makes_vectors_longer_is_refused(kind):
    with pytest.raises(
        InputError, match=r"^('.*' makes vectors of 17 numbers out of 16, and only so many or|FAISS mak)"
    ):
        require_buildable(IndexSpec(kind), 16)


def test_what_faiss_says_comes_without_where_in_its_source_it_says_so():
    with pytest.raises(InputError) as caught:
        build(FaissSpec("IVF16,PQ7", 16))

    message = str(caught.value)
    assert message.startswith("FAISS makes no 'IVF16,PQ7' for vectors of 16 numbers: '!(d % M == 0)' failed: ")


@given(
    st.from_regex(
        r"(OPQ8,|RR16,)?(IVF\d{1,7},|HNSW\d{1,4}_)?(Flat|SQ[468]|PQ\d{1,2}(x\d{1,2})?|RaBitQ\d?)", fullmatch=True
    )
)
def test_whatever_passes_either_builds_or_is_refused(factory):
    if is_factory(factory):
        with contextlib.suppress(InputError):
            assert build(FaissSpec(factory, 16)).metric_type == 0
