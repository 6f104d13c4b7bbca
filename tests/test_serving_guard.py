"""What stands before the routes: keys, hosts, sizes, counts, slow clients; and how a server ends."""

import contextlib
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")

from starlette.applications import Starlette
from starlette.routing import Mount

from latechunk import Document, Index
from latechunk.errors import InputError
from latechunk.serving import Limits, make_app, open_served
from latechunk.serving.run import _raise_file_limit, allowed_hosts, is_loopback, read_keys
from latechunk.serving.run import serve as serve_alone
from tests.conftest import FakeEncoder
from tests.serving import connect, post_head, running

KEY = "0123456789abcdef-key"
BODY = {"input": "Berlin is big."}


class SlowEncoder(FakeEncoder):
    """Encodes when it is let go."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Event()
        self.open = threading.Event()

    def encode_spans(self, tasks, on_progress=None):
        self.entered.set()
        assert self.open.wait(60)
        return super().encode_spans(tasks, on_progress)


@contextlib.contextmanager
def serve(encoder=None, limits=None, **options):
    """A server's address."""
    with (
        open_served(encoder=encoder or FakeEncoder(), limits=limits) as opened,
        running(make_app(opened, **options), limits) as url,
    ):
        yield url


def post(url, **options):
    return httpx.post(f"{url}/v1/embeddings", **{"json": BODY, "timeout": 60, "verify": False} | options)


