import hashlib
import os
from pathlib import Path

import pytest

from latechunk import Index, SentenceChunker, Span, name_documents
from latechunk.chunking.places import make_chunks
from latechunk.errors import InputError
from latechunk.inspection.page import write_page
from latechunk.inspection.view import inspect
from latechunk.maintenance.export import export_index
from latechunk.readers import READERS, SourceFile, count_documents, find_files, read_documents
from latechunk.readers.decoding import decode
from tests.conftest import FakeEncoder
from tests.documents import pack


@pytest.fixture
def problems():
    return []


def read(paths, problems):
    return list(read_documents(find_files(paths, problems.append), problems.append))


def test_a_text_file_is_one_document_with_its_path_as_id(tmp_path, monkeypatch, problems):
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    Path("docs/a.md").write_bytes("# Über\r\n\r\nText".encode())

    (document,) = read([Path("docs")], problems)

    assert (document.id, document.text, dict(document.metadata)) == (
        "a.md",
        "# Über\r\n\r\nText",
        {"source": (tmp_path / "docs/a.md").as_posix()},
    )
    assert problems == []


def test_a_folder_is_read_recursively_in_order_and_others_are_passed_over(tmp_path, problems):
    hidden = (
        ".git/HEAD",
        ".hidden.md",
        "~$a.docx",
        "node_modules/x/a.js",
        "sub/__pycache__/a.txt",
        "x.latechunk/store.sqlite3",
    )
    embedded = (
        "out/manifest.json",
        f"out/part-000001-{'0' * 16}.parquet",
        f"failed/errors-000002-{'a' * 16}.parquet",
        "begun/manifest.json",
        "begun/write.lock",
    )
    left = (
        "sub/rep/report.html",
        "sub/rep/results.json",
        Path("sub", "rep", "work", "a.txt"),
        "adapters/latechunk.json",
    )
    for name in (
        "b.txt",
        "a.md",
        "results.json",
        "sub/c.TXT",
        "sub/deep/d.md",
        "sub/code.py",
        "Makefile",
        *hidden,
        *embedded,
        *left,
        "adapters/README.md",
        "failed/manifest.json",
        "x.latechunk/a.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "keyword.zip").write_bytes(pack({"keyword/a.txt": "text"}))
    (tmp_path / "empty.py").touch()
    others = []

    files = find_files([tmp_path], problems.append, others.append)

    read = ["Makefile", "a.md", "b.txt", "results.json", "sub/c.TXT", "sub/code.py", "sub/deep/d.md"]
    assert [one.name for one in files] == read
    assert [one.name for one in others] == ["empty.py", "image.png", "keyword.zip"]
    assert problems == []


def test_a_file_given_twice_is_read_once(tmp_path, problems):
    (tmp_path / "a.txt").write_text("text")

    assert len(find_files([tmp_path, tmp_path / "a.txt"], problems.append)) == 1


def test_links_in_a_folder_are_not_followed(tmp_path, problems):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "link.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    (tmp_path / "docs" / "folder").symlink_to(tmp_path / "outside")
    (tmp_path / "docs" / "loop").symlink_to(tmp_path / "docs")

    assert find_files([tmp_path / "docs"], problems.append) == []


def test_what_cannot_be_read_is_named(tmp_path, problems):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "b.SVG").write_text('<svg><path d="M1 2 3 4"/></svg>')
    os.mkfifo(tmp_path / "pipe.txt")
    names = ["none.txt", "a.png", "b.SVG", "pipe.txt"]

    assert find_files([tmp_path / name for name in names], problems.append) == []

    assert [(Path(one.place).name, one.reason) for one in problems] == [
        ("none.txt", "there is no such file or folder"),
        ("a.png", f"it holds no text, and is of no format that is read: {', '.join(READERS)}"),
        ("b.SVG", f"it holds no text, and is of no format that is read: {', '.join(READERS)}"),
        ("pipe.txt", "this is not a regular file"),
    ]


def test_a_file_that_is_not_utf8_is_named_with_the_byte(tmp_path, problems):
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "good.txt").write_text("good")

    documents = read([tmp_path], problems)

    assert [document.text for document in documents] == ["good"]
    assert problems[0].place.endswith("latin.txt")
    assert "not UTF-8, and of no encoding that is sure: unexpected end of data at byte 3" in problems[0].reason


