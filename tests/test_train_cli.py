"""latechunk train, from the command line to the folder that an encoder loads."""

import importlib.util
import json
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from latechunk import Encoder
from latechunk.cli import app
from latechunk.errors import InputError
from latechunk.evaluation.loaders import read_sets
from latechunk.models.adapter_manifest import read_adapter_manifest, write_adapter_manifest
from latechunk.models.catalogue import find_known_model
from latechunk.training import choose, job
from latechunk.training.budget import Trial
from latechunk.training.data import prepare
from latechunk.training.sets import hold_out
from latechunk.training.trainer import require_device
from latechunk.types import PoolingTask
from tests.checkpoints import write_bert
from tests.trainingdata import computing_in_float32, write_set

SMALL = ("--chunk-tokens", "12,16", "--rank", "4")
AS_BEGUN = ("--late-weight", "0.7", "--query-adapter", "--seed", "3", "--learning-rate", "0.02")  # the finished run


@pytest.fixture(scope="module", autouse=True)
def _float32():
    with computing_in_float32():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("base") / "tiny", prompts={"document": "passage: ", "query": "query: "})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two sets of six documents each."""
    folder = tmp_path_factory.mktemp("data")
    write_set(folder / "one", n_documents=6)
    write_set(folder / "two", n_documents=6, seed=1, licence=False)
    return folder


def call(data, out, base, *arguments):
    return CliRunner().invoke(app, ["train", str(data), "--out", str(out), "--base", str(base), *SMALL, *arguments])


@pytest.fixture(scope="module")
def finished(base, data, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    given = ("--steps", "4", "--evaluate-every", "2", "--licence", "CC-BY-SA-4.0", "--json")
    result = call(data, out, base, *AS_BEGUN, *given)
    assert result.exit_code == 0, result.output
    return out, result


def stop(finished, out):
    """A run as one leaves it that is killed between its last two steps."""
    shutil.copytree(finished[0], out)
    for path in ("checkpoint-3", "checkpoint-4"):
        shutil.rmtree(out / "run" / path)
    for name in ("latechunk.json", "README.md", "log.jsonl"):
        (out / name).unlink()
    return out


def test_a_run_leaves_adapters_that_an_encoder_loads(base, finished):
    out, _ = finished
    texts = ["The river and the old bridge of the city."]
    trained = Encoder.load(str(base), dtype="float32", adapters=str(out))
    plain = Encoder.load(str(base), dtype="float32", adapters=None)

    (tokens,) = plain.tokenize(texts)
    spans = [PoolingTask(tokens, np.array([[0, 3], [3, len(tokens)]]))]
    (vectors,), (before,) = trained.encode_spans(spans), plain.encode_spans(spans)
    asked, asked_before = trained.encode_queries(texts), plain.encode_queries(texts)

    assert np.linalg.norm(vectors[0]) == pytest.approx(1, abs=1e-5)
    assert np.abs(vectors - before).max() > 1e-4
    assert np.abs(asked - asked_before).max() > 1e-4
    np.testing.assert_allclose(trained.encode_texts(texts), plain.encode_texts(texts), atol=1e-6)
    assert trained.tasks == ("retrieval.passage", "retrieval.query")
    for name in ("document_prompt", "query_prompt", "window_tokens", "local_global"):
        assert trained.settings[name] == plain.settings[name]
    assert trained.recommended_embedding == {"mode": "blend", "late_weight": 0.7}
    assert read_adapter_manifest(out).base == "tiny"


def test_the_folder_has_a_card_and_a_log(base, finished):
    out, _ = finished
    card = (out / "README.md").read_text()
    assert card.startswith('---\nlicense: "cc-by-sa-4.0"\nlibrary_name: peft\n')
    for part in (
        "| one |",
        "| two |",
        "**one**: source: made up; licence: CC0-1.0",
        "**two**: its folder says nothing",
        "| lora rank | 4 |",
        "| run seed | 3 |",
        "gain over untrained | ",
        "on 4 questions about 1 document, not trained on",
        "adapters=",
        "retrieval_query",
        "--learning-rate 0.02",
        "sentence-transformers 6",
        "peft 0",
        read_adapter_manifest(out).base_weights_sha256,
    ):
        assert part in card
    assert str(base.parent) not in card  # paths of one machine
    assert str(out.parent) not in card
    assert "{{" not in card
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [one["step"] for one in log if "eval_ndcg_corpus" in one] == [0, 2, 4]
    assert [one["step"] for one in log if "loss" in one] == [1, 2, 3, 4]
    assert (out / "run" / "checkpoint-4").is_dir()


def test_lookalikes_are_generated_and_drawn_as_often_as_asked(base, data, tmp_path):
    given = ("--lookalikes", "0.25", "--weight", "two=2", "--dry-run", "--json", "--no-evaluate")
    found = json.loads(call(data, tmp_path / "out", base, *given).stdout)

    mixture = found["settings"]["segments"]["mixture"]
    generated = [name for name in found["sets"] if name.startswith("generated-")]
    assert len(generated) == 15
    assert set(found["settings"]["segments"]["whole"]) == set(generated)
    assert {found["sets"][name]["documents"] for name in generated} == {60}
    assert sum(mixture[name] for name in generated) == pytest.approx((1 + 2) / 3)
    assert found["sets"].keys() == {"one", "two", *generated}


def test_vectors_are_held_as_strongly_as_asked(base, data, tmp_path):
    given = ("--anchor", "0.05", "--dry-run", "--json", "--no-evaluate")
    loss = json.loads(call(data, tmp_path / "out", base, *given).stdout)["settings"]["loss"]

    assert (loss["anchor"], loss["query_anchor"]) == (0.05, 0.05)


def test_a_step_compares_as_many_segments_as_asked(base, data, tmp_path):
    usual, given = ("--dry-run", "--json", "--no-evaluate"), ("--batch-segments", "7")
    few, many = (json.loads(call(data, tmp_path / "out", base, *usual, *one).stdout) for one in ((), given))

    assert [one["settings"]["run"]["batch_segments"] for one in (few, many)] == [4, 7]
    assert many["settings"]["run"]["n_steps"] <= few["settings"]["run"]["n_steps"]


def test_json_is_all_there_is_on_stdout(finished):
    out, result = finished
    found = json.loads(result.stdout)
    assert found["folder"] == str(out)
    assert found["sets"].keys() == {"one", "two"}
    assert sum(one["documents"] for one in found["sets"].values()) == 11  # one of the twelve is held out
    assert found["held_out"]["documents"] == 1
    assert found["settings"]["run"]["n_steps"] == 4
    assert found["settings"]["lora"] == {**found["settings"]["lora"], "rank": 4, "alpha": 8.0}
    assert {row["scope"] for row in found["results"]} == {"corpus", "document"}
    assert found["estimate"]["seconds"] > 0
    assert "one: " in result.stderr  # the summary, before it begins


def test_a_finished_folder_is_left_alone(base, data, finished):
    out, _ = finished
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    refused = call(data, out, base)
    resumed = call(data, out, base, "--resume")

    assert refused.exit_code == 2
    assert "holds adapters that are finished" in refused.stderr
    assert resumed.exit_code == 0
    assert "is finished" in resumed.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_run_that_was_stopped_goes_on_as_it_was_begun(base, data, finished, tmp_path):
    out = stop(finished, tmp_path / "stopped")

    refused = call(data, out, base, *AS_BEGUN)
    other = call(data, out, base, *AS_BEGUN, "--resume", "--rank", "5")
    longer = call(data, out, base, *AS_BEGUN, "--resume", "--steps", "5")
    assert not (out / "latechunk.json").exists()
    begun = call(data, out, base, *AS_BEGUN, "--resume", "--steps", "4", "--evaluate-every", "2", "--keep-nothing")

    assert refused.exit_code == other.exit_code == 2
    assert "continue it with --resume" in refused.stderr
    assert "other settings: rank was 4, now 5; alpha was 8.0, now 10.0; give the same" in other.stderr
    assert "--steps was 4, now 5; give the same" in longer.stderr
    assert begun.exit_code == 0, begun.output
    assert "continues the run in the folder" in begun.stderr
    assert not (out / "run").exists()
    assert read_adapter_manifest(out) == read_adapter_manifest(finished[0])


def test_a_run_goes_on_only_if_it_is_measured_as_it_was_begun(base, data, finished, tmp_path):
    out = stop(finished, tmp_path / "measured")
    unmeasured = stop(finished, tmp_path / "unmeasured")
    recorded = unmeasured / "run" / "settings.json"
    recorded.write_text(recorded.read_text().replace('"evaluate_steps": 2', '"evaluate_steps": 0'))

    without = call(data, out, base, *AS_BEGUN, "--resume", "--no-evaluate")
    measuring = call(data, unmeasured, base, *AS_BEGUN, "--resume")

    assert without.exit_code == measuring.exit_code == 2, without.output
    assert "began with measuring, and now nothing is held out; give the same --evaluate" in without.stderr
    assert "began without measuring; give --no-evaluate" in measuring.stderr
    assert not (out / "run" / "checkpoint-4").exists()


def test_a_run_that_was_killed_before_its_first_step_is_begun_by_resuming(base, data, finished, tmp_path):
    out = tmp_path / "[red]out"  # which is no markup
    (out / "run").mkdir(parents=True)
    shutil.copy(finished[0] / "run" / "references.npz", out / "run")
    given = ("--steps", "1", "--late-weight", "0.7", "--index-late-weight", "0.4")

    refused = call(data, out, base, *given)
    begun = call(data, out, base, *given, "--resume")

    assert "continue it with --resume" in refused.stderr
    assert begun.exit_code == 0, begun.output
    assert f"the adapters are in {out}, and" in begun.stderr
    assert (read_adapter_manifest(out).mode, read_adapter_manifest(out).late_weight) == ("blend", 0.4)
    card = (out / "README.md").read_text()
    for part in (
        "| loss late weight | 0.7 |",
        "| index late weight | 0.4 |",
        "--index-late-weight 0.4",
        "0.4 late and",
    ):
        assert part in card


def test_adapters_to_begin_with_are_where_the_log_begins(base, data, finished, tmp_path):
    """The finished run's last measurement is the first of a run that goes on from its adapters."""
    out, given = tmp_path / "out", (*AS_BEGUN, "--steps", "1")

    begun = call(data, out, base, *given, "--adapters", str(finished[0]))

    assert begun.exit_code == 0, begun.output
    log = [json.loads(line) for line in (finished[0] / "log.jsonl").read_text().splitlines()]
    (last,) = [one for one in log if one["step"] == 4 and "eval_ndcg_corpus" in one]
    first = json.loads((out / "log.jsonl").read_text().splitlines()[0])
    assert first["step"] == 0
    for scope in ("corpus", "document"):
        assert first[f"eval_ndcg_{scope}"] == pytest.approx(last[f"eval_ndcg_{scope}"])
    assert [one["step"] for one in map(json.loads, (out / "log.jsonl").read_text().splitlines())][-2:] == [1, 1]
    card = (out / "README.md").read_text()
    assert "| step 0: with the adapters that it began with |" in card
    (out / "latechunk.json").unlink()
    other = call(data, out, base, *AS_BEGUN, "--steps", "1", "--resume")
    assert other.exit_code == 2
    assert "other ways to measure them, or other adapters to begin with; give the same" in other.stderr


