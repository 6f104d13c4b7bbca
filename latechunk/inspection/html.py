"""Pages that need no other file: a template with its style, its script, and the policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from string import Template


def fill_page(package: str, style: str, script: str, template: str, *, policy: str, **values: str) -> tuple[str, str]:
    """Fill a template with a package's style, after the one that all pages share, its script, and ``values``.

    ``policy`` is what is allowed besides that style and that script, as a Content-Security-Policy. Returns the page,
    and its whole policy.
    """
    whole_style = _read(__package__, "base.css") + _read(package, style)
    code = _read(package, script)
    whole_policy = (
        f"default-src 'none'; style-src '{_hash(whole_style)}'; script-src '{_hash(code)}'; base-uri 'none'; "
        f"require-trusted-types-for 'script'; trusted-types 'none'; {policy}"
    )
    page = Template(_read(package, template))
    return page.substitute(style=whole_style, script=code, policy=whole_policy, **values), whole_policy


def _read(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    """What a page's policy calls the one script or style that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode('utf-8')).digest()).decode('ascii')}"
