"""Write the tables of README.md and docs from benchmarks/results, between their markers."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from common import RESULTS

ROOT = Path(__file__).parent.parent
TITLES = {
    "squad2-dev16": "SQuAD 2.0 (encyclopedia)",
    "fairytaleqa-val": "FairytaleQA (stories)",
    "covidqa-dev": "COVID-QA (science)",
    "qmsum-val": "QMSum (meetings)",
    "chroma-chunking": "Chroma chunking (mixed)",
    "squality-dev": "SQuALITY (which story)",
    "lookalike-cities": "look-alike cities (generated)",
    "lookalike-companies": "look-alike companies",
    "lookalike-models": "look-alike machines",
    "xquad-dev16": "XQuAD (12 languages)",
    "jaquad-train101": "JaQuAD (Japanese)",
    "drcd-dev": "DRCD (Chinese)",
    "iapp-thai-dev": "iApp (Thai)",
}
_LEAST_QUESTIONS = 30  # of a set that is shown
PARTS = ("naive", "bm25", "rrf")  # what a search without options is compared with
LANGUAGES = {
    "ar": "Arabic",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "hi": "Hindi",
    "ro": "Romanian",
    "ru": "Russian",
    "th": "Thai",
    "tr": "Turkish",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
SCOPES = (("corpus", "in the corpus"), ("document", "within the right document"))


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gains(context: str = "context") -> str:
    """What a model gains over naive by its adapters, with intervals, at each chunk size."""
    return "\n\n".join(_gains(size, context) for size in (64, 128))


def _gains(max_tokens: int, context: str) -> str:
    rows = []
    for title, row in measured_sets(max_tokens, context):
        cells = [title, f"{row['n_questions']:,}"]
        for scope in ("corpus", "document"):
            one = row.get(scope)
            cells.append(
                f"{one['naive']:.1f} → {one['default']['value']:.1f} ({one['default']['gain']:+.1f}, "
                f"{one['default']['interval'][0]:+.1f} to {one['default']['interval'][1]:+.1f})"
                if one
                else ""
            )
        rows.append(cells)
    return table([f"chunks of at most {max_tokens} tokens", "questions", "in the corpus", "within the document"], rows)


def measured_sets(max_tokens: int, context: str = "context") -> list[tuple[str, dict[str, Any]]]:
    """Titles and figures of the sets of the context benchmark, in the order of the titles."""
    found = read(context)["figures"][f"at_{max_tokens}"]["sets"]
    names = [*(name for name in TITLES if name in found), *(name for name in found if name not in TITLES)]
    return [(TITLES.get(name, name), found[name]) for name in names]


def find_rows(max_tokens: int, scope: str) -> dict[str, dict[str, Any]]:
    """Rows of the quality benchmark by set and arm."""
    found: dict[str, dict[str, Any]] = {name: {} for name in TITLES}
    for row in read("quality")["figures"]["rows"]:
        if row["max_tokens"] == max_tokens and row["scope"] == scope:
            found[row["set"]][row["arm"]] = row
    return {name: arms for name, arms in found.items() if arms}


def value(row: dict[str, Any]) -> str:
    compared = row["comparison"]
    shown = f"{row['measures'][row['headline']]:.1f}"
    return f"**{shown}**" if compared and compared["is_sure"] else shown


def gain(row: dict[str, Any]) -> str:
    compared = row["comparison"]
    return f"{compared['difference']:+.1f} ({compared['low']:+.1f} to {compared['high']:+.1f})"


def late_gains() -> str:
    """Naive vectors, and what the default's gain over them, in the corpus and within the document."""
    parts = []
    for size in (64, 128):
        rows = []
        for title, row in measured_sets(size):
            corpus, document = row["corpus"], row.get("document")
            cells = [title, f"{row['n_questions']:,}", f"{corpus['naive']:.1f}", _gain(corpus["default"])]
            rows.append([*cells, _gain(document["default"]) if document else ""])
        header = [f"chunks of at most {size} tokens", "questions", "naive", "default", "default, within the document"]
        parts.append(table(header, rows))
    return "\n\n".join(parts)


