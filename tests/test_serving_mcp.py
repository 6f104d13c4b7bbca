"""Agents over MCP: the official client asks over stdio and HTTP, and an agent's run is recorded step by step."""

import json
import os
import sys

import httpx
import pytest

from latechunk import Block, Document, Index, Page, SentenceChunker
from tests.conftest import FakeEncoder
from tests.serving import running

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from latechunk.serving import Limits, open_served
from latechunk.serving.mcp import make_mcp, make_mcp_app

GUIDE = "# Guide\n\nRead this first.\n\n## Refunds\n\nWe refund within 14 days. The form is in the office.\n"
LETTER = "Dear Ann, the 🇩🇪 parcel of 북경 was lost. It is refunded in full. Yours, Bob."


@pytest.fixture
def indexes(tmp_path):
    """Two indexes; one has pages and headings, the other a document of the same id."""
    folders = [tmp_path / "manuals.latechunk", tmp_path / "letters.latechunk"]
    heading = GUIDE.index("## Refunds")
    outline = (Block("heading", 0, 7, 1), Block("heading", heading, heading + 10, 2))
    half = GUIDE.index("\n\n## ")
    guide = Document(
        "guide.md",
        GUIDE,
        {"source": "/srv/secret/guide.md", "year": 2024, "long": "x" * 5_000},
        pages=(Page(0, half, "i"), Page(half, len(GUIDE), "ii")),
        outline=outline,
    )
    more = [Document(f"note-{number:03}", f"Note {number} says little.", {"year": 1999}) for number in range(60)]
    letters = [Document("letter", LETTER, {"year": 2020}), Document("guide.md", "Another guide to refunds.")]
    for folder, documents in zip(folders, ([guide, *more], letters), strict=True):
        with Index.create(folder, encoder=FakeEncoder(), chunker=SentenceChunker(max_tokens=8)) as index:
            index.add(documents)
    return folders


@pytest.fixture
def server(indexes):
    with open_served(indexes, encoder=FakeEncoder()) as served:
        yield make_mcp(lambda: served)


async def call(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text) == result.structured_content  # for clients that read text alone
    return result.structured_content


