"""Text for people: of any origin made safe to print, so that a terminal does not obey it, numbers and advice worded."""


def printable_lines(text: str) -> str:
    """Text with its own line breaks and indents, without other control characters."""
    lines = text.expandtabs(4).strip("\n").split("\n")
    return "\n".join("".join(one if one.isprintable() else " " for one in line).rstrip() for line in lines)


def printable(text: str) -> str:
    """One line of text without control characters, which could otherwise steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text.strip())


def counted(number: int, name: str) -> str:
    """Word a number of things: ``1 chunk``, ``1,200 chunks``."""
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def how_to_install(extra: str) -> str:
    """The command for a missing extra; latechunk is on no package index, so it is run in the clone."""
    return f'run `pip install ".[{extra}]"` in the clone of latechunk'
