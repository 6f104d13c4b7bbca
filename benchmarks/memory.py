"""Peak resident memory of a process that indexes one very long document."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from common import load_documents, parser, peak_rss_mb, report

from latechunk import Document, Index
from latechunk.demo import read_documents


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, help="a folder of documents to repeat; default: the demo's")
    arguments.add_argument("--characters", type=int, default=5_000_000)
    options = arguments.parse_args()

    source = load_documents(options.data) if options.data else read_documents()
    joined = "\n\n".join(document.text for document in source)
    text = (joined * (options.characters // len(joined) + 1))[: options.characters]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder, "x")) as index:
        before = peak_rss_mb()
        index.encoder.encode_query("warm up")
        added = index.add([Document("long", text)])
        index.search("what is it about?", k=3)
    figures = {
        "peak_rss_mb": round(peak_rss_mb()),
        "rss_before_mb": round(before),
        "n_characters": len(text),
        "n_tokens": added.n_tokens,
        "n_chunks": added.n_chunks,
        "seconds": round(time.perf_counter() - begin, 1),
    }
    report("memory", figures, save=options.save)


if __name__ == "__main__":
    main()
