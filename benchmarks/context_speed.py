"""Tokens a second of the local-global context against plain windows, from text to stored vectors, and its memory.

The ratio is of late vectors on both sides; what the blend, which reads every chunk a second time alone, costs on top is
given beside it. The adapter's ratio is of late vectors under the default's trained adapters and of the same context
without them. Memory is what one pass over 8,192 tokens adds to the process, model included before.
"""

from __future__ import annotations

from typing import Any

from common import parser, peak_rss_mb, report, time_in_turn

from latechunk import Document, Encoder, Index, SentenceChunker
from latechunk.demo import read_documents
from latechunk.models.catalogue import LIGHT_MODEL, LocalGlobal
from latechunk.types import Mode, PoolingTask

LENGTHS = (2_000, 8_000)


def cut_to_tokens(encoder: Encoder, n_tokens: int, n_documents: int) -> list[Document]:
    """Documents of a given length, from the demo's articles."""
    text = "\n\n".join(document.text for document in read_documents()) * 20
    (tokens,) = encoder.tokenize([text])
    documents = []
    for number in range(n_documents):
        start, end = (int(tokens.offsets[place, 0]) for place in (number * n_tokens, (number + 1) * n_tokens))
        documents.append(Document(f"d{number}", text[start:end]))
    return documents


def index_all(encoder: Encoder, documents: list[Document], mode: Mode) -> None:
    with Index.temporary(encoder=encoder, chunker=SentenceChunker(max_tokens=64), mode=mode) as index:
        index.add(documents)


def measure_memory(encoder: Encoder) -> float:
    """Megabytes that one pass over a full window adds to the most that the process ever held."""
    (tokens,) = encoder.tokenize([cut_to_tokens(encoder, 8_190, 1)[0].text])
    task = PoolingTask.whole(tokens)
    before = peak_rss_mb()
    encoder.encode_spans([task])
    return peak_rss_mb() - before


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--dtype", default="auto")
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()

    long = Encoder.load(LIGHT_MODEL, dtype=options.dtype)
    long.encode_query("warm up")
    figures: dict[str, Any] = {"dtype": str(long.dtype), "memory_mb": round(measure_memory(long))}
    windows = Encoder.load(LIGHT_MODEL, dtype=options.dtype, context="windows", adapters=None)
    trained = LocalGlobal(**long.settings["local_global"])
    without = Encoder.load(LIGHT_MODEL, dtype=options.dtype, adapters=None, local_global=trained)
    ratios = {}
    for n_tokens in LENGTHS:
        documents = cut_to_tokens(long, n_tokens, 40_000 // n_tokens)
        arms: list[tuple[Encoder, Mode]] = [(long, "late"), (without, "late"), (windows, "late"), (long, "blend")]
        ours, bare, plain, blend = time_in_turn(
            [
                lambda encoder=encoder, mode=mode, documents=documents: index_all(encoder, documents, mode)
                for encoder, mode in arms
            ],
            options.rounds,
        )
        ratios[n_tokens] = plain / ours
        figures[f"at_{n_tokens}"] = {
            "ratio_to_windowed": round(plain / ours, 3),
            "adapter_ratio": round(bare / ours, 3),
            "blend_ratio_to_windowed": round(plain / blend, 3),
            "tokens_per_second": round(n_tokens * len(documents) / ours),
        }
    report("context_speed", {"ratio_to_windowed": round(min(ratios.values()), 3), **figures}, save=options.save)


if __name__ == "__main__":
    main()
