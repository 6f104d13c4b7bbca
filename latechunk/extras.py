"""What to do where the packages of an extra are missing."""


def how_to_install(extra: str) -> str:
    """The command for an extra; latechunk is on no package index, so it is run in the clone."""
    return f'run `pip install ".[{extra}]"` in the clone of latechunk'