LIGHT_SEARCH = "default_search-all-MiniLM-L6-v2"


def _gain(one: dict[str, Any]) -> str:
    return f"{one['gain']:+.1f} ({one['interval'][0]:+.1f} to {one['interval'][1]:+.1f})"


def default_search(*, whole: bool, results: str = "default_search") -> str:
    """What a search without options finds beside what others build from its parts; ``whole`` for the differences."""
    sets = read(results)["figures"]["sets"]
    rows = []
    for name, title in TITLES.items():
        one = sets.get(name, {"n_questions": 0})
        if one["n_questions"] < _LEAST_QUESTIONS:
            continue
        corpus = one["corpus"]
        cells = [title, f"{one['n_questions']:,}", *(f"{corpus[arm]:.1f}" for arm in PARTS)]
        differences = [_difference(one.get(scope)) for scope, _ in SCOPES] if whole else []
        rows.append([*cells, f"{corpus['default']:.1f}" if whole else f"**{corpus['default']:.1f}**", *differences])
    header = ["chunks of at most 128 tokens", "questions", "naive vectors", "BM25", "both by ranks", "`search`"]
    return table([*header, *(["against the best", "within the document"] if whole else [])], rows)


def _difference(one: dict[str, Any] | None) -> str:
    if one is None:  # questions for documents
        return ""
    low, high = one["interval"] or (-math.inf, math.inf)  # of too few documents
    return f"{one['difference']:+.1f}" + (f" ({low:+.1f} to {high:+.1f})" if math.isfinite(high - low) else "")


def languages() -> str:
    """The same of XQuAD's languages, from a run over the whole set."""
    (one,) = read("default_search-xquad-dev16")["figures"]["sets"].values()
    by_scope = [one[scope]["languages"] for scope, _ in SCOPES]
    rows = []
    for code, title in LANGUAGES.items():
        cells, gains = by_scope[0][code], [_over_parts(one[code]) for one in by_scope]
        rows.append([title, *(f"{cells[arm]:.1f}" for arm in (*PARTS, "default")), *(f"{one:+.1f}" for one in gains)])
    header = ["language", "naive", "BM25", "both by ranks", "default", "against the best", "within the document"]
    return table(header, rows)


def _over_parts(one: dict[str, float]) -> float:
    return one["default"] - max(one[arm] for arm in PARTS)


def default_means(results: str = "default_search") -> str:
    """What each arm has on average over sets, in the corpus."""
    sets = read(results)["figures"]["sets"].values()
    default, naive, bm25, rrf = (sum(one["corpus"][arm] for one in sets) / len(sets) for arm in ("default", *PARTS))
    return (
        f"Over all {len(sets)} sets the default has {default:.1f} on average in the corpus, both by ranks {rrf:.1f}, "
        f"naive chunking {naive:.1f} and BM25 {bm25:.1f}."
    )


def enough() -> str:
    """What training on so many questions gains over the untrained default."""
    figures = read("training")["figures"]
    rows = [
        [
            f"{row['questions']:,}",
            *(f"{row[scope]['trained']:.1f}, {_gain(row[scope])}" for scope in ("corpus", "document")),
        ]
        for row in figures["rows"]
    ]
    first = ["none", *(f"{figures['untrained'][scope]:.1f}" for scope in ("corpus", "document"))]
    return table(["questions trained on", "in the corpus", "within the document"], [first, *rows])


def quality() -> str:
    """All sets, arms, scopes and chunk sizes."""
    arms = ("naive", "late", "blend", "document", "lexical", "hybrid")
    parts = []
    for size in (64, 128):
        for scope, title in SCOPES:
            rows = [[TITLES[name], *(value(row[arm]) for arm in arms)] for name, row in find_rows(size, scope).items()]
            parts.append(table([f"at most {size} tokens, {title}", *arms], rows))
    parts.append("Gains over naive with their 95 % intervals:")
    for size in (64, 128):
        for scope, title in SCOPES:
            rows = [
                [TITLES[name], *(gain(row[arm]) for arm in ("late", "blend", "hybrid"))]
                for name, row in find_rows(size, scope).items()
            ]
            parts.append(table([f"at most {size} tokens, {title}", "late", "blend", "hybrid"], rows))
    return "\n\n".join(parts)