def test_texts_of_any_suffix_may_be_in_an_older_encoding(tmp_path, problems):
    code = "<?php // Gr\u00fc\u00dfe aus M\u00fcnchen\n\f"
    (tmp_path / "a.php").write_bytes(code.encode("cp1252"))
    (tmp_path / "b.xml").write_bytes(b'<?xml version="1.0" encoding="ISO-8859-2"?>\n<a>\xb1</a>')
    (tmp_path / "c.bin").write_bytes(b"\xfc\xdf\x01\x02" * 99)
    (tmp_path / "d").write_bytes(b"\x1f\x8b" + bytes(range(1, 256)))
    others = []
    files = find_files([tmp_path], problems.append, others.append)

    documents = list(read_documents(files, problems.append, encoding="cp1252"))

    assert [one.text for one in documents] == [code, '<?xml version="1.0" encoding="ISO-8859-2"?>\n<a>\u00b1</a>']
    assert [one.name for one in others] == ["c.bin", "d"]
    ((xml,),) = [list(read_documents(files[1:], problems.append))]
    assert xml.text.endswith("<a>\u0105</a>")  # what it says itself, unless it is told
    assert problems == []
    assert list(read_documents(files[:1], problems.append)) == []
    assert "name it (--encoding)" in problems[0].reason


@pytest.mark.parametrize("paths", ["docs", ["docs"], Path("docs")])
def test_what_to_read_is_a_list_of_paths(paths, problems):
    with pytest.raises(InputError, match=r"find_files takes a list of pathlib.Path, such as \[Path\(\"docs\"\)\], got"):
        find_files(paths, problems.append)


def test_what_to_read_may_be_found_by_a_pattern(tmp_path, problems):
    (tmp_path / "a.txt").write_text("Text")

    assert [file.name for file in find_files(tmp_path.glob("*.txt"), problems.append)] == ["a.txt"]


def test_a_byte_order_mark_is_no_text(tmp_path, problems):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfText")

    assert read([tmp_path], problems)[0].text == "Text"


def test_fields_of_a_line_become_metadata(tmp_path, problems):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": "a", "text": "One.", "year": 2024, "metadata": {"tags": ["x"]}}\n\n{"id": "b", "text": "Two."}\n'
        '{"id": "c", "text": "Three.", "source": "c.html", "latechunk_file": "/elsewhere.jsonl#9"}\n'
    )

    documents = read([path], problems)

    assert [(one.id, one.text, dict(one.metadata)) for one in documents] == [
        ("a", "One.", {"year": 2024, "tags": ["x"], "source": path.as_posix(), "table_row": 1}),
        ("b", "Two.", {"source": path.as_posix(), "table_row": 3}),
        ("c", "Three.", {"source": "c.html", "latechunk_file": "/elsewhere.jsonl#9"}),
    ]
    assert [make_chunks(one, [Span(0, 1)])[0].citation for one in documents] == [
        "a.jsonl, row 1",
        "a.jsonl, row 3",
        "c.html:1",
    ]
    assert count_documents([SourceFile(path, path.name)]) == 3


def test_messages_of_a_chat_are_its_text(tmp_path, problems):
    parts = '[{"type": "image_url"}, {"type": "text", "text": "Weekly."}]'
    turns = '{"role": "user", "content": "How often?"}, {"role": "tool", "content": null}'
    chat = f'{{"id": "c", "messages": [{turns}, {{"role": "assistant", "content": {parts}}}], "model": "m"}}'
    (tmp_path / "a.jsonl").write_text(chat + '\n{"messages": ["Hi"]}\n{"text": "own", "messages": [1]}\n')
    (tmp_path / "b.json").write_text(f"[{chat}]")

    files = find_files([tmp_path], problems.append)
    document, own, row = read_documents(files, problems.append, rows=True)

    assert document.text == row.text == "user: How often?\n\nassistant: Weekly."
    assert (document.metadata["model"], document.metadata.keys() & {"messages"}) == ("m", set())
    assert (own.text, own.metadata["messages"]) == ("own", [1])
    assert [problem.place for problem in problems] == [f"{tmp_path / 'a.jsonl'}:2"]


