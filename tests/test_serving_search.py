"""Search, documents, reranking, metrics and the page of a server; no answer but the text and its exact place."""

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from urllib.parse import quote

import httpx
import pytest

from latechunk import CrossEncoderReranker, Document, Index, SearchOptions, SentenceChunker
from tests.conftest import FakeEncoder
from tests.serving import running

pytest.importorskip("fastapi")

from latechunk.serving import make_app, open_served
from latechunk.serving.passages import public_metadata

KEY = "0123456789abcdef"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> & </mark> \u202ereversed\u202c \U0001f1e9\U0001f1ea"
DOCUMENTS = [
    Document(
        "a/berlin.md", "# Berlin\n\nBerlin is the capital. It has people.\n\n## River\n\nThe Spree runs.", {"n": 1}
    ),
    Document(
        "paris", "Paris is the capital of France. The Seine runs through it.", {"source": "/srv/secret/p.txt", "n": 2}
    ),
    Document("<b>hostile</b>", f"{HOSTILE} is hostile. It alerts.", {"<k>": "<v>"}),
]


def shared_words(question, texts):
    return [float(len(set(question.split()) & set(text.split()))) for text in texts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexes") / "cities.latechunk"
    with Index.create(folder, encoder=FakeEncoder(), chunker=SentenceChunker(max_tokens=8)) as index:
        index.add(DOCUMENTS)
    return folder


@pytest.fixture(scope="module")
def url(folder):
    with (
        open_served([folder], encoder=FakeEncoder(), reranker=shared_words, reranker_name="words") as served,
        running(make_app(served)) as url,
    ):
        yield url


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url, timeout=60, verify=False) as client:
        yield client


def test_a_search_gives_the_hits_of_the_index(client, folder):
    asked = {"k": 3, "mode": "hybrid", "filter": {"n": {"$lte": 2}}, "per_document": True}

    found = client.post("/search", json={"query": "Which river?", **asked}).json()["passages"]

    with Index.open(folder, encoder=FakeEncoder(), read_only=True) as index:
        hits = index.search_with("Which river?", SearchOptions(**asked))
    assert [(one["document_id"], one["start"], one["end"], one["text"]) for one in found] == [
        (hit.chunk.document_id, hit.chunk.start, hit.chunk.end, hit.chunk.text) for hit in hits
    ]
    assert [one["score"] for one in found] == pytest.approx([hit.score for hit in hits], abs=1e-6)
    assert [one["citation"] for one in found] == [hit.citation for hit in hits]
    texts = {one.id: one.text for one in DOCUMENTS}
    assert all(texts[one["document_id"]][one["start"] : one["end"]] == one["text"] for one in found)


def test_a_mistake_in_a_filter_is_noted_where_nothing_was_found(client):
    def ask(**options):
        return client.post("/search", json={"query": "Which river?", **options}).json()

    assert ask(filter={"n": "2"}) == {
        "passages": [],
        "note": "'n' has only numbers, and is compared with the string '2'",
    }
    assert ask(filter={"n": 99}) == {"passages": [], "note": "the filter leaves none of the 3 documents"}
    assert ask(filter={"n": 2}, document_ids=["a/berlin.md"]) == {
        "passages": [],
        "note": "filter and document_ids leave none of the 3 documents",
    }
    assert ask(document_ids=[])["note"] == "document_ids leave none of the 3 documents"
    assert ask(mode="lexical", query="zebra", filter={"n": 2}) == {"passages": [], "note": None}
    assert ask()["note"] is None
    named = ask(filter={"source": "p.txt"})  # as answers show it
    assert named["note"] == (
        "the filter leaves none of the 3 documents; 'source' is a whole path, of which answers show the name alone: "
        'ask by {"source": {"$like": "%/NAME"}}'
    )
    assert ask(filter={"source": {"$like": "%/p.txt"}})["passages"][0]["document_id"] == "paris"


def test_answers_hold_no_path_of_the_machine():
    places = {
        "source": "file:///srv/secret/a.md",
        "file_path": "C:\\secret\\a.pdf",
        "file_directory": "/srv/secret",
        "latechunk_file": "/srv/secret/corpus.jsonl#7",
        "url": "https://example.org/a",
    }

    assert public_metadata({**places, "path": "https://example.org/a"}) == {
        "source": "a.md",
        "file_path": "a.pdf",
        "file_directory": "secret",
        "latechunk_file": "corpus.jsonl#7",
        "url": "https://example.org/a",
        "path": "https://example.org/a",
    }