def passkey() -> str:
    default, windows = (read(f"passkey-{name}")["figures"] for name in ("auto", "windows"))
    lengths = [name for name in default if name.isdecimal()]
    columns = [(default, "naive"), (default, "late"), (default, "blend"), (windows, "late")]
    rows = [[f"{int(n):,} tokens", *(f"{found[n][arm]['hit@1']:.2f}" for found, arm in columns)] for n in lengths]
    header = ["documents of", "naive", "late, local-global", "blend, local-global", "late, plain windows"]
    lines = [table(header, rows), "By depth, for the longest:"]
    longest = lengths[-1]
    rows = [
        [name, *(f"{found[longest][arm]['by_depth'][place]:.2f}" for found, arm in columns)]
        for place, name in enumerate(default["depths"])
    ]
    return "\n\n".join([*lines, table([f"{int(longest):,} tokens, key in the", *header[1:]], rows)])


def sweep() -> str:
    rows = []
    for row in read("context_sweep")["figures"]["tried"]:
        first, second = row["first_half"], row["second_half"]
        cells = [row["configuration"], f"{row['late_weight']:g}"]
        cells += [
            f"{half['means'][f'{size}-corpus']:+.2f} / {half['means'][f'{size}-document']:+.2f}"
            for size in (64, 128)
            for half in (first, second)
        ]
        cells.append(str(len(first["losses"]) + len(second["losses"])))
        rows.append(cells)
    header = ["configuration", "weight", "64, chosen", "64, confirmed", "128, chosen", "128, confirmed", "sets lost"]
    return table(header, rows)


def sweep_of_default() -> str:
    rows = []
    tried = read("context_sweep-multilingual-e5-small-q4")["figures"]["tried"]
    for row in tried:
        halves = (row["first_half"], row["second_half"])
        if row["late_weight"] != 0.5 and row["configuration"] != tried[0]["configuration"]:
            continue
        cells = [row["configuration"], f"{row['late_weight']:g}"]
        cells += [
            f"{half['means'][f'{size}-corpus']:+.2f} / {half['means'][f'{size}-document']:+.2f}"
            for size in (64, 128)
            for half in halves
        ]
        cells.append(" / ".join(f"{half['lookalikes']['128-corpus']:+.1f}" for half in halves))
        cells.append(str(sum(len(half["losses"]) for half in halves)))
        rows.append(cells)
    sizes = [f"{size}, {half}" for size in (64, 128) for half in ("chosen", "confirmed")]
    return table(["configuration", "weight", *sizes, "look-alikes", "sets lost"], rows)


def cost() -> str:
    figures = read("context_speed")["figures"]
    rows = [
        [f"{n:,} tokens", f"{one['ratio_to_windowed']:.2f}", f"{one['blend_ratio_to_windowed']:.2f}"]
        for n, one in ((n, figures[f"at_{n}"]) for n in (2_000, 8_000))
    ]
    header = ["documents of", "late, local-global", "blend, local-global"]
    return f"{table(header, rows)}\n\nOne pass over 8,192 tokens adds {figures['memory_mb']} MB to the process."