def test_adapters_to_begin_with_must_be_of_the_base_and_of_the_shape(base, data, finished, tmp_path):
    other, damaged, alone = (shutil.copytree(finished[0], tmp_path / name) for name in ("other", "damaged", "alone"))
    passages = read_adapter_manifest(alone).replaced(tasks=read_adapter_manifest(alone).tasks[:1], query_task=None)
    write_adapter_manifest(alone, passages)
    sha256 = read_adapter_manifest(other).base_weights_sha256
    file = other / "latechunk.json"
    file.write_text(file.read_text().replace(sha256, "0" * 64))
    weights = damaged / "retrieval_query" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])

    def refuse(adapters, *arguments):
        result = call(data, tmp_path / "out", base, *AS_BEGUN, "--adapters", str(adapters), *arguments)
        assert not (tmp_path / "out").exists()
        return result.exit_code, result.stderr

    code, message = refuse(other)
    assert code == 1
    assert f"trained over 'tiny', with weights of SHA-256 {'0' * 64}, and {str(base)!r} has {sha256}" in message
    code, message = refuse(damaged)
    assert code == 1
    assert f"{weights}, of the adapters to begin with, is damaged" in message
    code, message = refuse(alone)
    assert code == 2
    assert f"the run trains retrieval_passage and retrieval_query, and the adapters in {alone}" in message
    code, message = refuse(tmp_path / "nowhere")
    assert code == 1
    assert "there is no such folder" in message
    code, message = refuse(finished[0], "--rank", "5")
    assert code == 2
    assert "another shape: r is 4, and the run's 5; lora_alpha is 8.0, and the run's 10.0; give" in message
    code, message = refuse(finished[0], "--layers", "1")
    assert code == 2
    assert "target_modules is 12 layers from encoder.layer.0." in message
    assert "and the run's 6 layers from encoder.layer.1." in message


