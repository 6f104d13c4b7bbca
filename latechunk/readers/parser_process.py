"""Runs parsers in a process of their own, so that a hang, a crash or too much memory costs one file and no more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, cast

from latechunk.errors import DocumentError
from latechunk.readers.parsed import Parsed
from latechunk.readers.parser_child import TIMED_OUT

MAX_SECONDS = 60.0
"""For one page of a PDF, one chapter of an EPUB, or the whole of another file."""
MAX_MEMORY = 4 * 1024**3
"""Bytes of address space that the process may take, where the system can limit it."""

_START = """
import sys
sys.path[:] = sys.argv[3:]
from latechunk.readers.parser_child import serve
serve(float(sys.argv[1]), int(sys.argv[2]))
"""


class ParserProcess:
    """A process that parses files one by one: started when it is first needed, and again after it was lost."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def parse(
        self,
        module: str,
        path: Path,
        *,
        password: str | None = None,
        encoding: str | None = None,
        rows: bool = False,
    ) -> Parsed:
        """Parse a file by the function ``parse`` of a module.

        Raises:
            DocumentError: With the reason if it cannot be parsed, or took the process down.
        """
        process = self._running()
        options = {"password": password, "encoding": encoding, "rows": rows}
        request = {"module": module, "path": os.fspath(path.absolute()), "options": options}
        answer = _exchange(process, json.dumps(request))
        if not answer:
            raise DocumentError(self._why_lost(process))
        return Parsed.from_json(answer)

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process and self._process.poll() is not None:
            self.close()
        if not self._process:
            # Isolated from the environment and the working directory; modules come from where this process has them.
            places = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
            command = [sys.executable, "-I", "-c", _START, str(MAX_SECONDS), str(MAX_MEMORY), *places]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        return self._process

    def _why_lost(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        self.close()
        if code == TIMED_OUT:
            return f"its parser needed more than {MAX_SECONDS:g} s, and was ended"
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its parser crashed ({cause}); the file may be damaged, or need more than {MAX_MEMORY / 1e9:.0f} GB"


def _exchange(process: subprocess.Popen[bytes], request: str) -> bytes:
    """Send a request and wait for its answer; nothing if the process ended instead."""
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    try:
        stdin.write(request.encode() + b"\n")
        stdin.flush()
    except BrokenPipeError:
        return b""
    answer = stdout.readline()
    return answer if answer.endswith(b"\n") else b""