def speed() -> str:
    encode = read("encode")["figures"]
    search, memory, startup = (read(name)["figures"] for name in ("search", "memory", "startup"))
    rows = [
        [
            "text to stored vectors, against bare forward passes",
            f"{encode['ratio_to_bare_bfloat16']:.2f} (bfloat16), {encode['ratio_to_bare_float32']:.2f} (float32)",
        ],
        [
            "text to chunk vectors, against [chonkie](https://github.com/chonkie-inc/chonkie)'s LateChunker",
            f"{encode['same_vs_chonkie']:.2f} times as fast like for like, "
            f"{encode['default_vs_chonkie']:.2f} times by default",
        ],
        [
            f"search in {search['n_chunks']:,} chunks, against raw FAISS",
            f"{search['ratio_to_faiss']:.2f} times its time",
        ],
        [
            f"peak memory, one document of {memory['n_characters']:,} characters",
            f"{memory['peak_rss_mb'] / 1000:.2f} GB",
        ],
        ["`import latechunk`, `latechunk --help`", f"{startup['import_s']:.2f} s, {startup['help_s']:.2f} s"],
    ]
    return table(["speed and memory, two CPU cores", "measured"], rows)


def encode() -> str:
    """How many times as fast as others, and what share of bare passes, of both embedded models."""
    peers = {
        "chonkie": "chonkie 1.7.0",
        "naive": "sentence-transformers, naive",
    }
    ways = {
        "same": "like for like: float32, the model's own length, no overlap, chunks of 128",
        "default": "each by default; ours: local-global context, blend, {auto}",
        "late": "the same, but ours: late vectors alone, {auto}",
        "default_float32": "each by default, ours in float32 as well",
        "late_float32": "the same, but ours: late vectors alone",
        "default_int8": "each by default, ours in int8",
        "late_int8": "the same, but ours: late vectors alone",
    }
    parts = []
    for name in ("encode", "encode-all-MiniLM-L6-v2"):
        figures = read(name)["figures"]
        bare = {one.rpartition("_")[2]: value for one, value in figures.items() if one.startswith("ratio_to_bare_")}
        auto = next(dtype for dtype in bare)
        rows = [
            [
                shown.format(auto=auto),
                *(f"{value:.2f}" if (value := figures.get(f"{way}_vs_{peer}")) else "" for peer in peers),
            ]
            for way, shown in ways.items()
            if any(f"{way}_vs_{peer}" in figures for peer in peers)
        ]
        passes = " and ".join(f"{value:.2f} in {dtype}" for dtype, value in bare.items())
        parts += [
            table([f"{figures['model']}: how many times as fast latechunk is", *peers.values()], rows),
            f"Against the bare forward passes over the same windows, text to stored vectors runs at {passes}.",
        ]
    return "\n\n".join(parts)


def jina() -> str:
    figures = read("jina")["figures"]
    return (
        f"In full size with random weights, on two CPU cores in {figures['dtype']} "
        f"(`python benchmarks/jina.py`): one document of {figures['n_tokens']:,} tokens in one pass takes "
        f"{figures['jina_v3_time_ratio']:.3f} times as long as the transformer's forward pass alone, the process holds "
        f"{figures['peak_rss_mb'] / 1000:.1f} GB at most, and changing the task takes "
        f"{100 * figures['switch_share']:.4f} % of such a pass."
    )


def gpu() -> str:
    """Figures of a card, as far as there are any."""
    if not (RESULTS / "gpu-speed.json").is_file():
        return "Nothing was measured on a GPU yet: `python benchmarks/gpu.py --all --save` does it where there is one."
    figures = read("gpu-speed")["figures"]
    rows = [
        [
            f"{name}, {attention}",
            f"{one['tokens_per_second']:,}",
            f"{one['share_of_matmul']:.2f}",
            f"{one['mix_ratio']:.2f}",
        ]
        for name in ("jina-embeddings-v3", "pplx-embed-context-v1-0.6b")
        for attention, one in figures[name].items()
    ]
    header = [f"bfloat16, {figures['device']}", "tokens a second", "share of the card's matrix rate", "mixed lengths"]
    return table(header, rows)


def runtimes() -> str:
    figures = read("runtimes")["figures"]
    rows = [[name, f"{ratio:.2f}"] for name, ratio in figures["speed"].items()]
    header = ["windows of 128 tokens, two CPU cores", "speed, in float32 passes of PyTorch"]
    return f"{table(header, rows)}\n\n{runtimes_note(figures)}"