def test_adapters_are_averaged_with_those_of_other_seeds(base, data, finished, tmp_path):
    alone, out = tmp_path / "alone", tmp_path / "out"
    given = (*AS_BEGUN, "--seed", "4", "--steps", "4", "--evaluate-every", "4")
    assert call(data, alone, base, *given).exit_code == 0

    averaged = call(data, out, base, *given, "--average", str(finished[0]))

    assert averaged.exit_code == 0, averaged.output
    for name in ("retrieval_passage", "retrieval_query"):
        mine, other, mean = (
            load_file(folder / name / "adapter_model.safetensors") for folder in (alone, finished[0], out)
        )
        assert mean.keys() == mine.keys()
        for key in (key for key in mine if "lora_A" in key):
            up = key.replace("lora_A", "lora_B")
            wanted = sum(one[up].float() @ one[key].float() for one in (mine, other)) / 2
            left, sizes, right = torch.linalg.svd(wanted)
            best = left[:, :4] * sizes[:4] @ right[:4]
            assert (mean[up].dtype, mean[key].shape) == (torch.float16, mine[key].shape)
            assert torch.allclose(mean[up].float() @ mean[key].float(), best, atol=2e-3 * float(sizes[0]))
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    ends = [one["eval_ndcg_corpus"] for one in log if one["step"] == 4 and "eval_ndcg_corpus" in one]
    assert len(ends) == 2  # of the run itself, then of the mean
    encoder = Encoder.load(str(base), dtype="float32", adapters=str(out))
    assert not np.allclose(
        encoder.encode_query("who?"), Encoder.load(str(base), dtype="float32", adapters=str(alone)).encode_query("who?")
    )
    card = (out / "README.md").read_text()
    assert f"--average {finished[0].name}" in card
    refused = call(
        data, tmp_path / "refused", base, *AS_BEGUN, "--average", str(out), "--average", str(finished[0]), "--rank", "5"
    )
    assert refused.exit_code == 2
    assert f"in {out}, to average, has another shape: r is 4, and the run's 5" in refused.stderr
    assert not (tmp_path / "refused").exists()


