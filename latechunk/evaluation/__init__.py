"""Measure how well chunks are found: sets of questions, ways to score chunks, measures, statistics and a report."""

import importlib.util
from collections.abc import Sequence

from latechunk.errors import MissingDependencyError
from latechunk.printing import how_to_install

_PACKAGES = ("ir_measures", "scipy", "jinja2", "matplotlib")


def require_packages(
    purpose: str = "an evaluation", packages: Sequence[str] = _PACKAGES, extra: str = "evaluation"
) -> None:
    """Raise unless the packages of an extra are installed.

    Raises:
        MissingDependencyError: It names what is missing and the extra that brings it.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(f"{purpose} needs {', '.join(missing)}; {how_to_install(extra)}")
