"""Runs of training: begun, killed, gone on with; what is kept, and what a run is expected to take."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from latechunk import Document, Encoder, Span
from latechunk.embedding import Embedding
from latechunk.errors import InputError
from latechunk.evaluation.dataset import EvaluationSet, Gold, Question
from latechunk.evaluation.loaders import read_sets
from latechunk.models.adapter_manifest import AdapterManifest, write_adapter_manifest
from latechunk.models.catalogue import Task
from latechunk.training.batches import BatchMaker
from latechunk.training.budget import (
    BatchSize,
    Trial,
    default_steps,
    draw_sizes,
    estimate,
    fit_segments,
    measure_trial,
    steps_within,
    take_sample,
)
from latechunk.training.data import prepare
from latechunk.training.evaluator import HeldOutEvaluator, Measurer, measure
from latechunk.training.run import recorded_settings, train
from latechunk.training.sets import hold_out
from latechunk.training.settings import LoraSettings, LossSettings, RunSettings, SegmentSettings, TrainingSettings
from tests.checkpoints import train_unigram, write_bert, write_plain
from tests.trainingdata import TINY_CONTEXT, load_long, write_set

FILE = "retrieval_passage/adapter_model.safetensors"
SETTINGS = TrainingSettings(
    lora=LoraSettings(rank=4, alpha=8.0),
    loss=LossSettings(bank_segments=6),
    segments=SegmentSettings(chunk_tokens=(12, 16), least_tokens=60, most_tokens=120),
    run=RunSettings(n_steps=6, batch_segments=2, learning_rate=1e-2, warmup_steps=1, save_steps=2),
    query_adapter=True,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("sets") / "made")


def begin(base, sets, folder, settings=SETTINGS, **options):
    encoder = load_long(base)
    return train(encoder, prepare(encoder, read_sets(sets), (12, 16)), folder, settings, **options)


@pytest.fixture(scope="module")
def unbroken(base, sets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, begin(base, sets, folder)


def begin_and_die(base, sets, folder, done):
    """Begin the same run in a process that the system kills at once, with nothing closed or written any more."""
    program = f"""
        import os, signal
        from pathlib import Path
        from tests.test_training_run import begin
        def die(done, figures):
            if done == {done}:
                os.kill(os.getpid(), signal.SIGKILL)
        begin(Path({str(base)!r}), Path({str(sets)!r}), Path({str(folder)!r}), on_progress=die)
    """
    root = Path(__file__).parent.parent
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == -signal.SIGKILL, result.stderr


@pytest.fixture(scope="module")
def killed(base, sets, tmp_path_factory):
    """The folder of a run that was killed in its fifth step."""
    folder = tmp_path_factory.mktemp("killed")
    begin_and_die(base, sets, folder, 5)
    return folder


def require_same(folder, other):
    """Adapters and memory bank after the last step, in float32."""
    for name in ("retrieval_passage/adapter_model", "retrieval_query/adapter_model", "bank"):
        mine, theirs = (load_file(one / "run" / "checkpoint-6" / f"{name}.safetensors") for one in (folder, other))
        assert mine.keys() == theirs.keys()
        assert mine
        for key, value in mine.items():
            np.testing.assert_allclose(value.numpy(), theirs[key].numpy(), atol=1e-5)


def test_a_run_that_is_killed_and_resumed_ends_as_one_that_is_not(base, sets, unbroken, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "copy")
    assert sorted(path.name for path in (folder / "run").glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]

    resumed = begin(base, sets, folder, resume=True)

    assert resumed.resumed_from == 4
    require_same(folder, unbroken[0])
    losses = [[(one["step"], one["loss"]) for one in run.log if "loss" in one] for run in (resumed, unbroken[1])]
    assert [step for step, _ in losses[0]] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(*losses, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["trainer_state.json", "retrieval_query/adapter_model.safetensors", "optimizer.pt", "bank.safetensors"]
)
def test_a_checkpoint_that_is_half_written_is_passed_over(base, sets, unbroken, killed, tmp_path, name):
    folder = shutil.copytree(killed, tmp_path / "copy")
    os.truncate(folder / "run" / "checkpoint-4" / name, 100)

    assert begin(base, sets, folder, resume=True).resumed_from == 2

    require_same(folder, unbroken[0])


def test_batches_come_in_their_order(base, sets, tmp_path, monkeypatch):
    """Those that are drawn in a row are of one set, and so the memory bank holds documents of one kind."""
    steps = []
    make = BatchMaker.__call__
    monkeypatch.setattr(BatchMaker, "__call__", lambda self, step: steps.append(step) or make(self, step))
    begin(base, sets, tmp_path / "run")

    assert steps == list(range(SETTINGS.run.n_steps))


def test_training_moves_the_adapters_and_nothing_of_the_base(base, sets, unbroken, tmp_path):
    encoder = load_long(base)
    backbone = encoder.parts[0].transformer.model
    before = {name: value.clone() for name, value in backbone.state_dict().items()}

    train(encoder, prepare(encoder, read_sets(sets), (12, 16)), tmp_path, SETTINGS)

    state = backbone.state_dict()
    after = {name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name}
    assert len(after) < len(state)
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name].numpy(), value.numpy())
    weights = load_file(unbroken[0] / "retrieval_passage" / "adapter_model.safetensors")
    assert all(".lora_" in name for name in weights)
    assert any(value.abs().max() > 0 for name, value in weights.items() if ".lora_B" in name)
    assert unbroken[1].n_parameters == sum(2 * value.numel() for value in weights.values())


def test_a_run_goes_on_only_with_the_settings_and_data_it_began_with(base, sets, unbroken, tmp_path):
    folder, _ = unbroken
    encoder = load_long(base)
    data = prepare(encoder, read_sets(sets), (12, 16))
    other = prepare(encoder, read_sets(write_set(tmp_path / "made", seed=5)), (12, 16))
    assert recorded_settings(folder)["run"]["n_steps"] == 6

    with pytest.raises(InputError, match="continue it with resume=True"):
        train(encoder, data, folder, SETTINGS)
    with pytest.raises(InputError, match="begun with other settings: rank was 4, now 5; alpha was 8.0, now 16.0; give"):
        train(encoder, data, folder, SETTINGS.replaced(lora=LoraSettings(rank=5, alpha=16.0)), resume=True)
    with pytest.raises(InputError, match="begun with other data or another base model"):
        train(encoder, other, folder, SETTINGS, resume=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as latechunk writes it"):
        train(encoder, data, tmp_path, SETTINGS, resume=True)


def test_a_run_can_begin_with_adapters_of_the_same_shape(base, sets, unbroken, tmp_path):
    folder, _ = unbroken
    encoder = load_long(base)
    data = prepare(encoder, read_sets(sets), (12, 16))
    still = SETTINGS.replaced(run=SETTINGS.run.replaced(n_steps=1, warmup_steps=1))  # whose one step has the rate 0

    train(encoder, data, tmp_path / "same", still, start=folder)

    for name, value in load_file(folder / "retrieval_passage" / "adapter_model.safetensors").items():
        begun = load_file(tmp_path / "same" / "retrieval_passage" / "adapter_model.safetensors")[name]
        np.testing.assert_array_equal(begun.numpy(), value.numpy())


def test_a_run_whose_loss_is_no_number_ends_with_an_error(base, sets, tmp_path):
    wild = SETTINGS.replaced(run=SETTINGS.run.replaced(n_steps=20, learning_rate=1e20, save_steps=20))
    with pytest.raises(InputError, match=r"training diverges: .* smaller --learning-rate than 1e\+20"):
        begin(base, sets, tmp_path / "wild", wild)
    assert not (tmp_path / "wild" / "retrieval_passage").exists()


def test_weights_that_float16_cannot_hold_are_not_written(base, sets, tmp_path):
    large = SETTINGS.replaced(run=SETTINGS.run.replaced(n_steps=1, learning_rate=1e6, warmup_steps=0))
    with pytest.raises(InputError, match=r"not finite in torch\.float16"):
        begin(base, sets, tmp_path / "large", large)
    assert not (tmp_path / "large" / "retrieval_passage").exists()


def test_an_encoder_in_half_precision_is_refused(base, sets, tmp_path):
    encoder = Encoder.load(str(base), dtype="bfloat16", adapters=None)
    with pytest.raises(InputError, match='dtype="float32"'):
        train(encoder, prepare(encoder, read_sets(sets), (12,)), tmp_path, SETTINGS)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
def test_an_encoder_without_local_global_context_is_trained_in_plain_passes(kind, sets, tmp_path):
    plain = write_plain(tmp_path / "plain", train_unigram(), positions=130, kind=kind)
    options = {"window_tokens": 128, "document_prompt": "passage: ", "pooling": "mean"}
    encoder = Encoder.load(str(plain), dtype="float32", adapters=None, **options)
    data = prepare(encoder, read_sets(sets), (12,))
    segments = fit_segments(encoder, SegmentSettings(chunk_tokens=(12,)))
    settings = SETTINGS.replaced(
        segments=segments, loss=LossSettings(late_weight=1.0), run=SETTINGS.run.replaced(n_steps=2)
    )

    trained = train(encoder, data, tmp_path / "out", settings)

    assert all(np.isfinite(one["loss"]) for one in trained.log if "loss" in one)
    room = encoder.settings["window_tokens"] - 2 - len(encoder.tokenize(["a"])[0].prompt_ids)
    assert (segments.least_tokens, segments.most_tokens) == (room // 4, room)
    wanted = SegmentSettings(chunk_tokens=(12,), least_tokens=60, most_tokens=room)
    assert fit_segments(encoder, wanted) == wanted


def test_a_run_over_the_same_batches_keeps_what_frozen_layers_give_until_it_ends(base, sets, tmp_path):
    again = SETTINGS.replaced(
        run=SETTINGS.run.replaced(n_batches=2), segments=SETTINGS.segments.replaced(batches_in_a_row=1)
    )
    seen = []

    def stop(done, figures):
        seen.append(sorted(path.name for path in (tmp_path / "stopped/run/states").iterdir()))
        if done == 5:
            raise KeyboardInterrupt

    whole = begin(base, sets, tmp_path / "whole", again)
    with pytest.raises(KeyboardInterrupt):
        begin(base, sets, tmp_path / "stopped", again, on_progress=stop)
    begin(base, sets, tmp_path / "stopped", again, resume=True)

    assert seen[1] == seen[-1] == ["0.safetensors", "1.safetensors"]
    assert not (tmp_path / "stopped/run/states").exists()
    ours, theirs = (load_file(tmp_path / name / FILE) for name in ("whole", "stopped"))
    assert all((ours[key] == theirs[key]).all() for key in ours)
    assert whole.resumed_from == 0


def test_a_model_without_frozen_layers_goes_through_no_batch_again(base, sets, tmp_path):
    encoder = Encoder.load(str(base), dtype="float32", context="windows", window_tokens=128)
    settings = SETTINGS.replaced(run=SETTINGS.run.replaced(n_batches=2))
    with pytest.raises(InputError, match=r"--batches.*leave it out"):
        train(encoder, prepare(encoder, read_sets(sets), (12, 16)), tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_steps_follow_from_questions_or_from_time():
    batch = BatchSize(n_tokens=1_000.0, n_questions=20.0)
    assert default_steps(1_000, batch.n_questions) == 200  # four passes: 4 * 1,000 / 20
    assert default_steps(10, batch.n_questions) == 100
    assert default_steps(10**6, batch.n_questions) == 2_000
    assert steps_within(600.0, fixed_seconds=100.0, seconds_per_step=2.5) == 200
    with pytest.raises(InputError, match=r"time for 4 steps .* give at least 2.1 minutes"):
        steps_within(110.0, fixed_seconds=100.0, seconds_per_step=2.5)


def test_an_estimate_is_what_was_tried_times_what_there_is():
    trial = Trial(
        step_seconds=0.002, frozen_seconds=0.001, read_seconds=0.005, peak_bytes=7, n_parameters=1_000, kept_bytes=800.0
    )
    found = estimate(trial, BatchSize(500.0, 4.0), n_steps=100, n_measured=400)

    assert (found.train_seconds, found.evaluate_seconds) == (100.0, 2.0)
    assert found.seconds == 102.0
    assert (found.adapter_bytes, found.checkpoint_bytes) == (2_000, 36_000)  # 3 checkpoints of 3 numbers in float32
    assert (found.peak_bytes, found.kept_bytes) == (7, 0)

    again = estimate(trial, BatchSize(500.0, 4.0), n_steps=100, n_measured=400, n_batches=40)
    assert again.train_seconds == 500 * (0.002 * 40 + 0.001 * 60)
    assert again.kept_bytes == 500 * 40 * 800
    assert estimate(trial, BatchSize(500.0, 4.0), 100, 400, n_batches=200) == replace(found, kept_bytes=500 * 100 * 800)


def test_a_trial_measures_and_leaves_nothing(base, sets, tmp_path):
    encoder = load_long(base)
    data = prepare(encoder, read_sets(sets), (12, 16))

    trial = measure_trial(encoder, data, SETTINGS)

    assert min(trial.step_seconds, trial.read_seconds) > 0
    assert trial.n_parameters == 2 * sum(4 * (one + two) for one, two in [(32, 32)] * 4 + [(32, 64)] * 2)
    sizes = draw_sizes(data, SETTINGS)
    assert 2 * 40 <= sizes.n_tokens <= 2 * 120
    assert 2 <= sizes.n_questions <= 2 * 4


def test_a_question_that_is_too_long_is_told_before_the_trial_though_it_is_not_in_it(base, tmp_path):
    encoder = load_long(base)
    data = prepare(encoder, read_sets(write_set(tmp_path / "many", n_documents=40)), (12, 16))
    tried = {one.text for one in take_sample(data, SETTINGS).questions}
    place = next(place for place, one in enumerate(data.questions) if one.text not in tried)
    questions = [*data.questions]
    questions[place] = replace(questions[place], text="what " * 127)

    with pytest.raises(InputError, match="is longer than the 126"):
        measure_trial(encoder, replace(data, questions=tuple(questions)), SETTINGS)


def test_a_sample_has_whole_documents_with_their_own_questions(base, tmp_path):
    encoder = load_long(base)
    data = prepare(encoder, read_sets(write_set(tmp_path / "many", n_documents=9)), (12, 16))

    sample = take_sample(data, SETTINGS)

    for number, document in enumerate(sample.documents):
        (original,) = [one for one in data.documents if one.id == document.id]
        asked = [sample.questions[one] for one in document.asked]
        assert [one.text for one in asked] == [data.questions[one].text for one in original.asked]
        assert {one.document for one in asked} == {number}


def asked_sets(n_documents):
    documents = tuple(Document(f"d{number}", f"One two. Three {number}.") for number in range(n_documents))
    both = Question("both", "both?", (Gold("d0", (Span(0, 3),)), Gold("d1", (Span(0, 3),))))
    single = [Question(f"q{n}", "which?", (Gold(f"d{n}", (Span(4, 7),)),)) for n in range(n_documents)]
    return [EvaluationSet("made", (*documents, Document("unasked", "Nothing.")), (both, *single))]


def test_a_tenth_of_the_documents_is_held_out_and_no_text_is_in_both():
    for n_documents, expected in ((10, 1), (34, 3), (400, 20)):
        kept, held = hold_out(asked_sets(n_documents), seed=1)
        names = [{document.id for document in one[0].documents} for one in (kept, held)]
        assert not names[0] & names[1]
        assert len(names[1]) == expected
        for one in (*kept, *held):
            assert {gold.document_id for q in one.questions for gold in q.gold} <= {d.id for d in one.documents}
    assert hold_out(asked_sets(9), seed=1)[1] == []
    assert hold_out(asked_sets(50), 3)[1][0].documents != hold_out(asked_sets(50), 4)[1][0].documents


def test_documents_of_one_text_are_on_one_side():
    (first,) = asked_sets(12)
    other = replace(first, name="other", documents=first.documents[3:], questions=first.questions[4:])
    for seed in range(9):
        kept, held = hold_out([first, other], seed)
        texts = [{document.text for one in part for document in one.documents} for part in (kept, held)]
        assert texts[0] & texts[1] <= {"Nothing."}
        assert len(texts[1]) == 1
    copies = [replace(document, text="Always the same.") for document in first.documents]
    assert hold_out([replace(first, documents=tuple(copies))], 0)[1] == []


def test_a_question_that_is_answered_on_both_sides_is_not_trained_on():
    n_both = 0
    for seed in range(20):
        (kept,), (held,) = hold_out(asked_sets(10), seed)
        names = [{question.id for question in one.questions} for one in (kept, held)]
        assert not names[0] & names[1]
        assert names[0] | names[1] == {"both", *(f"q{number}" for number in range(10))}
        n_both += "both" in names[1]
    assert 0 < n_both < 20


def test_adapters_are_measured_as_an_index_would_have_them(base, sets, unbroken, tmp_path):
    bundle = AdapterManifest(
        base="tiny",
        base_weights_sha256=load_long(base).settings["weights_sha256"],
        tasks=(
            Task(name="retrieval.passage", adapter="retrieval_passage", prompt=""),
            Task(name="retrieval.query", adapter="retrieval_query", prompt=""),
        ),
        document_task="retrieval.passage",
        query_task="retrieval.query",
        local_global=TINY_CONTEXT,
        mode="blend",
        late_weight=0.6,
    )
    held_out = read_sets(sets)
    measurer = Measurer(str(base), "cpu", "float32", held_out, bundle, lambda n_characters: None)
    evaluator = HeldOutEvaluator(measurer)

    scores, figures = evaluator.finish(unbroken[0], 6)
    references = measurer.references(tmp_path / "references.npz", "key")
    begun_with = replace(measurer, start=unbroken[0]).references(tmp_path / "started.npz", "key")

    folder = shutil.copytree(unbroken[0], tmp_path / "adapters", ignore=shutil.ignore_patterns("run"))
    write_adapter_manifest(folder, bundle)
    encoder = Encoder.load(str(base), dtype="float32", adapters=str(folder))
    (expected,) = measure(encoder, held_out, [Embedding("blend", 0.6)])
    begun = Encoder.load(str(base), dtype="float32", adapters=None, local_global=TINY_CONTEXT)
    (untrained,) = measure(begun, held_out, [Embedding("blend", 0.6)])
    default = Encoder.load(str(base), dtype="float32", adapters=None)
    (plain,) = measure(default, held_out, [Embedding("naive")])
    for scope in ("corpus", "document"):
        np.testing.assert_allclose(scores[scope], expected[scope])
        np.testing.assert_allclose(references["naive"][scope], plain[scope])
        np.testing.assert_allclose(references["begin"][scope], untrained[scope])
        np.testing.assert_allclose(begun_with["begin"][scope], expected[scope])
        np.testing.assert_allclose(begun_with["untrained"][scope], references["untrained"][scope])
        assert figures[f"ndcg_{scope}"] == pytest.approx(expected[scope].mean())
    (tmp_path / "references.npz").rename(tmp_path / "moved.npz")
    again = replace(measurer, base="nowhere").references(tmp_path / "moved.npz", "key")  # which loads no model
    np.testing.assert_array_equal(again["untrained"]["corpus"], references["untrained"]["corpus"])
    with pytest.raises(InputError, match="begun with other held-out questions"):
        measurer.references(tmp_path / "moved.npz", "another key")


def test_the_log_is_json(unbroken):
    assert json.loads(json.dumps(unbroken[1].log)) == unbroken[1].log