def test_a_dry_run_tells_everything_and_writes_nothing(base, data, tmp_path):
    out = tmp_path / "out"
    result = call(data, out, base, "--dry-run", "--no-evaluate")

    assert result.exit_code == 0, result.output
    assert not out.exists()
    lines = result.stdout.splitlines()
    assert lines[0].startswith("one: 6 documents, 24 questions, ")
    assert lines[2] == "held out: nothing, the run was told not to; the gain will not be known"
    assert lines[3].startswith("100 steps of 4 segments over tiny in ")
    for part in ("7,168 parameters", "MB of adapters", "to measure", "MB of disk", "nothing was trained or written"):
        assert part in result.stdout


def test_minutes_choose_the_steps_before_the_run(base, data, tmp_path, monkeypatch):
    trial = Trial(step_seconds=0.001, frozen_seconds=0.0006, read_seconds=0.001, peak_bytes=None, n_parameters=7_168)
    monkeypatch.setattr(choose, "measure_trial", lambda *_: trial)  # a machine of a known speed
    found = json.loads(call(data, tmp_path / "out", base, "--minutes", "2", "--dry-run", "--json").stdout)
    run, expected = found["settings"]["run"], found["estimate"]
    each = expected["train_seconds"] / run["n_steps"]
    assert expected["seconds"] <= 120 < expected["seconds"] + each  # one step more would be too many
    assert (run["warmup_steps"], run["evaluate_steps"]) == (min(30, run["n_steps"] // 10), -(-run["n_steps"] // 5))

    again = call(data, tmp_path / "out", base, "--minutes", "2", "--batches", "100", "--dry-run", "--json")
    again = json.loads(again.stdout)
    assert again["settings"]["run"]["n_steps"] > 1.5 * run["n_steps"]
    assert again["estimate"]["seconds"] <= 120 < again["estimate"]["seconds"] + each

    late = call(data, tmp_path / "out", base, "--minutes", "0.0001", "--dry-run")
    assert late.exit_code == 2
    assert "there is time for 0 steps" in late.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--minutes", "1", "--steps", "5"), "give it or --steps, not both"),
        (("--minutes", "0"), "--minutes must be more than 0, got 0.0"),
        (("--no-evaluate", "--evaluate-every", "5"), "leaves nothing to measure"),
        (("--weight", "three=2"), "there is no set 'three' in {data}; there are one, two"),
        (("--weight", "one=0", "--weight", "two=0"), "every set has the weight 0"),
        (("--weight", "one"), "--weight must be SET=NUMBER"),
        (("--weight", "one=many"), "--weight must be SET=NUMBER"),
        (("--own-document-only", "four"), "there is no set 'four'"),
        (("--segment-tokens", "60"), "--segment-tokens must be two numbers such as 255,1022, got 60"),
        (("--segment-tokens", "60,20"), "--segment-tokens must be the least and the most, got 60,20"),
        (("--lookalikes", "1"), "--lookalikes must be less than 1, got 1.0"),
        (("--chunk-tokens", "12,x"), "--chunk-tokens must be whole numbers"),
        (("--layers", "3"), "at most the 2 layers"),
        (("--learning-rate", "-1"), "--learning-rate must be more than 0, got -1.0"),
        (("--anchor", "-0.1"), "--anchor must be at least 0, got -0.1"),
        (("--late-weight", "1.5"), "--late-weight must be at most 1, got 1.5"),
        (("--index-late-weight", "1"), "--index-late-weight must be less than 1, got 1.0"),
        (("--index-late-weight", "0.4"), "this run trains late vectors alone"),
        (("--base", "jina-embeddings-v3"), "which cannot be trained over; choose another"),
        (("--evaluate", "{data}"), "which is trained on; measure with documents that are not trained on"),
        (("--evaluate", "nowhere"), "there is nothing at nowhere"),
    ],
)
def test_wrong_usage_is_told_in_a_line_and_leaves_nothing(base, data, tmp_path, arguments, message):
    result = call(data, tmp_path / "out", base, *(one.format(data=data) for one in arguments))
    assert result.exit_code == 2, result.output
    assert message.format(data=data) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_device_is_refused_before_anything_is_read(base, tmp_path):
    result = call(tmp_path / "nothing", tmp_path / "out", base, "--device", "cuda:77")
    assert result.exit_code == 2
    assert "got 'cuda:77'" in result.stderr
    with pytest.raises(InputError, match="training runs on .* here, and the encoder is on cuda:77"):
        require_device(torch.device("cuda", 77))


