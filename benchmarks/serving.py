"""What `latechunk serve` bears: throughput at 1, 8 and 64 clients, what batches bring, hard input, floods.

Each server is a process of its own on loopback. Prints a line of JSON at the end. Without options it measures speed
with the default model; `--cases 5000` asks by the server's own schema; `--flood 60` sends a body of 1 GB, opens 10,000
connections, and sends 1,000 requests a second for a minute.
"""

from __future__ import annotations

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
import urllib.request
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
MOST_CONNECTIONS = 2_000  # of a flood; one that finds none free waits
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

    def cpu_seconds(self) -> float:
        """What it has computed so far, in all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


class Flood:
    """Requests at a rate, whether they are answered or not."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.statuses: Counter[str] = Counter()
        self._body = json.dumps({"input": TEXTS[0], "encoding_format": "base64"}).encode()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)

    async def send(self, rate: int, seconds: float) -> int:
        """Send, and wait for all answers; how many were sent."""
        tasks: set[asyncio.Task[None]] = set()
        begin, n_sent = time.monotonic(), 0
        while (passed := time.monotonic() - begin) < seconds:
            for _ in range(int(passed * rate) - n_sent):
                task = asyncio.create_task(self._ask())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                n_sent += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*tasks)
        for _, writer in self._idle:
            writer.close()
        return n_sent

    async def _ask(self) -> None:
        async with self._room:
            while not await self._ask_on(self._idle.pop() if self._idle else None):
                pass

    async def _ask_on(self, pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> bool:
        """Ask on a connection, or a new one; False if an old one was closed between two requests, as servers may."""
        reader, writer = pair or await asyncio.open_connection("127.0.0.1", self.port)
        try:
            self.statuses[str(await ask_once(reader, writer, self._body))] += 1
        except (OSError, asyncio.IncompleteReadError) as error:
            writer.close()
            if pair is None:
                self.statuses[type(error).__name__] += 1
            return pair is None
        self._idle.append((reader, writer))
        return True


async def watch_health(port: int, waits: list[float]) -> None:
    """Ask five times a second, on a connection of its own each, whether the server is there."""
    while True:
        begin = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        assert b" 200 " in answer, answer
        writer.close()
        waits.append(time.monotonic() - begin)
        await asyncio.sleep(0.2)


async def flood(port: int, rate: int, seconds: float) -> dict[str, Any]:
    """So many requests a second; and another client, who must be served."""
    waits: list[float] = []
    watcher = asyncio.create_task(watch_health(port, waits))
    one = Flood(port)
    n_sent = await one.send(rate, seconds)
    watcher.cancel()
    late = sorted(waits)[int(0.99 * (len(waits) - 1))]
    return {"sent": n_sent, "answers": dict(one.statuses), "health_p99_ms": round(1e3 * late, 1)}


def count_answered(url: str) -> int:
    """How many requests the server has answered with vectors, as it counts them itself."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return int(float(re.findall(r'latechunk_requests_total\{route="/v1/embeddings",status="200"\} (\S+)', text)[0]))


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


def compare_batches(batched: Server, model: str, seconds: float) -> dict[str, Any]:
    """Requests a second and CPU time a request with 64 clients, where each goes through the model alone, and together.

    Both servers are asked in turn, so that what else the machine does meanwhile concerns both; CPU time depends less on
    it.
    """
    speeds: list[list[float]] = [[], []]
    costs: list[list[float]] = [[], []]
    with serving("--model", model, "--batch-tokens", "1") as alone:
        asyncio.run(measure(alone.port, 1, 2))  # warm
        for _ in range(5):
            for place, one in enumerate((alone, batched)):
                before = one.cpu_seconds(), count_answered(one.url)
                speeds[place].append(asyncio.run(measure(one.port, CLIENTS[-1], seconds / 2))["requests_per_second"])
                n_answered = count_answered(one.url) - before[1]
                costs[place].append(1e3 * (one.cpu_seconds() - before[0]) / n_answered)
    ratios = [two / one for one, two in zip(*speeds, strict=True)]
    return {
        "alone": {"requests_per_second": statistics.median(speeds[0]), "cpu_ms": round(statistics.median(costs[0]), 1)},
        "batched": {
            "requests_per_second": statistics.median(speeds[1]),
            "cpu_ms": round(statistics.median(costs[1]), 1),
        },
        "speedup": round(statistics.median(ratios), 2),
        "cpu_ratio": round(statistics.median(costs[0]) / statistics.median(costs[1]), 2),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    from benchmarks.common import parser as make_parser
    from benchmarks.common import report

    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="For each number of clients.")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--cases", type=int, default=0, help="Requests by the server's schema, in place of speed.")
    parser.add_argument("--index", help="With --cases: an index to serve, too.")
    parser.add_argument("--flood", type=float, default=0, help="Seconds of 1,000 requests a second, in place of speed.")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    result: dict[str, Any] = {"model": options.model}
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
            before = count_answered(server.url)
            result["flood"] = asyncio.run(flood(server.port, 1_000, options.flood))
            result["flood"]["answered_by_the_server"] = count_answered(server.url) - before
            result["after"] = asyncio.run(measure(server.port, 1, 2))
        else:
            for n_clients in CLIENTS:
                result[f"clients_{n_clients}"] = asyncio.run(measure(server.port, n_clients, options.seconds))
                print(n_clients, result[f"clients_{n_clients}"], flush=True)
            result["batches"] = compare_batches(server, options.model, options.seconds)
        result["peak_mb"] = round(server.megabytes())
    name = "serving-cases" if options.cases else "serving-flood" if options.flood else "serving"
    report(name, result, save=options.save)


if __name__ == "__main__":
    main()