async def refused(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return result.content[0].text


async def test_an_agent_finds_reads_and_cites(server):
    """As a model would go about it: what is there, what answers, what stands around, the answer with its proof."""
    async with Client(server) as client:
        tools = {one.name: one for one in (await client.list_tools()).tools}
        listed = await call(client, "documents", filter={"year": 2024}, index="manuals")
        document_id = listed["documents"][0]["document_id"]
        found = await call(client, "search", query="When is money refunded?", k=8, document_ids=[document_id])
        best = next(one for one in found["passages"] if "14 days" in one["text"])
        around = await call(
            client,
            "read",
            document_id=document_id,
            index="manuals",
            start=max(0, best["start"] - 20),
            end=best["end"] + 40,
        )
        outline = await call(client, "outline", document_id=document_id, index="manuals")

    assert list(tools) == ["search", "read", "outline", "documents"]
    assert all(one.annotations.read_only_hint and one.output_schema and one.description for one in tools.values())
    assert listed["n_documents"] == 1
    assert GUIDE[best["start"] : best["end"]] == best["text"]
    assert around["text"] == GUIDE[around["start"] : around["end"]]
    assert best["text"] in around["text"]
    quotation = best["text"].splitlines()[-1].strip()
    assert f'"{quotation}" ({best["citation"]})' == '"We refund within 14 days." (guide.md, p. ii, Guide > Refunds)'
    assert [one["title"] for one in outline["headings"]] == ["Guide", "Refunds"]
    assert [GUIDE[one["start"] :].startswith("#") for one in outline["headings"]] == [True, True]
    assert (outline["n_characters"], outline["n_pages"]) == (len(GUIDE), 2)


async def test_no_place_of_this_machine_and_no_endless_metadata_is_told(server, tmp_path):
    async with Client(server) as client:
        found = await call(client, "search", query="refunds", k=5, document_ids=["guide.md"], index="manuals")
        listed = await call(client, "documents", filter={"year": 2024})
        error = await refused(client, "read", document_id="guide.md", index="none")

    metadata = {"source": "guide.md", "year": 2024}
    assert found["passages"][0]["metadata"] == listed["documents"][0]["metadata"] == metadata
    assert "there is no index 'none'; this server has 'manuals', 'letters'" in error
    assert str(tmp_path) not in str(found) + str(listed) + error
    assert "secret" not in str(found) + str(listed)


async def test_several_indexes_are_searched_in_turn_and_told_apart(server):
    async with Client(server) as client:
        found = await call(client, "search", query="a guide to refunds", k=4)
        error = await refused(client, "read", document_id="guide.md")
        letter = await call(client, "read", document_id="letter")
        pages = [await call(client, "documents", page=number) for number in (1, 2, 3)]

    assert [one["index"] for one in found["passages"]] == ["manuals", "letters"] * 2
    assert "is in several indexes, manuals, letters; name one" in error
    assert (letter["text"], letter["next_start"]) == (LETTER, None)
    assert [len(one["documents"]) for one in pages] == [50, 13, 0]
    assert {one["n_documents"] for one in pages} == {63}


async def test_a_long_document_is_read_on_to_its_end(tmp_path):
    text = "".join(f"Sentence {number} of 東京 ends. " for number in range(1_500))
    with Index.create(tmp_path / "long", encoder=FakeEncoder()) as index:
        index.add([Document("long", text)])
    with open_served([tmp_path / "long"], encoder=FakeEncoder()) as served:
        async with Client(make_mcp(lambda: served)) as client:
            parts, start = [], 0
            while start is not None:
                part = await call(client, "read", document_id="long", start=start)
                parts.append(part["text"])
                start = part["next_start"]
            errors = [
                await refused(client, "read", document_id="long", start=len(text)),
                await refused(client, "read", document_id="long", start=5, end=5),
            ]

    assert "".join(parts) == text
    assert len(parts) == -(-len(text) // 8_000)
    assert f"start must be 0 to {len(text) - 1}" in errors[0]
    assert "end must be above start, which is 5, got 5" in errors[1]


async def test_a_wrong_call_is_told_what_is_wrong(server):
    async with Client(server) as client:
        said = [
            await refused(client, "search", query="  "),
            await refused(client, "search", query="a", k=0),
            await refused(client, "search", query="a", filter={"year": {"$gtt": 1}}),
            await refused(client, "search", query="\ud800"),
            await refused(client, "read", document_id="nothing"),
            await refused(client, "outline", document_id=""),
            await refused(client, "documents", page=0),
        ]

    for text, expected in zip(
        said,
        ["holds none", "greater than or equal", "did you mean $gt", "valid string", "no document", "at least 1", "1"],
        strict=True,
    ):
        assert expected in text
        assert "Traceback" not in text


async def test_an_argument_that_a_tool_does_not_have_is_refused(server):
    async with Client(server) as client:
        said = [
            await refused(client, "search", query="a", filters={"year": 2024}),
            await refused(client, "search", query="a", top_k=3, foo=1),
            await refused(client, "read", document_id="letter", begin=1),
            await refused(client, "outline", document_id="letter", page=1),
            await refused(client, "documents", where={}),
        ]

    for text, expected in zip(
        said,
        [
            "there is no 'filters': did you mean 'filter'?",
            "there is no 'top_k': did you mean 'k'?; there is no 'foo': known are document_ids, filter, index, k",
            "there is no 'begin': known are document_id, end, index, start",
            "there is no 'page': known are",
            "there is no 'where': did you mean 'filter'?",
        ],
        strict=True,
    ):
        assert expected in text


async def test_a_filter_that_leaves_no_document_is_noted(server):
    async with Client(server) as client:
        found = await call(client, "search", query="refunds", filter={"year": 1066})
        there = await call(client, "search", query="refunds", filter={"year": 2024})

    assert found == {"passages": [], "note": "the filter leaves none of the 63 documents"}
    assert there["note"] is None


async def test_over_http_with_a_key(indexes):
    key = "0123456789abcdef"
    with open_served(indexes, encoder=FakeEncoder()) as served:
        app = make_mcp_app(make_mcp(lambda: served), Limits(), keys=[key])
        with running(app) as url:
            assert httpx.post(f"{url}/mcp", json={}).status_code == 401
            async with (
                httpx_client(key) as http,
                Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
            ):
                letter = await call(client, "read", document_id="letter", start=10, end=23)
            async with (
                httpx_client(key) as http,
                Client(streamable_http_client(f"{url}/mcp", http_client=http), mode="legacy") as client,
            ):
                again = await call(client, "read", document_id="letter", start=10, end=23)

    assert letter["text"] == LETTER[10:23]
    assert again == letter


async def test_no_client_holds_a_place_while_it_waits_for_messages(indexes):
    """GET asks for messages of the server, of which there are none; 256 clients would shut out all others."""
    with open_served(indexes, encoder=FakeEncoder()) as served:
        app = make_mcp_app(make_mcp(lambda: served), Limits(requests=1))
        with running(app) as url:
            headers = {"Accept": "application/json, text/event-stream"}
            answer = httpx.get(f"{url}/mcp", headers=headers, timeout=10)
            async with Client(f"{url}/mcp") as client:
                assert client.server_capabilities.tools.list_changed is False
                assert await call(client, "read", document_id="letter")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def httpx_client(key):
    import httpx2

    return httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60)


async def test_over_stdio_as_clients_start_it(tmp_path):
    from latechunk import Encoder

    encoder = Encoder.load(device="cpu", dtype="float32")  # which a process loads fastest
    with Index.create(tmp_path / "guide.latechunk", encoder=encoder) as index:
        index.add([Document("guide.md", GUIDE)])
        expected = index.search("When do you refund?", k=1)[0]
    parameters = StdioServerParameters(
        command=sys.executable,
        args=[
            "-c",
            "from latechunk.cli import run; run()",
            "mcp",
            str(tmp_path / "guide.latechunk"),
            "--dtype",
            "float32",
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_HUB_OFFLINE": "1"},
    )

    async with Client(parameters) as client:
        found = await call(client, "search", query="When do you refund?", k=1)

    (best,) = found["passages"]
    assert best["text"] == expected.chunk.text == GUIDE[best["start"] : best["end"]]
    assert best["score"] == pytest.approx(expected.score, abs=1e-5)
    assert best["citation"] == expected.citation