def test_an_interruption_says_how_to_go_on(base, data, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "prepare_job", interrupt)
    result = call(data, tmp_path / "out", base)
    dry = call(data, tmp_path / "out", base, "--dry-run")
    assert result.exit_code == dry.exit_code == 130
    assert result.stderr == "interrupted; the same command with --resume continues\n"
    assert dry.stderr == "interrupted; nothing was trained or written\n"


@pytest.mark.parametrize("error", [RuntimeError("unexpected pos 26944"), OSError(28, "No space left on device")])
def test_a_full_disk_is_told_in_a_line_and_the_run_goes_on_when_there_is_room(
    base, data, finished, tmp_path, monkeypatch, error
):
    out = stop(finished, tmp_path / "out")
    given = (*AS_BEGUN, "--evaluate-every", "2", "--licence", "CC-BY-SA-4.0", "--quiet", "--resume")

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("torch.save", fail)
        full = call(data, out, base, *given)
    assert full.exit_code == 2
    assert full.stderr.startswith(f"error: training cannot write into {out}: ")
    assert full.stderr.endswith("the same command with --resume continues\n")

    assert call(data, out, base, *given).exit_code == 0
    assert (out / "latechunk.json").is_file()


def test_sets_may_be_named_of_which_nothing_is_left_to_train_on(base, tmp_path):
    """One of weight 0, one without a usable question, one that is held out whole."""
    folder = tmp_path / "data"
    write_set(folder / "large", n_documents=9)
    write_set(folder / "small", n_documents=1, seed=1)
    (seed, *_) = [n for n in range(100) if {one.name for one in hold_out(read_sets(folder), n)[0]} == {"large"}]
    write_set(folder / "none", seed=2)
    write_set(folder / "vague", n_documents=1, seed=3)
    (folder / "vague" / "queries.jsonl").write_text('{"text": "What of all this?", "doc_id": "d0", "spans": []}\n')
    named = [part for name in ("none", "vague", "small") for part in ("--own-document-only", name)]
    given = (*named, "--weight", "none=0", "--weight", "small=2", "--seed", str(seed))

    result = call(folder, tmp_path / "out", base, *given, "--skip-unusable", "--dry-run", "--json")

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["sets"].keys() == {"large"}
    assert found["settings"]["segments"]["mixture"] == {}
    assert found["settings"]["segments"]["own_document_only"] == []


