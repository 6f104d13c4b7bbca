"""What runs in the process of ``ParserProcess``: it reads requests and writes answers, each a line of JSON.

A request is ``{"module", "path", "options": {"password", "encoding", "rows"}}``, and the module has a function
``parse(path, options)``. The answer is what ``Parsed.to_json`` writes, or ``{"error"}``. The process ends when its
input does.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latechunk.errors import LateChunkError
from latechunk.readers.decoding import explain_decoding
from latechunk.readers.parsed import Parsed, ParserOptions

TIMED_OUT = 1
"""The exit code with which faulthandler ends a process."""


def serve(seconds: float, memory: int) -> None:
    """Answer requests, with at most ``seconds`` from one tick to the next, in ``memory`` bytes of address space."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told to stop, and stops this process
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)  # what a parser prints is no answer

        def tick() -> None:
            # A watchdog of C, which also ends what never comes back to Python.
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)

        for request in sys.stdin.buffer:
            tick()
            answers.write(_answer(json.loads(request), tick) + "\n")
            answers.flush()
            faulthandler.cancel_dump_traceback_later()


def _answer(request: dict[str, Any], tick: Callable[[], None]) -> str:
    try:
        parse: Callable[[Path, ParserOptions], Parsed] = importlib.import_module(request["module"]).parse
        return parse(Path(request["path"]), ParserOptions(**request["options"], tick=tick)).to_json()
    except UnicodeDecodeError as error:
        return _error(explain_decoding(error))
    except LateChunkError as error:
        return _error(str(error))
    except MemoryError:
        return _error("it needs more memory than a parser may take")
    except Exception as error:  # noqa: BLE001 (whatever a parser raises, it costs this file only)
        return _error(f"its parser failed: {type(error).__name__}: {error}"[:500])


def _error(reason: str) -> str:
    return json.dumps({"error": reason})