def runtimes_note(figures: dict[str, Any]) -> str:
    return (
        f"OpenVINO, called directly, agrees with PyTorch to {figures['openvino_float32_difference']:.0e} in float32. "
        f"Where the processor computes in bfloat16, as here, PyTorch is as fast without another dependency."
    )


def eight_bits() -> str:
    """What 8 bits gain in speed over float32, and what the vectors find."""
    figures = read("eight_bits")["figures"]
    sets = [(name, TITLES[name].partition(" (")[0]) for name in TITLES if name in figures["found"]]
    rows = [
        [way, f"{speed:.2f}", *(f"{figures['found'][name][way]:.1f}" for name, _ in sets)]
        for way, speed in figures["speed"].items()
    ]
    return table(["on two CPU cores", "speed", *(title for _, title in sets)], rows)


def fill(path: Path, contents: dict[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for name, content in contents.items():
        block = f"<!-- {name} -->\n\n{content}\n\n<!-- end of {name} -->"
        pattern = rf"<!-- {name} -->(.*?<!-- end of {name} -->)?"
        text, count = re.subn(pattern, lambda _, block=block: block, text, count=1, flags=re.DOTALL)
        if not count:
            raise SystemExit(f"{path} has no marker for {name}")
    path.write_text(text, encoding="utf-8")


def scale() -> str:
    """Time, recall, memory and disk by the number of chunks and the kind of vector index."""
    found = {n_chunks: read(f"scale-{n_chunks}")["figures"] for n_chunks in (10_000, 100_000, 1_000_000, 10_000_000)}
    rows = [
        _scale_row(n_chunks, prefix, figures)
        for n_chunks, figures in found.items()
        for prefix in ("", "flat_", "ivf_", "hnsw_")
        if f"{prefix}kind" in figures
    ]
    header = ["chunks", "kind", "p50, p99 (ms)", "recall@10", "filtered, times", "open (s)", "build (s)"]
    return table([*header, "memory (MB)", "disk (MB)"], rows)


def _scale_row(n_chunks: int, prefix: str, figures: dict[str, Any]) -> list[str]:
    one = {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}
    filtered = ", ".join(f"{one[f'filtered_{share}pct_ratio']:.1f}" for share in ("0.1", "1", "10", "50"))
    kind = f"{one['kind']} (auto)" if not prefix else one["kind"]
    return [
        f"{n_chunks:,}",
        kind,
        f"{one['p50_ms']:.1f}, {one['p99_ms']:.1f}",
        f"{one['recall_at_10']:.3f}",
        filtered,
        f"{one['open_s']:.2f}",
        f"{one['build_s']:.0f}",
        f"{one['rss_mb']:,}",
        f"{one['disk_mb']:,}",
    ]


def main() -> None:
    docs = ROOT / "docs"
    fill(ROOT / "README.md", {"found": default_search(whole=False)})
    fill(
        docs / "search.md",
        {
            "found": default_search(whole=True),
            "found-means": default_means(),
            "found-languages": languages(),
            "found-light": default_search(whole=True, results=LIGHT_SEARCH),
            "found-light-means": default_means(LIGHT_SEARCH),
        },
    )
    fill(
        docs / "evaluation.md",
        {"default": late_gains(), "quality": quality(), "passkey": passkey()},
    )
    models = {"speed": speed(), "encode": encode(), "jina": jina(), "runtimes": runtimes(), "eight-bits": eight_bits()}
    fill(docs / "models.md", {**models, "gpu": gpu()})
    fill(ROOT / "docs" / "operations.md", {"scale": scale()})
    fill(ROOT / "docs" / "local-global.md", {"sweep": sweep(), "sweep-default": sweep_of_default(), "cost": cost()})
    fill(ROOT / "docs" / "training.md", {"gains": gains(), "enough": enough()})
    for name, context in (("multilingual-e5-small-q4", "context"), ("all-MiniLM-L6-v2", "context-all-MiniLM-L6-v2")):
        fill(ROOT / "latechunk" / "trained" / name / "README.md", {"gains": gains(context)})


if __name__ == "__main__":
    main()