def test_a_key_is_needed_where_there_are_keys():
    with serve(keys=["x" * 20, KEY]) as url:
        right = post(url, headers={"Authorization": f"Bearer {KEY}"})
        wrong = [
            post(url, headers=headers)
            for headers in (
                {},
                {"Authorization": "Bearer"},
                {"Authorization": f"Bearer {KEY}x"},
                {"Authorization": f"Basic {KEY}"},
                {"Authorization": b"Bearer \xff\xfe"},
            )
        ]
        health, schema = httpx.get(f"{url}/health"), httpx.get(f"{url}/openapi.json")
        head = httpx.head(f"{url}/health")

    assert right.status_code == 200
    assert [one.status_code for one in wrong] == [401] * 5
    assert wrong[0].headers["www-authenticate"] == "Bearer"
    assert KEY not in wrong[2].text
    assert (health.status_code, schema.status_code) == (200, 401)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "at least one key"), ("# none\n\n", "at least one key"), ("short\n", "16 ASCII"), ("ä" * 20, "16 ASCII")],
)
def test_a_key_file_needs_keys(tmp_path, content, said):
    path = tmp_path / "keys"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(InputError, match=said):
        read_keys(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_keys(tmp_path / "none")


def test_keys_are_lines(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# mine\n{KEY}\n\n  {'y' * 16}  \n", encoding="utf-8")

    assert read_keys(path) == [KEY, "y" * 16]


def test_an_address_that_others_reach_needs_a_key():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org", "")))
    with pytest.raises(InputError, match="needs --api-key-file"):
        allowed_hosts("0.0.0.0", [])
    assert allowed_hosts("0.0.0.0", [KEY]) == ()
    assert "localhost" in allowed_hosts("127.0.0.1", [])


def test_a_page_of_another_name_cannot_ask():
    with serve(hosts=allowed_hosts("127.0.0.1", [])) as url:
        rebound = post(url, headers={"Host": "evil.example:80"})
        elsewhere = post(url, headers={"Origin": "https://evil.example"})
        null = post(url, headers={"Origin": "null"})
        own = post(url, headers={"Origin": url})
        by_name = post(url, headers={"Host": "localhost:1"})
        form = post(url, headers={"Content-Type": "text/plain"}, json=None, content=json.dumps(BODY))

    assert [one.status_code for one in (rebound, elsewhere, null, own, by_name, form)] == [421, 403, 403, 200, 200, 415]
    assert "access-control-allow-origin" not in own.headers


def test_a_compressed_body_is_refused_as_such():
    content = gzip.compress(json.dumps(BODY).encode())
    with serve() as url:
        packed, plain = (
            post(
                url, json=None, content=body, headers={"Content-Type": "application/json", "Content-Encoding": encoding}
            )
            for body, encoding in ((content, "gzip"), (json.dumps(BODY), "identity"))
        )

    assert (packed.status_code, plain.status_code) == (415, 200)
    assert "without Content-Encoding" in packed.json()["detail"]


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_beyond_the_limit_is_refused_and_the_connection_goes_on(is_chunked):
    limits = Limits(body_bytes=10_000)
    with serve(limits=limits) as url, httpx.Client() as client:
        large = json.dumps({"input": "a" * 50_000}).encode()
        content = iter([large[:30_000], large[30_000:]]) if is_chunked else large
        refused = client.post(f"{url}/v1/embeddings", content=content, headers={"Content-Type": "application/json"})
        after = client.post(f"{url}/v1/embeddings", json=BODY)

    assert refused.status_code == 413
    assert "10,000 bytes" in refused.json()["error"]["message"]
    assert after.status_code == 200


def test_beyond_so_many_requests_the_next_is_told_to_come_back():
    encoder, limits = SlowEncoder(), Limits(requests=3)
    with open_served(encoder=encoder, limits=limits) as opened, ThreadPoolExecutor(8) as pool:
        app = make_app(opened)
        with running(app, limits) as url:
            taken = [pool.submit(post, url) for _ in range(3)]
            while app.n_requests < 3:
                time.sleep(0.01)
            refused, health = post(url), httpx.get(f"{url}/health", verify=False)
            encoder.open.set()

            assert refused.status_code == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert refused.json()["error"]["type"] == "rate_limit_error"
            assert health.status_code == 200
            assert [one.result(60).status_code for one in taken] == [200] * 3
            assert post(url).status_code == 200


def test_an_overload_can_be_seen():
    encoder = SlowEncoder()
    with serve(encoder, Limits(requests=1), keys=[KEY]) as url, ThreadPoolExecutor(1) as pool:
        bearer = {"Authorization": f"Bearer {KEY}"}
        first = pool.submit(post, url, headers=bearer)
        assert encoder.entered.wait(30)
        try:
            refused = post(url, headers=bearer)
            keyless, metrics = (httpx.get(f"{url}/metrics", headers=headers) for headers in ({}, bearer))
        finally:
            encoder.open.set()
        assert first.result(60).status_code == 200

    assert (refused.status_code, keyless.status_code, metrics.status_code) == (429, 401, 200)
    assert "latechunk_requests_in_progress 1" in metrics.text


def test_nothing_is_computed_for_a_client_that_has_gone():
    encoder = SlowEncoder()
    with open_served(encoder=encoder) as opened, ThreadPoolExecutor(1) as pool:
        app = make_app(opened)
        with running(app) as url:
            first = pool.submit(post, url)
            assert encoder.entered.wait(30)
            body = json.dumps({"input": ["Berlin is big."] * 500}).encode()
            with connect(url) as connection:
                connection.sendall(post_head("/v1/embeddings", len(body)) + body)
                while not opened.dispatchers[0].waiting_tokens:
                    time.sleep(0.01)
            (job,) = [one for one in opened.dispatchers[0]._jobs if len(one.items) == 500]
            while not job.is_given_up:
                time.sleep(0.01)
            encoder.open.set()
            assert first.result(60).status_code == 200
            while app.n_requests:
                time.sleep(0.01)
            with connect(url) as connection:
                connection.sendall(post_head("/v1/embeddings", 100) + b"{")  # and the rest never comes
                while not app.n_requests:
                    time.sleep(0.01)
            deadline = time.monotonic() + 30
            counted = set()
            while len(counted) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
                lines = opened.metrics.text().decode().splitlines()
                counted = {line for line in lines if line.startswith("latechunk_requests_total{")}

    assert encoder.n_encoded == 1
    assert counted == {
        'latechunk_requests_total{route="/v1/embeddings",status="200"} 1.0',
        'latechunk_requests_total{route="/v1/embeddings",status="499"} 1.0',
        'latechunk_requests_total{route="other",status="499"} 1.0',
    }


def test_bodies_together_are_bounded():
    encoder = SlowEncoder()
    limits = Limits(pending_bytes=2_000)
    with serve(encoder, limits) as url, ThreadPoolExecutor(8) as pool:
        taken = pool.submit(post, url, json={"input": "a " * 700})
        assert encoder.entered.wait(60)
        refused = post(url, json={"input": "a " * 700})
        encoder.open.set()

        assert refused.status_code == 429
        assert "too much text" in refused.text
        assert taken.result(60).status_code == 200
        assert post(url, json={"input": "a " * 700}).status_code == 200


def read_to_end(connection):
    parts = []
    with connection, contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def test_a_client_that_sends_no_head_or_no_body_is_not_waited_for():
    with serve(limits=Limits(read_seconds=0.5)) as url:
        silent, slow_head, slow_body = connect(url), connect(url), connect(url)
        slow_head.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0")
        slow_body.sendall(post_head("/v1/embeddings", 100) + b'{"input"')

        assert read_to_end(silent) == b""
        assert read_to_end(slow_head) == b""
        assert b" 408 " in read_to_end(slow_body)
        assert post(url).status_code == 200


def test_a_connection_is_closed_between_requests_however_it_drips():
    with serve(limits=Limits(read_seconds=0.5)) as url:
        connection = connect(url)
        body = json.dumps(BODY).encode()
        connection.sendall(post_head("/v1/embeddings", len(body)) + body)
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.settimeout(60)
        connection.sendall(b"POST /v1")  # and no more

        assert b"HTTP/1.1" not in read_to_end(connection)


def test_a_connection_is_kept_between_requests_for_longer_than_a_head_may_take():
    request = post_head("/v1/embeddings", len(body := json.dumps(BODY).encode())) + body
    with serve(limits=Limits(read_seconds=0.5, idle_seconds=2)) as url, connect(url) as connection:
        for _ in range(2):
            connection.sendall(request)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            time.sleep(1)
        begin = time.monotonic()
        while connection.recv(65_536):
            pass

    assert time.monotonic() - begin < 10


def test_a_client_that_takes_no_answer_loses_it():
    limits = Limits(write_seconds=0.5, requests=1)
    with serve(limits=limits) as url:
        body = json.dumps({"input": ["a"] * 2_000, "dimensions": 8}).encode()
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        host, _, port = url.removeprefix("http://").partition(":")
        connection.connect((host, int(port)))
        connection.sendall(post_head("/v1/embeddings", len(body)) + body)
        assert connection.recv(12) == b"HTTP/1.1 200"
        for _ in range(3_000):  # its place is free again when the server has given it up, or it fitted the buffers
            if post(url).status_code == 200:
                break
            time.sleep(0.02)
        else:
            pytest.fail("a client that does not read holds its place for ever")
        connection.close()


def test_beyond_so_many_connections_the_next_is_closed():
    with serve(limits=Limits(connections=5)) as url:
        held = [connect(url) for _ in range(5)]
        time.sleep(0.2)
        assert read_to_end(connect(url)) == b""
        for one in held:
            one.close()
        for _ in range(500):
            try:
                assert post(url).status_code == 200
                break
            except httpx.TransportError:
                time.sleep(0.02)
        else:
            pytest.fail("the server does not take connections again")


def test_nonsense_is_answered_and_hurts_nobody():
    with serve() as url:
        for nonsense in (
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
            b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            b"GET /%ff%00/../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ):
            connection = connect(url)
            connection.sendall(nonsense + b"\r\n" * 3)
            connection.shutdown(socket.SHUT_WR)
            answer = read_to_end(connection)
            assert not answer or b" 4" in answer[:20], answer
        headers = {"Content-Type": "application/json"}
        deep = b'{"input": ' + b"[" * 100_000
        huge = b'{"input": "a", "dimensions": ' + b"9" * 100_000 + b"}"
        answers = [
            post(url, json=None, content=one, headers=headers) for one in (deep, huge, b"", b"null", b"\xff\xfe")
        ]

        assert [one.status_code for one in answers] == [400] * 5
        assert [one.json()["detail"].partition(";")[0] for one in answers] == [
            "the body is nested too deeply",
            "the body has a number of too many digits",
            "the body is empty",
            "the body must be a JSON object, got None",
            "the body is not JSON: Expecting value at character 0",
        ]
        for content, said in {
            b'{"input": "\xff"}': "the body is not UTF-8: invalid start byte at byte 11; encode the JSON as UTF-8",
            b"[1]": "the body must be a JSON object, got [1]",
            b'{"input": "a"': "the body is not JSON: Expecting ',' delimiter at character 13",
        }.items():
            assert post(url, json=None, content=content, headers=headers).json()["detail"].startswith(said)
        assert post(url).status_code == 200


CLI = [sys.executable, "-c", "from latechunk.cli import run; run()"]


def start(tmp_path, *words):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*CLI, *words], **pipes, text=True, env=environment, cwd=tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_the_command_finishes_what_it_took_when_it_is_ended(tmp_path):
    process = start(tmp_path, "serve", "--port", "0", "--dtype", "float32", "--alias", "text-embedding")
    try:
        said = process.stderr.readline()
        assert "serving 1 model and 0 indexes on http://127.0.0.1:" in said
        url = said.split()[-1]
        assert post(url).status_code == 200
        body = json.dumps({"input": ["Berlin is the capital."] * 50}).encode()
        with connect(url) as taken, connect(url) as idle:
            taken.sendall(post_head("/v1/embeddings", len(body)) + body[:-1])  # taken, and not whole yet
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert idle.recv(1) == b""  # what has asked nothing is closed
            with pytest.raises(OSError, match=r"refused|reset"):
                connect(url)
            taken.sendall(body[-1:])
            answer = b""
            while part := taken.recv(65_536):
                answer += part
        head, _, content = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert len(json.loads(content)["data"]) == 50
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def catches(process, number):
    """Whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the signals of a process as Linux tells them")
@pytest.mark.parametrize(
    ("command", "sent", "code"),
    [("serve", signal.SIGTERM, 143), ("mcp", signal.SIGTERM, 143), ("mcp", signal.SIGINT, 130)],
)
def test_a_server_that_loads_or_waits_for_its_input_ends_at_once(tmp_path, command, sent, code):
    """As the first process of a container it would pass over SIGTERM, unless it has a handler."""
    with Index.create(tmp_path / "a.latechunk", encoder="multilingual-e5-small-q4") as index:
        index.add([Document("a", "Berlin is big.")])
    process = start(tmp_path, command, "a.latechunk", *(["--port", "0"] if command == "serve" else []))
    try:
        end = time.monotonic() + 60
        while not catches(process, signal.SIGTERM):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(sent)

        assert process.wait(30) == code
        assert "serving" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_as_many_files_as_connections_may_be_open_also_where_the_system_names_no_limit(monkeypatch):
    import resource

    asked = []

    def set_limit(_, limits):
        asked.append(limits)
        if limits[0] == resource.RLIM_INFINITY:  # as macOS does, which says that it has no limit
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", set_limit)
    for found in ((256, resource.RLIM_INFINITY), (1_024, 4_096), (1_024, 2**30), (2**20, 2**20)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, found=found: found)
        _raise_file_limit(12_000)

    assert asked == [(13_000, resource.RLIM_INFINITY), (4_096, 4_096), (13_000, 2**30)]


def test_an_address_that_is_taken_is_said_once(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"{port} is not \(Address already in use\): choose another --port"):
            serve_alone(None, host="127.0.0.1", port=port, limits=Limits(), on_ready=print)
    assert capsys.readouterr().err == ""


def test_the_command_says_what_is_wrong(tmp_path):
    from typer.testing import CliRunner

    from latechunk.cli import app

    run = CliRunner().invoke
    outside = run(app, ["serve", "--host", "0.0.0.0"])
    keyless = run(app, ["serve", "--api-key-file", str(tmp_path / "none")])
    nothing = run(app, ["serve", str(tmp_path / "none.latechunk")])
    limits = ["--max-tokens", "--max-inputs", "--max-body-mb", "--max-requests", "--batch-tokens", "--timeout"]
    beyond = {option: run(app, ["serve", option, "0"]) for option in limits}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

    assert (outside.exit_code, keyless.exit_code) == (2, 2)
    assert {option: (one.exit_code, option in one.output) for option, one in beyond.items()} == dict.fromkeys(
        limits, (2, True)
    )
    assert nothing.exit_code == 1
    assert "--api-key-file" in outside.output
    assert Path("none.latechunk").name in nothing.output
    for words, said in {
        ("serve", "a.latechunk", "--adapters", "none"): "--adapters would have no effect on an index's model without",
        ("mcp", "a.latechunk", "--port", "9000"): "--port would have no effect without --http; leave it out",
        ("mcp", "a.latechunk", "--host", "0.0.0.0", "--api-key-file", "k"): "--host and --api-key-file would have no",
    }.items():
        without_effect = run(app, words)
        assert (without_effect.exit_code, said in without_effect.output) == (2, True), without_effect.output


def test_under_a_path_the_same_is_open_free_and_a_form(tmp_path):
    folder = tmp_path / "cities.latechunk"
    with Index.create(folder, encoder=FakeEncoder()) as index:
        index.add([Document("berlin", "Berlin is big.")])
    form = {"question": "Berlin", "document_id": "berlin", "key": KEY}
    with open_served([folder], encoder=FakeEncoder(), limits=Limits(requests=1)) as opened:
        app = make_app(opened, keys=[KEY])
        with running(Starlette(routes=[Mount("/late", app)])) as url:
            keyless = [httpx.get(f"{url}/late{path}").status_code for path in ("/", "/health", "/metrics", "/indexes")]
            inspected = httpx.post(f"{url}/late/inspect", data=form)
            meant = httpx.get(f"{url}/late/models", headers={"Authorization": f"Bearer {KEY}"})
            app.n_requests = 1
            metrics = httpx.get(f"{url}/late/metrics", headers={"Authorization": f"Bearer {KEY}"})
            app.n_requests = 0

    assert keyless == [200, 200, 401, 401]
    assert (inspected.status_code, metrics.status_code) == (200, 200)
    assert "there is no route '/models': did you mean '/v1/models'?" in meant.json()["detail"]