def test_a_record_whose_messages_say_nothing_is_read_by_its_other_fields(tmp_path, problems):
    (tmp_path / "a.json").write_text('[{"subject": "Pumps are late.", "messages": []}]')

    (document,) = read_documents(find_files([tmp_path], problems.append), problems.append, rows=True)

    assert "Pumps are late." in document.text
    assert not problems


def test_a_record_is_cited_by_its_own_source_alone_or_by_its_file(tmp_path, problems):
    (tmp_path / "a.csv").write_text("id,name,source\nx,Ann,Reuters\ny,Bob,\nz,Cid, \n")
    (tmp_path / "b.jsonl").write_text(
        '{"id": "l", "text": "One.", "source": null}\n{"id": "m", "text": "Two.", "source": ""}\n'
    )

    documents = list(read_documents(find_files([tmp_path], problems.append), problems.append, rows=True))

    assert [(one.id, make_chunks(one, [Span(0, 1)])[0].citation) for one in documents] == [
        ("x", "Reuters"),
        ("y", "a.csv, row 2"),
        ("z", "a.csv, row 3"),
        ("l", "b.jsonl, row 1"),
        ("m", "b.jsonl, row 2"),
    ]
    assert documents[0].metadata["table_row"] == 1
    assert documents[0].metadata["latechunk_file"] == f"{(tmp_path / 'a.csv').as_posix()}#1"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[1]", 'must be an object with "text"'),
        (b'{"id": "a"}', 'must be an object with "text"'),
        (b'{"id": [1], "text": "x"}', "id of a document must be a string, got list"),
        (b'{"id": "a", "text": null}', "must be a string, got NoneType"),
        (b'{"id": "a", "text": "\\ud800"}', "lone surrogate"),
        (b'{"id": "a", "text": "x", "n": NaN}', "metadata"),
        (b'{"id": "a", "text": "x", "metadata": []}', '"metadata" must be an object'),
        (b'{"id": "a", "text": "x", "n": 1, "metadata": {"n": 2}}', "both outside and inside"),
        (b'{"id": "a", "text": "caf\xe9"}', "not UTF-8"),
        (b"[" * 100_000, "recursion"),
        (b'{"id": "a", "text": "x", "n": ' + b"1" * 5000 + b"}", "limit"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path, problems, line, reason):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "first", "text": "x"}\n' + line + b'\n{"id": "last", "text": "x"}\n')

    documents = read([path], problems)

    assert [document.id for document in documents] == ["first", "last"]
    assert problems[0].place == f"{path}:2"
    assert reason in problems[0].reason


def test_an_unreadable_folder_is_named(tmp_path, monkeypatch, problems):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("os.scandir", refuse)

    assert find_files([tmp_path], problems.append) == []
    assert "Permission denied" in problems[0].reason


def test_a_file_has_one_id_wherever_one_stands(tmp_path, monkeypatch, problems):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "x.md").write_text("text")
    for folder, given in (
        (tmp_path, "docs"),
        (tmp_path, "docs/x.md"),
        (tmp_path / "docs", "."),
        ("/", tmp_path / "docs"),
    ):
        monkeypatch.chdir(folder)
        assert [one.id for one in read([Path(given)], problems)] == ["x.md"]


