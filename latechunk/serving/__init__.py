"""Models and indexes for others: vectors over HTTP in four dialects, search, and tools for agents (MCP)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from latechunk.errors import MissingDependencyError
from latechunk.printing import how_to_install
from latechunk.serving.limits import Limits

if TYPE_CHECKING:
    from latechunk.serving.app import make_app as make_app
    from latechunk.serving.mcp import make_mcp as make_mcp
    from latechunk.serving.served import Served as Served
    from latechunk.serving.served import open_served as open_served

__all__ = ["Limits", "Served", "make_app", "make_mcp", "open_served", "require_serving"]

_HOMES = {"Served": "served", "make_app": "app", "make_mcp": "mcp", "open_served": "served"}


def require_serving() -> None:
    """Raise a MissingDependencyError that says what to install, where the extra ``serve`` is not."""
    missing = [name for name in ("fastapi", "mcp", "prometheus_client", "uvicorn") if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f"serving needs {', '.join(missing)}; {how_to_install('serve')}")


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
