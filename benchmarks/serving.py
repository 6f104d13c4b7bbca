"""What `latechunk serve` bears: throughput at 1, 8 and 64 clients, what batches bring, hard input, floods.

Each server is a process of its own on loopback. Prints a line of JSON at the end. Without options it measures speed
with the default model; `--cases 5000` asks by the server's own schema; `--flood 60` sends a body of 1 GB, opens 10,000
connections, and sends 1,000 requests a second for a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

TEXTS = [
    f"How many people live in the {name} of {place}?"
    for name in ("capital", "north", "old town", "suburbs", "harbour quarter")
    for place in ("Berlin", "Paris", "Vienna", "Budapest", "Belgrade", "Bratislava", "Ulm", "Regensburg")
]
CLIENTS = (1, 8, 64)
HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def ask_by_schema(schema: Any, n_cases: int) -> Counter[int]:
    """Ask what the schema allows and what it does not, each operation as often; how often each status came."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import HypothesisException
    from schemathesis import GenerationMode

    statuses: Counter[int] = Counter()
    kinds = [
        (one.ok(), mode)
        for one in schema.get_all_operations()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]
    while sum(statuses.values()) < n_cases and kinds:
        each = -(-(n_cases - sum(statuses.values())) // len(kinds))
        quiet = settings(
            max_examples=each,
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        for kind in list(kinds):
            operation, mode = kind

            @quiet
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                answer = case.call(timeout=120)
                statuses[answer.status_code] += 1
                if answer.status_code >= 500:
                    print(case.as_curl_command(), answer.text[:300], file=sys.stderr)

            try:
                ask()
            except HypothesisException:  # nothing is wrong with an operation without input
                kinds.remove(kind)
    return statuses


class Server:
    """A server in a process of its own."""

    def __init__(self, *words: str, environment: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-c", "from latechunk.cli import run; run()", "serve", "--port", "0", *words]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
        )
        assert self.process.stderr is not None
        said = ""
        while "serving" not in said:
            said = self.process.stderr.readline()
            if not said:
                raise SystemExit("the server did not start")
        self.port = int(re.findall(r":(\d+)", said)[-1])
        self.url = f"http://127.0.0.1:{self.port}"

    def megabytes(self) -> float:
        """The most memory that it has had, as the system says."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1000

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)


@contextlib.contextmanager
def serving(*words: str) -> Iterator[Server]:
    server = Server(*words)
    try:
        yield server
    finally:
        server.close()


async def ask_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> int:
    """Send a request on a connection that stays open; the status of the answer, which is read to its end."""
    writer.write(b"%sContent-Length: %d\r\n\r\n%s" % (HEAD, len(body), body))
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(re.findall(rb"content-length: (\d+)", answer.lower())[0])
    await reader.readexactly(length)
    return int(answer[9:12])


async def measure(port: int, n_clients: int, seconds: float) -> dict[str, float]:
    """Clients that each ask one short text after the other."""
    times: list[float] = []
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place = number
        while time.monotonic() < end:
            body = json.dumps({"input": TEXTS[place % len(TEXTS)], "encoding_format": "base64"}).encode()
            begin = time.monotonic()
            status = await ask_once(reader, writer, body)
            times.append(time.monotonic() - begin)
            assert status == 200, status
            place += 7
        writer.close()

    begin = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(n_clients)))
    took = time.monotonic() - begin
    ordered = sorted(times)
    return {
        "p50_ms": round(1e3 * statistics.median(ordered), 1),
        "p99_ms": round(1e3 * ordered[int(0.99 * (len(ordered) - 1))], 1),
        "requests_per_second": round(len(times) / took, 1),
    }


async def flood(port: int, rate: int, seconds: float) -> dict[str, Any]:
    """So many requests a second, whether they are answered or not; and another client, who must be served."""
    statuses: Counter[str] = Counter()
    waits: list[float] = []
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    body = json.dumps({"input": TEXTS[0], "encoding_format": "base64"}).encode()

    async def one() -> None:
        try:
            pair = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
            statuses[str(await ask_once(*pair, body))] += 1
            idle.append(pair)
        except (OSError, asyncio.IncompleteReadError, IndexError) as error:
            statuses[type(error).__name__] += 1

    async def health() -> None:
        while True:
            begin = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            assert b" 200 " in answer, answer
            writer.close()
            waits.append(time.monotonic() - begin)
            await asyncio.sleep(0.2)

    watcher = asyncio.create_task(health())
    tasks: set[asyncio.Task[None]] = set()
    begin = time.monotonic()
    n_sent = 0
    while (passed := time.monotonic() - begin) < seconds:
        for _ in range(int(passed * rate) - n_sent):
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            n_sent += 1
        await asyncio.sleep(0.002)
    await asyncio.gather(*tasks)
    watcher.cancel()
    for _, writer in idle:
        writer.close()
    return {
        "sent": n_sent,
        "answers": dict(statuses),
        "health_p99_ms": round(1e3 * sorted(waits)[int(0.99 * (len(waits) - 1))], 1),
    }


def connect_many(port: int, n: int) -> list[socket.socket]:
    """Open connections and send nothing."""
    return [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(n)]


def send_gigabyte(port: int) -> str:
    """Send a body of 1 GB, with its length said, and in chunks without; the first line of each answer."""
    answers = []
    for head in ("Content-Length: 1000000000", "Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            start = (
                f"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
            )
            connection.sendall(start.encode())
            piece = b"a" * 1_000_000
            with contextlib.suppress(OSError):
                for _ in range(1_000):
                    connection.sendall(piece if "Length" in head else b"f4240\r\n" + piece + b"\r\n")
            answer = b""
            with contextlib.suppress(OSError):
                answer = connection.recv(12)
            answers.append(answer.decode() or "closed")
    return ", ".join(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10, help="For each number of clients.")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--cases", type=int, default=0, help="Requests by the server's schema, in place of speed.")
    parser.add_argument("--index", help="With --cases: an index to serve, too.")
    parser.add_argument("--flood", type=float, default=0, help="Seconds of 1,000 requests a second, in place of speed.")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    result: dict[str, Any] = {"benchmark": "serving", "model": options.model, "cpus": os.cpu_count()}
    with serving(*([options.index] if options.index else ["--model", options.model])) as server:
        asyncio.run(measure(server.port, 1, 2))  # warm
        result["idle_mb"] = round(server.megabytes())
        if options.cases:
            import schemathesis

            statuses = ask_by_schema(schemathesis.openapi.from_url(f"{server.url}/openapi.json"), options.cases)
            result |= {"cases": sum(statuses.values()), "statuses": dict(sorted(statuses.items()))}
        elif options.flood:
            result["gigabyte"] = send_gigabyte(server.port)
            result["gigabyte_mb"] = round(server.megabytes())
            held = connect_many(server.port, 10_000)
            result["with_10000_connections"] = asyncio.run(measure(server.port, 8, 5))
            result["connections_mb"] = round(server.megabytes())
            for one in held:
                one.close()
            result["flood"] = asyncio.run(flood(server.port, 1_000, options.flood))
            result["after"] = asyncio.run(measure(server.port, 1, 2))
        else:
            for n_clients in CLIENTS:
                result[f"clients_{n_clients}"] = asyncio.run(measure(server.port, n_clients, options.seconds))
                print(n_clients, result[f"clients_{n_clients}"], flush=True)
            speeds = [result[f"clients_{n_clients}"]["requests_per_second"] for n_clients in CLIENTS]
            result["speedup_of_batches"] = round(max(speeds) / speeds[0], 2)
        result["peak_mb"] = round(server.megabytes())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
