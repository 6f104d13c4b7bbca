import os
from pathlib import Path

import pytest

from latechunk.readers import count_documents, find_files, read_documents


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
        "docs/a.md",
        "# Über\r\n\r\nText",
        {"source": "docs/a.md"},
    )
    assert problems == []


def test_a_folder_is_read_recursively_in_order_and_others_are_passed_over(tmp_path, problems):
    for name in ("b.txt", "a.md", "sub/c.TXT", "sub/deep/d.md", "image.png", "sub/noise.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")

    files = find_files([tmp_path], problems.append)

    assert [file.relative_to(tmp_path).as_posix() for file in files] == ["a.md", "b.txt", "sub/c.TXT", "sub/deep/d.md"]
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
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    os.mkfifo(tmp_path / "pipe.txt")

    assert find_files([tmp_path / "none.txt", tmp_path / "a.pdf", tmp_path / "pipe.txt"], problems.append) == []

    assert [(Path(one.place).name, one.reason) for one in problems] == [
        ("none.txt", "there is no such file or folder"),
        ("a.pdf", "only .txt, .md, .jsonl files are read"),
        ("pipe.txt", "this is not a regular file"),
    ]


def test_a_file_that_is_not_utf8_is_named_with_the_byte(tmp_path, problems):
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "good.txt").write_text("good")

    documents = read([tmp_path], problems)

    assert [document.text for document in documents] == ["good"]
    assert problems[0].place.endswith("latin.txt")
    assert "not UTF-8: unexpected end of data at byte 3" in problems[0].reason


def test_a_byte_order_mark_is_no_text(tmp_path, problems):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfText")

    assert read([tmp_path], problems)[0].text == "Text"


def test_fields_of_a_line_become_metadata(tmp_path, problems):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": "a", "text": "One.", "year": 2024, "metadata": {"tags": ["x"]}}\n\n{"id": "b", "text": "Two."}\n'
    )

    documents = read([path], problems)

    assert [(one.id, one.text, dict(one.metadata)) for one in documents] == [
        ("a", "One.", {"year": 2024, "tags": ["x"]}),
        ("b", "Two.", {}),
    ]
    assert count_documents([path]) == 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[1]", 'must be an object with "id" and "text"'),
        (b'{"id": "a"}', 'must be an object with "id" and "text"'),
        (b'{"id": 1, "text": "x"}', "id of a document must be a string, got int"),
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
