"""LlamaIndex's engines over real retrieval, answered by stand-ins for LLMs, since no service is asked."""

import re
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata, MockLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine, TransformQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.tools import RetrieverTool
from llama_index.retrievers.latechunk import LateChunkEmbedding, LateChunkRetriever, LateChunkTransform, to_documents

from latechunk import Encoder, Index
from latechunk.demo import read_documents, read_questions

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CITED = re.compile(r'"(?P<quote>.+)" \[(?P<document>[\w-]+):(?P<start>\d+)-(?P<end>\d+)\]', re.DOTALL)


class QuotingLLM(CustomLLM):
    """Condenses a dialogue to its last question, and answers by quoting the first passage it is shown."""

    prompts: list[str] = []

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=100_000)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        self.prompts.append(prompt)
        shown = re.search(r"source: (\S+:(\d+)-(\d+))\n(?:\w+: .*\n)*\n", prompt)
        if shown is None:
            return CompletionResponse(text=prompt.rsplit("Follow Up Input:", 1)[-1].split("Standalone", 1)[0].strip())
        place, start, end = shown[1], int(shown[2]), int(shown[3])
        quote = prompt[shown.end() : shown.end() + end - start].strip()
        return CompletionResponse(text=f'"{quote}" [{place}]')

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        yield self.complete(prompt)


def check_citation(answer, texts):
    cited = CITED.search(answer)
    assert cited, answer
    passage = texts[cited["document"]][int(cited["start"]) : int(cited["end"])]
    assert passage.strip() == cited["quote"]
    return cited


def test_a_query_engine_with_the_frameworks_mock_llm(index):
    engine = RetrieverQueryEngine.from_args(LateChunkRetriever(index, similarity_top_k=2), llm=MockLLM())

    response = engine.query("Which river runs through Paris?")

    assert len(response.source_nodes) == 2
    for found in response.source_nodes:
        assert found.text.strip() in response.response  # the mock gives the prompt back


def test_a_query_engine_cites_places_that_hold_the_quote(index, documents):
    llm = QuotingLLM()
    retriever = LateChunkRetriever(index, similarity_top_k=2, citation_key="source")

    answer = RetrieverQueryEngine.from_args(retriever, llm=llm).query("Hello there.")

    assert check_citation(str(answer), {one.id_: one.text for one in documents})["document"] == "stub"


def test_fusion_of_dense_and_lexical_retrievers(index):
    retrievers = [LateChunkRetriever(index, similarity_top_k=4, mode=mode) for mode in ("dense", "lexical")]
    for mode in ("reciprocal_rerank", "relative_score", "dist_based_score", "simple"):
        for use_async in (True, False):
            fusion = QueryFusionRetriever(
                retrievers, llm=MockLLM(), similarity_top_k=3, num_queries=1, mode=mode, use_async=use_async
            )
            nodes = fusion.retrieve("The Seine runs through it.")
            assert nodes[0].text.strip() == "The Seine runs through it."
            assert len({found.node_id for found in nodes}) == len(nodes) == 3


def test_fusion_with_a_store_of_another_model(index, other_encoder, documents):
    """The other retriever leaves its model's vector in the question; ours must not search by it."""
    transform = LateChunkTransform(encoder=other_encoder)
    other = VectorStoreIndex(transform(documents), embed_model=LateChunkEmbedding(encoder=other_encoder))
    ours = LateChunkRetriever(index, similarity_top_k=1)
    fusion = QueryFusionRetriever(
        [other.as_retriever(), ours], llm=MockLLM(), num_queries=1, similarity_top_k=5, use_async=False
    )

    assert ours.retrieve("Hello there.")[0].node_id in {found.node_id for found in fusion.retrieve("Hello there.")}


def test_hyde(index):
    engine = RetrieverQueryEngine.from_args(LateChunkRetriever(index, similarity_top_k=1), llm=MockLLM())
    hyde = HyDEQueryTransform(llm=MockLLM(max_tokens=5), include_original=True)

    response = TransformQueryEngine(engine, hyde).query("Hello there.")

    assert len(response.source_nodes) == 1


def test_an_agents_tool(index):
    tool = RetrieverTool.from_defaults(LateChunkRetriever(index, similarity_top_k=1), description="cities")

    assert "Hello there." in str(tool("Hello there."))


@pytest.fixture(scope="module")
def texts():
    return {one.id: one.text[:6_000] for one in read_documents()}


@pytest.fixture(scope="module")
def articles(texts):
    return [Document(id_=name, text=text, metadata={"title": name}) for name, text in texts.items()]


@pytest.fixture(scope="module")
def real_encoder():
    return Encoder.load(dtype="float32")


@pytest.fixture(scope="module")
def real_index(tmp_path_factory, articles, real_encoder):
    with Index.create(tmp_path_factory.mktemp("real") / "articles.latechunk", encoder=real_encoder) as index:
        index.add(to_documents(articles))
        yield index


def questions_of(texts):
    return [one for one in read_questions() if one.quote in texts[one.document_id]]


def check_chat(retriever, texts):
    """A dialogue with memory: every answer cites a place that holds its quote, from the right article."""
    llm = QuotingLLM()
    engine = CondensePlusContextChatEngine.from_defaults(
        retriever, llm=llm, memory=ChatMemoryBuffer.from_defaults(token_limit=20_000, llm=llm)
    )
    asked = questions_of(texts)[:4]
    right = 0
    for question in asked:
        response = engine.chat(question.text)
        cited = check_citation(str(response), texts)
        right += cited["document"] == question.document_id
        for found in response.source_nodes:
            node = found.node
            assert texts[node.ref_doc_id][node.start_char_idx : node.end_char_idx] == node.text
    assert len(engine.chat_history) == 2 * len(asked)
    assert any(asked[0].text in prompt and asked[1].text in prompt for prompt in llm.prompts)  # it remembers
    assert right >= len(asked) - 1


def test_a_chat_with_memory_cites_offsets_over_the_index(real_index, texts):
    check_chat(LateChunkRetriever(real_index, similarity_top_k=3, citation_key="source"), texts)


def test_a_chat_with_memory_cites_offsets_over_a_vector_store(real_index, real_encoder, articles, texts):
    transform = LateChunkTransform(encoder=real_encoder, citation_key="source")
    nodes = IngestionPipeline(transformations=[transform]).run(documents=articles)
    vectors = VectorStoreIndex(nodes, embed_model=LateChunkEmbedding(encoder=real_encoder))

    check_chat(vectors.as_retriever(similarity_top_k=3), texts)
    for question in questions_of(texts)[:3]:
        ours = LateChunkRetriever(real_index, similarity_top_k=3, mode="dense").retrieve(question.text)
        theirs = vectors.as_retriever(similarity_top_k=3).retrieve(question.text)
        assert [found.node_id for found in ours] == [found.node_id for found in theirs]
        assert [found.score for found in ours] == pytest.approx([found.score for found in theirs], abs=1e-5)
