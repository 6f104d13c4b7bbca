"""How fast PDF pages are read, and the peak memory of reading and cutting a folder of 200 mixed files; without a model.

``pages_per_second`` is by the clock, and ``pages_per_cpu_second`` by the time of all processors that reading took, its
process of parsers included. ``folder_peak_mb`` is the peak of this process and of that of the parsers together.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what makes files in the tests

from common import parser, peak_rss_mb, report, stop

from latechunk import SentenceChunker
from latechunk.readers import find_files, read_documents
from tests.folder import make_folder
from tests.pdfs import make_pdf, write_lines

LINE = "Page {0}, line {1}: the pump must be checked each week by a trained person, who writes"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--pages", type=int, default=2_000)
    arguments.add_argument("--folder", type=Path, help="the folder to read; default: one that is made, of 200 files")
    arguments.add_argument("--only-folder", action="store_true", help="what this program runs in a process of its own")
    options = arguments.parse_args()
    if options.only_folder:
        print(*read_and_cut(options.folder))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made, "folder")
        if not options.folder:
            folder.mkdir()
            make_folder(folder)
        figures = {**time_pages(Path(made, "plain.pdf"), options.pages), **measure_folder(folder)}
    report("readers", figures, save=options.save)


def time_pages(path: Path, n_pages: int) -> dict[str, float]:
    """Write a PDF of 50 lines of text a page, and read it."""
    pages = [write_lines([LINE.format(page, line) for line in range(50)], size=10, lead=13) for page in range(n_pages)]
    path.write_bytes(make_pdf(pages))
    begin, cpu = time.perf_counter(), cpu_seconds()
    (document,) = read_documents(find_files([path], stop), stop)
    seconds, used = time.perf_counter() - begin, cpu_seconds() - cpu
    return {
        "n_pages": len(document.pages),
        "n_characters": len(document.text),
        "pages_per_second": round(n_pages / seconds),
        "pages_per_cpu_second": round(n_pages / used),
    }


def cpu_seconds() -> float:
    """Processor time of this process and of those that it ran."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure_folder(folder: Path) -> dict[str, float]:
    """Read and cut a folder in a new process, whose peak is not that of this one."""
    command = [sys.executable, __file__, "--only-folder", "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    names = ("n_files", "n_documents", "n_chunks", "folder_peak_mb")
    return dict(zip(names, map(int, done.stdout.split()), strict=True))


def read_and_cut(folder: Path) -> tuple[int, int, int, int]:
    """Files, documents and chunks of a folder, and the peak of memory in megabytes."""
    files = find_files([folder], stop)
    chunker = SentenceChunker(max_tokens=128)
    n_documents = n_chunks = 0
    for document in read_documents(files, lambda problem: None):
        words = [word.span() for word in re.finditer(r"\S+", document.text)]
        n_chunks += len(chunker.split(document.text, np.array(words, dtype=np.int64)))
        n_documents += 1
    of_parsers = (
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    )
    return len(files), n_documents, n_chunks, round(peak_rss_mb() + of_parsers)


if __name__ == "__main__":
    main()