def test_a_route_that_does_not_exist_is_named_with_the_one_that_was_meant(client):
    def ask(path):
        refused = client.post(path, json={"input": "a"})
        return refused.status_code, refused.json()["detail"]

    assert ask("/embeddings") == (404, "there is no route '/embeddings': did you mean '/v1/embeddings'?")
    assert ask("/v1/chat/completions") == (
        404,
        "there is no route '/v1/chat/completions'; GET /openapi.json has all that there are",
    )
    assert client.get(f"/{'x' * 5_000}").status_code == 404


def test_a_blank_query_is_refused_in_plain_words(client):
    refused = client.post("/search", json={"query": ""})

    assert (refused.status_code, refused.json()["detail"]) == (400, "query must have at least 1 character, got ''")


def test_neighbours_stand_where_they_stand_in_the_document(client):
    question = {"query": "The Seine runs", "k": 1, "document_ids": ["paris"], "mode": "lexical", "neighbours": True}

    (found,) = client.post("/search", json=question).json()["passages"]

    assert found["before"] + found["text"] + found["after"] == DOCUMENTS[1].text
    assert found["metadata"] == {"source": "p.txt", "n": 2}


def test_a_reranker_orders(client):
    question = {"query": "It alerts.", "k": 2, "rerank": True}

    found = client.post("/search", json=question).json()["passages"]

    assert found[0]["score"] == 2.0
    assert "It alerts." in found[0]["text"]


def test_documents_are_listed_and_read(client):
    listed = client.get("/documents", params={"per_page": 2}).json()
    filtered = client.get("/documents", params={"filter": '{"n": 2}'}).json()
    part = client.get("/documents/a/berlin.md", params={"start": 2, "end": 8}).json()
    none = client.get("/documents/london")
    indexes = client.get("/indexes").json()

    assert [one["document_id"] for one in listed["documents"]] == ["a/berlin.md", "paris"]
    assert (listed["n_documents"], listed["n_pages"]) == (3, 2)
    assert [one["document_id"] for one in filtered["documents"]] == ["paris"]
    assert (part["text"], part["next_start"], part["n_characters"]) == ("Berlin", 8, len(DOCUMENTS[0].text))
    assert none.status_code == 404
    assert none.json()["error"]["code"] == "document_not_found"
    assert indexes["indexes"][0] | {"n_chunks": 0} == {
        "name": "cities",
        "n_documents": 3,
        "n_chunks": 0,
        "model": "fake",
        "mode": "late",
    }


@pytest.mark.parametrize("name", ["a\nb", "paris\n", "\n", 'it\'s "x"', "a//b/", "/a", "100%/..%2Fx?y#z;é", "\x00"])
def test_documents_of_any_id_are_read(tmp_path, name):
    with Index.create(tmp_path / "odd", encoder=FakeEncoder()) as index:
        index.add([Document("paris", "Paris"), Document(name, "Another text")])
    with open_served([tmp_path / "odd"], encoder=FakeEncoder()) as served, running(make_app(served)) as url:
        found = httpx.get(f"{url}/documents/{quote(name, safe='')}").json()

    assert (found["document_id"], found["text"]) == (name, "Another text")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/search", {"query": ""}, "at least 1 character"),
        ("/search", {"query": "a" * 8_193}, "at most 8192 characters"),
        ("/search", {"query": " "}, "holds none"),
        ("/search", {"query": "a", "k": 101}, "k must be at most 100"),
        ("/search", {"query": "a", "filter": {"n": {"$gtt": 1}}}, "did you mean $gt"),
        ("/search", {"query": "a", "filter": {"n": float("nan")}}, "must be finite"),
        ("/search", {"query": "a", "dense_weight": float("inf")}, "dense_weight must be"),
        ("/search", {"query": "a", "candidates": 5}, "candidates must be at least k"),
        ("/search", {"query": "a", "granularity": "x"}, "must be one of the index's granularities"),
        ("/search", {"query": "a", "quary": "b"}, "did you mean 'query'"),
        ("/search", {"query": "a", "top_n": 1}, "there is no 'top_n': did you mean 'k'?"),
        ("/search", {"query": "a", "top_k": 1}, "there is no 'top_k': did you mean 'k'?"),
        ("/search", {"query": "a", "chunk_size": 1}, "there is no 'chunk_size': known are candidates, dense_weight"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "top_m": 1}, "did you mean 'top_n'?"),
        ("/search", {"query": "a", "strategy": "x"}, "there is no 'strategy': known are"),
        ("/v1/embeddings", {"input": "a", "k": 1}, "there is no 'k': known are"),
        ("/search", {"query": "a", "document_ids": ["\ud800"]}, "surrogate"),
        ("/v1/rerank", {"query": "a", "documents": []}, "at least 1 item"),
        ("/v1/rerank", {"query": "a", "documents": ["b", " "]}, "documents[1] must not be blank"),
        ("/v1/rerank", {"query": "a", "documents": ["b"] * 2_049}, "2,048 texts"),
        ("/v1/rerank", {"query": "a", "documents": ["b"], "top_n": 1, "top_k": 2}, "top_n and top_k are two words"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(client, path, body, said):
    import json

    answer = client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})

    assert answer.status_code == 400, answer.text
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/documents?foo=1", "there is no 'foo': known are filter, index, page, per_page"),
        ("/documents?filters={}", "there is no 'filters': did you mean 'filter'?"),
        ("/documents/paris?star=5&x=", "there is no 'star': did you mean 'start'?; there is no 'x': known are end, in"),
        ("/indexes?foo=1", "there is no 'foo': leave it out"),
        ("/v1/models?foo=1", "there is no 'foo': leave it out"),
        ("/documents/paris?start=x", "start must be a whole number, got 'x'"),
    ],
)
def test_a_parameter_that_a_route_does_not_have_is_refused(client, address, said):
    answer = client.get(address)

    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    posted = client.post("/search?k=3", json={"query": "a"})
    assert (posted.status_code, posted.json()["detail"]) == (400, "there is no 'k': leave it out")
    assert client.get("/?q=a").status_code == 200


