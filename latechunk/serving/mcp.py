"""Indexes for agents, by the Model Context Protocol: search, read, outline and documents; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import Field

import latechunk
from latechunk.errors import LateChunkError
from latechunk.search.options import SearchOptions
from latechunk.serving import passages
from latechunk.serving.errors import describe
from latechunk.serving.guard import Guard
from latechunk.serving.limits import Limits
from latechunk.serving.passages import DocumentPage, Outline, ReadPassage, SearchResult
from latechunk.serving.searching import MOST_QUESTION
from latechunk.serving.served import Served
from latechunk.threads import start
from latechunk.validation import explain_unknown

Result = TypeVar("Result")

# Ten passages of 2,000 characters are some 5,000 tokens, and 8,000 characters some 2,000.
_MOST_PASSAGES = 50
_MOST_CHARACTERS = 2_000
_MOST_READ = 8_000
_MOST_HEADINGS = 300
_PER_PAGE = 50
_MOST_FIELDS = 12
_MOST_FIELD = 120  # characters
_MOST_SAID = 5  # unknown arguments of one call

_INSTRUCTIONS = (
    "Documents are searched by meaning and by words. A good way to an answer: `search` with a question in plain words; "
    "`read` around a passage if it alone does not settle the question; answer, and give the citation of each passage "
    "that you rely on. `text` is always exactly the characters `start` to `end` of the document, so that a quotation "
    "can be checked. `documents` lists what there is, `outline` shows how a document is built."
)
_FILTER = (
    'Only documents with such metadata, as `documents` shows them: {"year": {"$gte": 2020}}, {"lang": "de"}, '
    '{"tags": {"$contains": "a"}}, {"$or": [...]}. `source` is a whole path, of which the name is shown: '
    '{"source": {"$like": "%/a.md"}}.'
)
Filter = Annotated[dict[str, Any] | None, Field(description=_FILTER)]
IndexName = Annotated[str | None, Field(description="Name of an index, where the server has several; else leave out.")]
DocumentId = Annotated[str, Field(description="As search and documents give it.", min_length=1)]


class _Server(MCPServer[Any]):
    """MCP's server, which takes no call with an argument that its tool does not have; MCP's passes them over."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; a ToolError names arguments that it does not have."""
        for tool in await self.list_tools():
            known = tool.input_schema.get("properties", {})
            unknown = [one for one in arguments if one not in known]
            if tool.name == name and unknown:
                raise ToolError("; ".join(explain_unknown(one, known) for one in unknown[:_MOST_SAID]))
        return await super().call_tool(name, arguments, context)


def make_mcp(served: Callable[[], Served]) -> MCPServer[Any]:
    """Make the server; ``served`` gives the indexes, and may wait until they are loaded."""
    server = _Server(
        "latechunk",
        version=latechunk.__version__,
        instructions=_INSTRUCTIONS,
        log_level="WARNING",
        subscriptions=False,  # nothing changes that clients could be told of
    )
    read_only = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

    @server.tool(title="Search passages", annotations=read_only)
    def search(
        query: Annotated[str, Field(description="A question, in plain words.", min_length=1, max_length=MOST_QUESTION)],
        k: Annotated[int, Field(ge=1, le=_MOST_PASSAGES, description="How many passages.")] = 8,
        filter: Filter = None,  # noqa: A002  the protocol's
        document_ids: Annotated[list[str] | None, Field(description="Only these documents.")] = None,
        index: IndexName = None,
    ) -> SearchResult:
        """Find the passages that answer a question best, with citations, best first.

        Use it first. To look within one document, give its id. Long passages are cut; `read` gives the rest.
        """

        def find(held: Served) -> SearchResult:
            options = SearchOptions(k=k, filter=filter, document_ids=document_ids)
            return passages.search(held, query, options, index=index, most_characters=_MOST_CHARACTERS)

        found = _told(served, find)
        brief = [one.model_copy(update={"metadata": _brief(one.metadata)}) for one in found.passages]
        return found.model_copy(update={"passages": brief})

    @server.tool(title="Read a document", annotations=read_only)
    def read(
        document_id: DocumentId,
        start: Annotated[int, Field(ge=0, description="First character, from 0.")] = 0,
        end: Annotated[int | None, Field(description="One past the last character; 8,000 are read at most.")] = None,
        index: IndexName = None,
    ) -> ReadPassage:
        """Read characters of a document, such as those around a passage that `search` found.

        For what stands before and after a passage, give its start less 1,000 and its end plus 1,000. To read on, give
        `next_start` as `start`.
        """
        return _told(
            served,
            lambda held: passages.read(
                held, document_id, index=index, start=start, end=end, most_characters=_MOST_READ
            ),
        )

    @server.tool(title="Outline of a document", annotations=read_only)
    def outline(document_id: DocumentId, index: IndexName = None) -> Outline:
        """List the headings of a document with the characters at which they begin, its length and its metadata.

        Use it to find a section to `read` in a long document.
        """
        found = _told(
            served, lambda held: passages.outline(held, document_id, index=index, most_headings=_MOST_HEADINGS)
        )
        return found.model_copy(update={"metadata": _brief(found.metadata)})

    @server.tool(title="List documents", annotations=read_only)
    def documents(
        filter: Filter = None,  # noqa: A002  the protocol's
        page: Annotated[int, Field(ge=1, description=f"{_PER_PAGE} documents a page, from 1.")] = 1,
        index: IndexName = None,
    ) -> DocumentPage:
        """List the documents with their ids and metadata.

        Use it to see what there is, and which metadata a filter can ask for.
        """
        found = _told(
            served,
            lambda held: passages.list_documents(held, index=index, metadata=filter, page=page, per_page=_PER_PAGE),
        )
        listed = [one.model_copy(update={"metadata": _brief(one.metadata)}) for one in found.documents]
        return found.model_copy(update={"documents": listed})

    return server


def make_mcp_app(
    server: MCPServer[Any], limits: Limits, *, keys: Sequence[str] = (), hosts: Collection[str] = ()
) -> Guard:
    """An ASGI application of the server at /mcp, streamable HTTP; the arguments are those of ``make_app``.

    Each request stands alone and is answered in JSON, so that nothing is kept of a client that goes away.
    """
    # Hosts and origins are looked at by what stands before it.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        max_request_body_size=limits.body_bytes,
        transport_security=security,
    )
    # A client that sends GET waits for messages of the server, for as long as it lives, and there are none.
    return Guard(app, limits, keys=keys, hosts=hosts, open_paths=(), methods=("POST",))


def _brief(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The first fields of metadata, each short: a model's context is not to be filled with them."""
    short = {key[:_MOST_FIELD]: value for key, value in metadata.items() if len(str(value)) <= _MOST_FIELD}
    return dict(list(short.items())[:_MOST_FIELDS])


def _told(served: Callable[[], Served], task: Callable[[Served], Result]) -> Result:
    """Do it; an error becomes what the model is told, without paths of this machine."""
    private: Mapping[str, str] = {}
    try:
        held = served()
        private = held.private
        return task(held)
    except (LateChunkError, ValueError) as error:
        _, message, _ = describe(error, private)
        raise ToolError(message) from error


def loading(load: Callable[[], Served]) -> tuple[Callable[[], Served], Callable[[], None]]:
    """Load in a thread of its own, so that a client has its first answer at once.

    Returns:
        What waits for it and gives it, and what closes it.
    """
    future = start(load)

    def close() -> None:
        if future.exception() is None:  # which waits for it
            future.result().__exit__(None, None, None)

    return future.result, close
