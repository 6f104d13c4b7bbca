"""Chains with LangChain's own fake models over real retrieval: answers cite characters that reproduce the quote."""

from __future__ import annotations

import re

import pytest
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel, ParrotFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate, format_document
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_latechunk import LateChunkEmbeddings, LateChunkRetriever

from latechunk import SentenceChunker

PASSAGE = PromptTemplate.from_template("[{latechunk_document_id}:{start_index}-{end_index}] {page_content}")
CITED = re.compile(r"\[(?P<document>[^:\]]+):(?P<start>\d+)-(?P<end>\d+)\] (?P<quote>[^\n]+)")


@pytest.fixture(scope="module")
def retriever(minilm):
    documents = [
        Document(
            id="berlin",
            page_content="Berlin is the capital of Germany. It has 3.8 million inhabitants. The Spree runs through it.",
        ),
        Document(
            id="münchen",
            page_content="München 🥨 is the capital of Bavaria. It has 1.5 million inhabitants. It lies on the Isar.",
        ),
        Document(id="milk", page_content="Milk is white. Cows give it. It keeps for a few days."),
    ]
    retriever = LateChunkRetriever.from_documents(
        documents, embedding=LateChunkEmbeddings(minilm), chunker=SentenceChunker(max_sentences=1, trim=True), k=2
    )
    yield retriever
    retriever.index.close()


def show(passages):
    return "\n".join(format_document(one, PASSAGE) for one in passages)


def check_citations(retriever, answer):
    """Every quote is what stands at its place; gives the quotes."""
    cited = list(CITED.finditer(answer))
    for one in cited:
        text = retriever.index.get(one["document"]).text
        assert text[int(one["start"]) : int(one["end"])] == one["quote"]
    return [one["quote"] for one in cited]


async def test_a_rag_chain_cites_what_it_quotes(retriever):
    prompt = ChatPromptTemplate.from_template("Answer from these passages:\n{context}\n\nQuestion: {question}")
    model = ParrotFakeChatModel()  # says what it was told
    chain = {"context": retriever | show, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()
    question = "How many people live in the capital of Bavaria?"

    for answer in (chain.invoke(question), await chain.ainvoke(question), "".join(chain.stream(question))):
        quotes = check_citations(retriever, answer)
        assert len(quotes) == 2
        assert "It has 1.5 million inhabitants." in quotes  # the sentence itself names neither Bavaria nor München


def test_an_answer_that_was_written_before(retriever):
    text = retriever.index.get("münchen").text
    quote = "It has 1.5 million inhabitants."
    start = text.index(quote)
    reply = f"1.5 million [münchen:{start}-{start + len(quote)}] {quote}"
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    model = GenericFakeChatModel(messages=iter([AIMessage(reply)]))
    chain = RunnablePassthrough.assign(context=lambda given: show(retriever.invoke(given["question"]))) | prompt

    told = chain.invoke({"question": "How many inhabitants has München?"})
    answer = model.invoke(told).content

    assert check_citations(retriever, answer) == [quote]
    assert CITED.search(answer)[0] in told.to_string()  # what is cited was retrieved


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_agent_uses_the_retriever_as_a_tool(retriever, is_async):
    tool = create_retriever_tool(
        retriever,
        "search_cities",
        "Searches notes on cities.",
        document_prompt=PASSAGE,
        response_format="content_and_artifact",
    )
    call = {"name": "search_cities", "args": {"query": "capital of Germany"}, "id": "1", "type": "tool_call"}
    model = GenericFakeChatModel(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("3.8 million.")]))
    messages = [HumanMessage("How many people live in Berlin?")]

    messages.append(model.invoke(messages))
    (wanted,) = messages[-1].tool_calls
    result = await tool.ainvoke(wanted) if is_async else tool.invoke(wanted)
    messages.append(result)
    messages.append(model.invoke(messages))

    assert isinstance(result, ToolMessage)
    assert "Berlin is the capital of Germany." in check_citations(retriever, result.content)
    assert result.artifact[0].metadata["latechunk_document_id"] == "berlin"
    assert messages[-1].content == "3.8 million."
