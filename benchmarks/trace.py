"""How many functions and modules of latechunk one add and one search pass through, after a warm-up."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

from latechunk import Document, Encoder, Index

TEXT = (
    "Berlin is the capital of Germany. Its population is 3.8 million, which makes it the most populous city of the "
    "European Union. The city lies on the river Spree. It was first documented in the 13th century, at the crossing of "
    "two important historic trade routes."
)


def trace(action: Callable[[], object]) -> dict[str, int | list[str]]:
    """Run ``action``, and count the distinct functions of the package that it calls, in all threads."""
    passed: list[CodeType] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and "/latechunk/" in frame.f_code.co_filename.replace("\\", "/"):
            passed.append(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    # A generator is called once for each item, and a comprehension or lambda is part of the function around it.
    functions = {_name(code) for code in passed if not code.co_name.startswith("<")}
    return {
        "n_functions": len(functions),
        "n_modules": len({name.split(":")[0] for name in functions}),
        "functions": sorted(functions),
    }


def _name(code: CodeType) -> str:
    path = code.co_filename.replace("\\", "/").rsplit("/latechunk/", 1)[1]
    return f"{path}:{code.co_qualname}"


def main() -> None:
    """Print the counts as JSON; with ``--names`` the functions, too."""
    encoder = Encoder.load(device="cpu")
    with tempfile.TemporaryDirectory() as folder, Index.create(Path(folder, "index"), encoder=encoder) as index:
        index.add([Document("warm-up", TEXT + " And more.")])
        index.search("How many people live there?")
        traced = {
            "add": trace(lambda: index.add([Document("berlin", TEXT)])),
            "search": trace(lambda: index.search("How many people live in Berlin?")),
        }
    if "--names" not in sys.argv:
        for one in traced.values():
            del one["functions"]
    print(json.dumps(traced, indent=1))


if __name__ == "__main__":
    main()