def test_questions_of_held_out_documents_that_cannot_be_trained_on_are_named_too(base, tmp_path):
    folder = write_set(tmp_path / "some", n_documents=10)
    ((held,),) = [one.documents for one in hold_out(read_sets(folder), 0)[1]]
    with (folder / "queries.jsonl").open("a") as file:
        file.write(json.dumps({"id": "vague", "text": "What of all this?", "doc_id": held.id, "spans": []}) + "\n")
    encoder = Encoder.load(str(base), dtype="float32", adapters=None)
    (wording,) = map(str, prepare(encoder, read_sets(folder), (12,), skip_unusable=True).unusable)

    refused = call(folder, tmp_path / "out", base)
    dry = call(folder, tmp_path / "out", base, "--dry-run")
    skipping = call(folder, tmp_path / "out", base, "--dry-run", "--skip-unusable")

    assert refused.exit_code == dry.exit_code == 2
    assert f"questions that cannot be trained on: 1\n  {wording}\n" in refused.stderr
    assert f"left out: 1 question that cannot be trained on\n  {wording}\n" in dry.stdout
    assert skipping.exit_code == 0
    assert "held out: 1 document, 4 questions" in skipping.stdout


def test_questions_that_cannot_be_trained_on_are_named_and_left_out_on_demand(base, tmp_path):
    folder = write_set(tmp_path / "some", n_documents=2)
    with (folder / "queries.jsonl").open("a") as file:
        file.write('{"id": "vague", "text": "What of all this?", "doc_id": "d0", "spans": []}\n')
    out = tmp_path / "out"

    refused = call(folder, out, base)
    dry = call(folder, out, base, "--dry-run")
    skipping = call(folder, out, base, "--dry-run", "--skip-unusable")

    assert refused.exit_code == dry.exit_code == 2
    assert "some, question 'vague': it names a document and no characters" in refused.stderr
    assert "left out: 1 question that cannot be trained on" in dry.stdout
    assert "without --skip-unusable" in dry.stderr
    assert skipping.exit_code == 0
    assert "there are fewer than 10 documents with questions" in skipping.stdout


