"""The commands that serve models and indexes to others: serve, over HTTP, and mcp, to agents."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latechunk.cli.console import errors_explained, print_message, spinner, stderr_console
from latechunk.cli.options import Device, Dtype, ModeName, Quiet, given, load_encoder, load_reranker, require_effect
from latechunk.printing import counted

if TYPE_CHECKING:
    from rich.console import Console

    from latechunk.serving import Limits, Served

_where, _what, _limits = (partial(typer.Option, rich_help_panel=panel) for panel in ("Address", "Model", "Limits"))

Host = Annotated[str, _where(help="Address to listen on; one that others can reach needs --api-key-file.")]
Port = Annotated[int, _where(help="Port; 0 for any that is free.", min=0, max=65_535)]
KeyFile = Annotated[Path | None, _where(help="Text file with an API key in each line.")]


def serve_command(
    indexes: Annotated[
        list[Path] | None, typer.Argument(metavar="[INDEX]...", help="Folders of indexes to search.")
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    api_key_file: KeyFile = None,
    model: Annotated[
        str | None,
        _what(help="Model for vectors: name or folder  [default: the indexes', else multilingual-e5-small-q4]."),
    ] = None,
    adapters: Annotated[
        str | None, _what(help='"auto": those known for the model; "none", or a folder of trained ones.')
    ] = None,
    alias: Annotated[
        list[str] | None, _what(help="Another name by which requests may call the model; may be given again.")
    ] = None,
    mode: Annotated[
        ModeName | None, _what(help="How chunks of requests are embedded  [default: what the model recommends].")
    ] = None,
    rerank: Annotated[
        str | None, _what(metavar="MODEL", help="Cross-encoder, folder or hub name, to order by.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    max_tokens: Annotated[int | None, _limits(min=1, help="Of one request  [default: 131,072].")] = None,
    max_inputs: Annotated[int | None, _limits(min=1, help="Texts of one request  [default: 2,048].")] = None,
    max_body_mb: Annotated[int | None, _limits(min=1, help="Of one request  [default: 8].")] = None,
    max_requests: Annotated[int | None, _limits(min=1, help="At work or waiting  [default: 256].")] = None,
    batch_tokens: Annotated[
        int | None, _limits(min=1, help="Of several requests that go through the model together  [default: 8,192].")
    ] = None,
    timeout: Annotated[float | None, _limits(min=0.001, help="Seconds for a request  [default: 300].")] = None,
    quiet: Quiet = False,
) -> None:
    """Serve vectors and search over HTTP: in the forms of OpenAI, Jina, Voyage and Perplexity.

    The page to search with is at /, what can be asked is at /openapi.json. At Ctrl-C or SIGTERM it answers what it
    took, and ends.
    """
    console = stderr_console()
    with errors_explained(console, quiet=quiet, interrupted="the server has ended"):
        _require_serving()
        from latechunk.serving.app import make_app
        from latechunk.serving.run import allowed_hosts, ended_at_once, read_keys, serve
        from latechunk.serving.served import open_served

        if indexes and not model:
            require_effect({"--adapters": adapters is not None}, "on an index's model without --model")
        keys = read_keys(api_key_file) if api_key_file is not None else []
        hosts = allowed_hosts(host, keys)
        load = partial(load_encoder, model, adapters, device=device, dtype=dtype)
        limits = _make_limits(max_tokens, max_inputs, max_body_mb, max_requests, batch_tokens, timeout)
        with ended_at_once(signal.SIGTERM), spinner(console, "loading the models", quiet):
            served = open_served(
                indexes or [],
                encoder=load if model or not indexes else None,
                aliases=alias or [],
                mode=mode,
                reranker=load_reranker(rerank, device) if rerank else None,
                reranker_name=rerank,
                limits=limits,
                runtime={"device": device, "dtype": dtype},
            )
        with served:
            n_models = len(set(map(id, served.models.values())))  # of which one may have several names
            what = f"{counted(n_models, 'model')} and {_count_indexes(served)}"
            app = make_app(served, keys=keys, hosts=hosts)
            serve(app, host=host, port=port, limits=limits, on_ready=_announce(console, host, what, quiet))


def mcp_command(
    indexes: Annotated[list[Path], typer.Argument(metavar="INDEX...", help="Folders of indexes.")],
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP at /mcp, in place of stdio.")] = False,
    host: Annotated[
        str, typer.Option(help="With --http: address; one that others can reach needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="With --http: port; 0 for any that is free.", min=0, max=65_535)] = 8081,
    api_key_file: Annotated[Path | None, typer.Option(help="With --http: text file with a key in each line.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quiet: Quiet = False,
) -> None:
    """Give indexes to agents by the Model Context Protocol: search, read, outline, documents. Nothing is changed.

    Over standard input and output, as clients on this machine start it; with --http for others.
    """
    console = stderr_console()
    with errors_explained(console, quiet=quiet, interrupted="the server has ended"):
        _require_serving()
        from latechunk.serving.limits import Limits
        from latechunk.serving.mcp import loading, make_mcp, make_mcp_app
        from latechunk.serving.run import allowed_hosts, ended_at_once, read_keys, serve
        from latechunk.serving.served import open_served, require_indexes

        of_http = {"--host": host != "127.0.0.1", "--port": port != 8081, "--api-key-file": api_key_file is not None}
        if not http:
            require_effect(of_http, "without --http")
        require_indexes(indexes)
        load = partial(open_served, indexes, runtime={"device": device, "dtype": dtype})
        if not http:
            served, close = loading(load)
            try:
                with ended_at_once(signal.SIGINT, signal.SIGTERM):
                    make_mcp(served).run("stdio")
            finally:
                close()
            return
        keys = read_keys(api_key_file) if api_key_file is not None else []
        hosts, limits = allowed_hosts(host, keys), Limits()
        with ended_at_once(signal.SIGTERM), spinner(console, "loading the models", quiet):
            opened = load()
        with opened:
            app = make_mcp_app(make_mcp(lambda: opened), limits, keys=keys, hosts=hosts)
            what = f"{_count_indexes(opened)} at /mcp"
            serve(app, host=host, port=port, limits=limits, on_ready=_announce(console, host, what, quiet))


def _require_serving() -> None:
    from latechunk.serving import require_serving

    require_serving()


def _count_indexes(served: Served) -> str:
    n_indexes = len(served.indexes)
    return "1 index" if n_indexes == 1 else f"{n_indexes} indexes"


def _announce(console: Console, host: str, what: str, quiet: bool) -> Callable[[int], None]:
    shown = f"[{host}]" if ":" in host else host

    def announce(port: int) -> None:
        if not quiet:
            print_message(console, f"serving {what} on http://{shown}:{port}")

    return announce


def _make_limits(
    tokens: int | None,
    inputs: int | None,
    body_mb: int | None,
    requests: int | None,
    batch_tokens: int | None,
    timeout: float | None,
) -> Limits:
    from latechunk.serving.limits import Limits

    chosen = given(
        tokens=tokens,
        inputs=inputs,
        body_bytes=None if body_mb is None else body_mb * 2**20,
        requests=requests,
        batch_tokens=batch_tokens,
        work_seconds=timeout,
    )
    if body_mb is not None:
        chosen["pending_bytes"] = max(Limits().pending_bytes, 4 * body_mb * 2**20)
    return Limits(**chosen)