def test_wrong_addresses_are_told_what_is_wrong(client):
    for path, status in {
        "/documents?page=0": 400,
        "/documents?filter=[1]": 400,
        "/documents?filter={": 400,
        "/documents?index=none": 404,
        "/documents/paris?start=1000": 400,
        "/documents/paris?start=x": 400,
        "/documents/%00": 404,
        "/nothing": 404,
        "/search": 405,
    }.items():
        answer = client.get(path)
        assert (answer.status_code, list(answer.json())) == (status, ["error", "detail"]), path


def test_the_voyageai_package_and_jinas_form_rerank(url, client):
    voyageai = pytest.importorskip("voyageai")
    texts = ["nothing", "the river runs", "river"]

    answer = voyageai.Client(api_key="none", base_url=f"{url}/v1").rerank("river runs", texts, model="words", top_k=2)
    jinas = client.post("/v1/rerank", json={"query": "river", "documents": texts, "top_n": 1, "return_documents": True})

    assert [(one.index, one.document, one.relevance_score) for one in answer.results] == [
        (1, "the river runs", 2.0),
        (2, "river", 1.0),
    ]
    assert jinas.json()["results"] == [{"index": 1, "relevance_score": 1.0, "document": {"text": "the river runs"}}]
    other = client.post("/v1/rerank", json={"query": "river", "documents": texts, "model": "other"})
    assert other.status_code == 404


def test_a_cross_encoder_reranks(folder, tmp_path):
    from tests.test_cross_encoder import write_cross_encoder

    reranker = CrossEncoderReranker.load(str(write_cross_encoder(tmp_path / "reranker")), device="cpu")
    with (
        open_served(encoder=FakeEncoder(), reranker=reranker, reranker_name="tiny") as served,
        running(make_app(served)) as url,
    ):
        body = {"query": "what is it?", "documents": ["It is.", "The capital has people."]}
        found = httpx.post(f"{url}/v1/rerank", json=body, verify=False).json()["results"]
        no_index = httpx.post(f"{url}/search", json={"query": "a"}, verify=False)

    assert {one["index"]: one["relevance_score"] for one in found} == pytest.approx(
        dict(enumerate(reranker(body["query"], body["documents"]))), abs=1e-6
    )
    assert no_index.status_code == 404
    assert "has no index" in no_index.text


def test_metrics_count_by_route(client):
    client.post("/search", json={"query": "Which river?"})
    client.get("/documents/paris")
    client.get("/nobody/knows/this")

    text = client.get("/metrics").text

    assert re.search(r'latechunk_requests_total\{route="/search",status="200"\} [1-9]', text)
    assert 'route="/documents/{document_id:any_text}",status="200"' in text
    assert 'route="other",status="404"' in text
    assert "nobody" not in text
    assert re.search(r"^latechunk_requests_in_progress 0", text, re.MULTILINE)
    assert re.search(r"^latechunk_encoded_tokens_total [1-9]", text, re.MULTILINE)