def test_a_set_without_a_usable_question_is_refused(base, tmp_path):
    folder = write_set(tmp_path / "none", n_documents=1)
    (folder / "queries.jsonl").write_text('{"text": "What of all this?", "doc_id": "d0", "spans": []}\n')
    result = call(folder, tmp_path / "out", base, "--skip-unusable")
    assert result.exit_code == 2
    assert "no question left to train on" in result.stderr


def test_spans_beyond_the_text_and_quotes_that_are_nowhere_are_told(base, tmp_path):
    folder = write_set(tmp_path / "long", n_documents=1)
    (folder / "queries.jsonl").write_text('{"text": "What?", "doc_id": "d0", "spans": [[5, 99999]]}\n')
    beyond = call(folder, tmp_path / "out", base)
    quotes = tmp_path / "quotes"
    quotes.mkdir()
    (quotes / "a.txt").write_text("The river is old. The bridge is new.")
    (quotes / "questions.csv").write_text("question,quote\nHow old is the river?,the harbour is old\n")
    nowhere = call(quotes, tmp_path / "out", base)

    assert beyond.exit_code == nowhere.exit_code == 2
    assert "is answered by [5, 99999), beyond the" in beyond.stderr
    assert "the quote 'the harbour is old' is not in 'a.txt'" in nowhere.stderr


def test_nothing_of_others_is_overwritten(base, data, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    result = call(data, tmp_path, base)
    assert result.exit_code == 2
    assert "holds README.md, which no run of latechunk left there" in result.stderr
    file = call(data, tmp_path / "README.md", base)
    assert "is a file; name a folder" in file.stderr
    assert (tmp_path / "README.md").read_text() == "mine"


def test_missing_packages_are_named_with_the_command(base, data, tmp_path, monkeypatch):
    for name in [one for one in sys.modules if one.startswith("latechunk.training")]:
        monkeypatch.delitem(sys.modules, name)  # what is missing is seen when the package is imported
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else found(name))
    result = call(data, tmp_path / "out", base)
    assert result.exit_code == 1
    assert 'training needs peft; run `pip install ".[train]"` in the clone of latechunk' in result.stderr


def test_questions_of_a_user_are_trained_and_measured_without_an_interval(base, tmp_path):
    """questions.csv with quotes beside text files, a set to measure with, late vectors alone, and no licence."""
    folder = tmp_path / "mine"
    folder.mkdir()
    source = write_set(tmp_path / "source", n_documents=2)
    rows = ["question,quote,document"]
    documents = [json.loads(line) for line in (source / "docs.jsonl").read_text().splitlines()]
    for one in documents:
        (folder / f"{one['id']}.txt").write_text(one["text"])
    for line in (source / "queries.jsonl").read_text().splitlines():
        row = json.loads(line)
        (text,) = [one["text"] for one in documents if one["id"] == row["doc_id"]]
        start, end = row["spans"][0]
        rows.append(f"{row['text']},{text[start:end]},{row['doc_id']}.txt")
    (folder / "questions.csv").write_text("\n".join(rows) + "\n")
    measured = write_set(tmp_path / "measured", n_documents=1, seed=9)

    given = ("--steps", "2", "--no-query-adapter", "--evaluate", str(measured), "--quiet")
    result = call(folder, tmp_path / "out", base, *given)

    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout.count("(one document: no interval)") == 2
    bundle = read_adapter_manifest(tmp_path / "out")
    assert (bundle.mode, bundle.query_task, bundle.local_global) == ("late", None, None)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "No licence was given" in card
    assert "given apart: measured" in card


def test_help_lists_options_in_groups():
    shown = CliRunner().invoke(app, ["train", "--help"]).stdout
    for title in ("Data:", "How long:", "What is trained:", "Measuring:", "Result:", "Options:"):
        assert f"\n{title}\n" in shown


def test_a_model_may_be_trained_with_more_layers_over_the_whole_text():
    known = find_known_model("all-MiniLM-L6-v2")
    assert (known.local_global.local_layers, known.trained_local_global.local_layers) == (5, 4)
    other = find_known_model("multilingual-e5-base")
    assert other.trained_local_global == other.local_global