def test_two_files_of_one_name_are_told_apart_by_their_folder(tmp_path, problems):
    for name in ("one/x.md", "two/x.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)

    assert [one.text for one in read([tmp_path / "one", tmp_path / "two"], problems)] == ["one/x.md"]
    assert "its id would be x.md, as that of" in problems[0].reason
    assert [one.id for one in read([tmp_path], problems)] == ["one/x.md", "two/x.md"]


GERMAN = "Die Wärmepumpe muß jährlich geprüft werden. Für größere Häuser gelten höhere Anforderungen. " * 3
CHINESE = "北京是中国的首都。它有两千多万人口！你去过吗？如何撤销提交，分支管理的方法。" * 4


@pytest.mark.parametrize(
    ("text", "encoding", "guessed"),
    [
        (GERMAN, "utf-8", False),
        (GERMAN, "utf-8-sig", False),
        (GERMAN, "utf-16", False),
        (GERMAN, "utf-32", False),
        ("short", "utf-16", False),
        (GERMAN, "utf-16-le", True),
        ("Москва — столица России.\nВ ней живут миллионы.\n", "utf-16-be", True),
        ("a log of a machine\0that was turned off\0\0\0\0\n" * 9, "utf-8", False),
        (GERMAN, "latin-1", True),
        (CHINESE, "gb18030", True),
        ("Москва — столица России. В ней живёт тринадцать миллионов человек. " * 3, "cp1251", True),
        ("東京は日本の首都です。人口は約千四百万人です。とても大きな都市です。" * 4, "shift_jis", True),
    ],
)
def test_texts_of_any_encoding_that_is_marked_or_sure(tmp_path, problems, text, encoding, guessed):
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    notes = []

    (document,) = read_documents(
        find_files([tmp_path], problems.append), problems.append, lambda *note: notes.append(note)
    )

    assert document.text == text
    assert [("guessed" in what) for _, what in notes] == [True] * guessed
    assert problems == []


@pytest.mark.parametrize("encoding", ["cp1253", "iso-8859-7"])
def test_greek_with_abbreviations_is_not_read_as_cyrillic(encoding):
    text = (
        "Ο κ. Παπαδόπουλος και η κ. Γεωργίου υπέγραψαν. Σύμφωνα με το άρθ. 5 παρ. 2 του ν. 4412/2016 απαγορεύεται. "
        "Η τιμή είναι περ. 1.234,50 ευρώ. Πότε λήγει; Τη Δευτέρα! Π.χ. στην Αθήνα. Βλ. σελ. 12 κ.ε. του κειμένου.\n"
        "«Θα έρθεις;» ρώτησε. «Ναι.» Μετά έφυγε. Ο Δρ. Νίκος ήρθε στις 9 π.μ. τη Δευτέρα. Στον 19ο αι. ήταν αλλιώς.\n"
    )

    with pytest.raises(UnicodeDecodeError):  # it is not sure to be Greek, either
        decode(text.encode(encoding), None)


@pytest.mark.parametrize("encoding", ["iso-2022-jp", "utf-16-le", "utf-32-be"])
def test_encodings_that_look_like_utf8_are_read_as_they_are_said(tmp_path, problems, encoding):
    (tmp_path / "a.txt").write_bytes("a 東京".encode(encoding))
    (tmp_path / "b.txt").write_text("caf\u00e9 +1", encoding="utf-8")

    documents = read_documents(find_files([tmp_path], problems.append), problems.append, encoding=encoding)

    assert [one.text for one in documents] == ["a 東京", "caf\u00e9 +1"]
    assert problems == []


def test_what_is_not_sure_needs_its_encoding(tmp_path, problems):
    (tmp_path / "a.txt").write_bytes("caf\u00e9".encode("cp1252"))
    (tmp_path / "b.jsonl").write_bytes('{"id": "b", "text": "na\u00efve"}\n'.encode("cp1252"))
    (tmp_path / "c.jsonl").write_bytes(
        '{"id": "c", "text": "\u5317\n\u4eac"}\n\n'.replace("\n\u4eac", "\u4eac").encode("utf-16")
    )
    files = find_files([tmp_path], problems.append)

    assert [one.id for one in read_documents(files, problems.append)] == ["c"]
    assert len(problems) == 2
    assert all("of no encoding that is sure" in one.reason and "--encoding" in one.reason for one in problems)
    named = list(read_documents(files, pytest.fail, encoding="cp1252"))
    assert [one.text for one in named] == ["caf\u00e9", "na\u00efve", "\u5317\u4eac"]
    for wrong in ("nonsense", "rot13"):
        with pytest.raises(InputError, match="encoding must be a name such as latin-1"):
            list(read_documents(files, pytest.fail, encoding=wrong))


def test_lines_without_an_id_have_one_and_numbers_are_strings(tmp_path, problems):
    lines = [
        '{"text": "a"}',
        '{"text": "a"}',
        '{"text": "b", "source": "b.html"}',
        '{"_id": 7, "text": "c"}',
        '{"id": true, "text": "d"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    notes = []

    documents = list(
        read_documents(find_files([tmp_path], problems.append), problems.append, lambda *note: notes.append(note))
    )

    assert documents[0].id == documents[1].id == hashlib.sha256(b"a").hexdigest()[:32]
    assert [one.id for one in documents[2:]] == ["b.html", "7"]
    assert [what for _, what in notes] == ["ids that are numbers are taken as strings"]
    assert [one.place.rpartition(":")[2] for one in problems] == ["5"]


def test_ids_of_documents_that_have_none():
    page = {"source": "a.pdf", "page": 0}
    rows = [("x", {"source": "a.csv", "row": 0}), ("y", {"source": "a.csv", "row": 1})]
    given = [
        ("t", {"source": "a.txt"}),
        ("t", {}),
        ("one", page),
        *rows,
        ("u", {"source": "same"}),
        ("v", {"source": "same"}),
    ]

    first = [name for name, _ in name_documents(given, lambda one: (None, *one))]
    again = [name for name, _ in name_documents(given[3:4], lambda one: (None, *one))]

    assert first[0] == "a.txt"
    assert first[1] == hashlib.sha256(b"t").hexdigest()[:32]
    assert len(set(first)) == len(given)
    assert "a.csv" not in first
    assert again == first[3:4]  # a row that comes alone replaces no other row
    assert list(name_documents(["t"], lambda text: ("own", text, {"source": "s"}))) == [("own", "t")]


@pytest.mark.parametrize(
    ("sources", "is_whole"),
    [(["a.md", "docs/a", r"C:\docs\a", "https://a.org", "a.c"], True), (["tweet", "Dr. Smith", "v1.2", "7"], False)],
)
def test_what_shares_a_source_that_is_no_file_is_not_replaced(sources, is_whole):
    for source in sources:
        given = [("one", {"source": source}), ("other", {"source": "news"}), ("two", {"source": source})]

        names = [name for name, _ in name_documents(given, lambda one: (None, *one))]
        alone = [name for one in given for name, _ in name_documents([one], lambda one: (None, *one))]

        assert names == alone
        assert (names[0] == names[2] == source) is is_whole
        assert len(set(names)) == (2 if is_whole else 3)


def test_a_path_of_a_file_is_one_whatever_it_looks_like():
    given = [("Old.", {"file_path": "Makefile"}), ("New.", {"file_path": "app.properties", "source": "disk"})]

    names = [name for name, _ in name_documents(given, lambda one: (None, *one), source_keys=("file_path", "source"))]

    assert names == ["Makefile", "app.properties"]


@pytest.mark.parametrize("error", [OSError("the log is full"), KeyError("note"), UnicodeError("no")])
def test_what_a_function_of_the_caller_raises_is_no_fault_of_a_file(tmp_path, error):
    (tmp_path / "a.md").write_text("---\na: [\n---\ntext")
    (tmp_path / "b.jsonl").write_text("{\n")

    def fail(*_):
        raise error from cause

    cause = ValueError("its own")
    for name, functions in {"a.md": (pytest.fail, fail), "b.jsonl": (fail, pytest.fail)}.items():
        with pytest.raises(type(error)) as raised:
            list(read_documents(find_files([tmp_path / name], pytest.fail), *functions))
        assert raised.value is error
        assert error.__cause__ is cause


def test_what_export_and_inspect_wrote_is_not_read(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("Berlin is a city.")
    with Index.create(tmp_path / "x", encoder=FakeEncoder(), chunker=SentenceChunker()) as index:
        index.add(read_documents(find_files([folder], pytest.fail), pytest.fail))
        write_page(folder / "page.html", inspect(index, "Where is Berlin?"))
    export_index(tmp_path / "x", folder / "x.jsonl")
    problems = []

    assert [one.name for one in find_files([folder], pytest.fail, pytest.fail)] == ["a.md"]
    assert find_files([folder / "page.html", folder / "x.jsonl"], problems.append) == []
    assert {one.reason for one in problems} == {
        "`latechunk export` or `inspect` wrote it, and it is no document; `latechunk import` reads an export"
    }


def test_a_name_that_is_too_long_costs_itself(tmp_path, problems):
    (tmp_path / "a.md").write_text("text")
    long = tmp_path / ("n" * 300)

    assert [one.id for one in read([long, tmp_path / "a.md"], problems)] == ["a.md"]
    assert [(one.place, one.reason) for one in problems] == [(str(long), "File name too long")]