def test_an_index_that_grows_is_served_as_it_is(tmp_path):
    folder = tmp_path / "growing"
    with Index.create(folder, encoder=FakeEncoder()) as index:
        index.add(DOCUMENTS[:1])
        with open_served([folder], encoder=FakeEncoder()) as served, running(make_app(served)) as url:
            before = httpx.post(f"{url}/search", json={"query": "Seine"}, verify=False).json()["passages"]
            index.add(DOCUMENTS[1:2])
            after = httpx.post(f"{url}/search", json={"query": "Seine"}, verify=False).json()["passages"]

    assert {one["document_id"] for one in before} == {"a/berlin.md"}
    assert after[0]["document_id"] == "paris"


def ask_many(url, query, n=16):
    def ask(_):
        answer = httpx.post(f"{url}/search", json={"query": query, "k": 1}, timeout=60, verify=False)
        return answer.status_code, [one["document_id"] for one in answer.json().get("passages", ())]

    with ThreadPoolExecutor(n) as pool:
        return set(map(str, pool.map(ask, range(4 * n))))


def test_an_index_that_takes_the_place_of_another_is_served(tmp_path):
    folder, later = tmp_path / "live", tmp_path / "later"
    for path, document in ((folder, DOCUMENTS[0]), (later, DOCUMENTS[1])):
        with Index.create(path, encoder=FakeEncoder()) as index:
            index.add([document])
    with open_served([folder], encoder=FakeEncoder()) as served, running(make_app(served)) as url:
        before = ask_many(url, "capital")
        folder.rename(tmp_path / "before")
        later.rename(folder)
        after = ask_many(url, "capital")
        shutil.rmtree(folder)
        gone = ask_many(url, "capital")

    assert before == {"(200, ['a/berlin.md'])"}
    assert after == gone == {"(200, ['paris'])"}


@pytest.fixture
def volume(tmp_path, monkeypatch):
    """The folder of an index, of a volume that the process takes for read-only."""
    if not hasattr(os, "statvfs"):
        pytest.skip("needs statvfs")
    folder = tmp_path / "volume"
    with Index.create(folder, encoder=FakeEncoder()) as index:
        index.add(DOCUMENTS[:1])
    read_only = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr("latechunk.storage.connection.os.statvfs", lambda path: read_only)
    return folder


def test_an_index_on_a_read_only_volume_is_served_as_it_was_last_closed(volume):
    with open_served([volume], encoder=FakeEncoder()) as served, running(make_app(served)) as url:
        before = ask_many(url, "Seine")
        with Index.open(volume, encoder=FakeEncoder()) as index:
            index.add(DOCUMENTS[1:2])
        after = ask_many(url, "Seine")

    assert before == {"(200, ['a/berlin.md'])"}
    assert after == {"(200, ['paris'])"}


def test_an_index_that_cannot_be_served_in_place_of_another_is_told_until_one_can(tmp_path, caplog):
    folder, other, later = tmp_path / "live", tmp_path / "other", tmp_path / "later"
    for path, document, encoder in (
        (folder, DOCUMENTS[0], FakeEncoder()),
        (other, DOCUMENTS[1], FakeEncoder(dims=16)),
        (later, DOCUMENTS[1], FakeEncoder()),
    ):
        with Index.create(path, encoder=encoder) as index:
            index.add([document])
    with open_served([folder], encoder=FakeEncoder()) as served, running(make_app(served)) as url:
        folder.rename(tmp_path / "before")
        other.rename(folder)
        mismatch, _ = (httpx.post(f"{url}/search", json={"query": "capital"}, verify=False) for _ in range(2))
        (folder / "store.sqlite3").rename(tmp_path / "kept")
        (folder / "store.sqlite3").write_bytes(b"?" * 10_000)
        damaged = httpx.post(f"{url}/search", json={"query": "capital"}, verify=False)
        folder.rename(other)
        later.rename(folder)
        after = ask_many(url, "capital", n=1)

    assert (mismatch.status_code, damaged.status_code) == (503, 503)
    assert "the index 'live' was replaced" in mismatch.json()["detail"]
    assert "must be started again" in mismatch.json()["detail"]
    logged = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert len(logged) == 2  # and not one for each request
    assert "does not fit" in logged[0]
    assert "the index 'live' cannot be read at present" in damaged.json()["detail"]
    assert after == {"(200, ['paris'])"}


def test_an_index_on_a_read_only_volume_is_unavailable_while_its_writer_is_at_work(volume):
    with open_served([volume], encoder=FakeEncoder()) as served, running(make_app(served)) as url:
        with Index.open(volume, encoder=FakeEncoder()) as index:
            index.add(DOCUMENTS[1:2])
            os.utime(volume / "store.sqlite3", (0, 0))  # as a checkpoint that left more in the log
            during = httpx.post(f"{url}/search", json={"query": "Seine"}, verify=False)
        after = ask_many(url, "Seine", n=1)

    assert during.status_code == 503
    assert during.json()["detail"] == "the index 'volume' cannot be read at present; the server's log says why"
    assert after == {"(200, ['paris'])"}


def test_the_page_of_a_document_needs_the_key(folder):
    with open_served([folder], encoder=FakeEncoder()) as served, running(make_app(served, keys=[KEY])) as url:
        form = {"question": "Which river?", "document_id": "paris"}
        shown = httpx.post(f"{url}/inspect", data={**form, "key": KEY}, verify=False)
        refused = [
            httpx.post(f"{url}/inspect", data=data, verify=False)
            for data in (form, {**form, "key": "x" * 16}, {f"f{number}": "" for number in range(20)})
        ]
        missing = httpx.post(f"{url}/inspect", data={"key": KEY, "document_id": "none", "question": "a"}, verify=False)
        page = httpx.get(f"{url}/", verify=False)

    assert "The Seine runs through it." in shown.text
    assert [one.status_code for one in refused] == [401] * 3
    assert missing.status_code == 404
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)


@pytest.fixture
def open_page(chromium):
    """Opens an address; ``said`` are then all messages, errors and requests to elsewhere."""
    contexts = []

    def open_page(url, width=1280):
        context = chromium.new_context(viewport={"width": width, "height": 800})
        contexts.append(context)
        page = context.new_page()
        open_page.said = []
        page.on("console", lambda message: open_page.said.append(message.text))
        page.on("pageerror", lambda error: open_page.said.append(str(error)))
        page.on("dialog", lambda dialog: open_page.said.append(dialog.message))
        page.on(
            "request",
            lambda request: None if request.url.startswith((url, "data:")) else open_page.said.append(request.url),
        )
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_searches_by_keyboard_and_shows_documents_as_text(open_page, url, width):
    page = open_page(url, width)
    page.wait_for_selector("#question:focus")  # it gets the focus by itself
    page.keyboard.type("It alerts.")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results li")

    text = " ".join(page.locator("#results .text").all_inner_texts())
    assert "<script>alert(1)</script><img src=x onerror=alert(2)> & </mark>" in text
    assert "<b>hostile</b>" in " ".join(page.locator("#results h3").all_inner_texts())
    assert page.locator("#results script, #results img, #results b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.locator("#results .passage").first.evaluate("e => getComputedStyle(e).backgroundColor")
        != "rgba(0, 0, 0, 0)"
    )
    assert "?q=It%20alerts." in page.url
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Show in the document"
    with page.context.expect_page() as opened:
        page.keyboard.press("Enter")
    opened.value.wait_for_selector("#text .chunk")
    assert "latechunk inspect" in opened.value.title()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "question"
    assert open_page.said == []


def test_an_address_with_a_question_asks_at_once(open_page, url):
    page = open_page(url)
    page.goto(f"{url}/?q=Which%20river%3F")
    page.wait_for_selector("#results li")

    assert page.input_value("#question") == "Which river?"
    assert open_page.said == []


def test_the_page_asks_for_the_key_and_says_what_is_wrong(open_page, folder):
    with open_served([folder], encoder=FakeEncoder()) as served, running(make_app(served, keys=[KEY])) as url:
        page = open_page(url)
        page.wait_for_selector("#key-line:not([hidden])")
        assert page.inner_text("#status") == "This server asks for an API key."
        page.fill("#key", "wrong")
        page.fill("#question", "Seine")
        page.keyboard.press("Enter")
        page.wait_for_selector("#status:has-text('does not know')")
        page.fill("#key", KEY)
        page.click("button[type=submit]")
        page.wait_for_selector("#results li")
        assert "cities: 3 documents" in page.inner_text("#facts")
        page.fill("#question", " ")
        page.click("button[type=submit]")
        with page.context.expect_page() as opened:
            page.locator("form.inspect button").first.click()
        opened.value.wait_for_selector("#text .chunk")
        page.context.close()


def test_no_request_that_the_schema_allows_or_forbids_breaks_the_server(url):
    """A small version of `benchmarks/serving.py --cases 5000`."""
    schemathesis = pytest.importorskip("schemathesis")
    from benchmarks.serving import ask_by_schema

    statuses = ask_by_schema(schemathesis.openapi.from_url(f"{url}/openapi.json"), n_cases=60)

    assert sum(statuses.values()) >= 60
    assert max(statuses) < 500, statuses
