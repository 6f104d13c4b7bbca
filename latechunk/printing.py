"""Make text of any origin safe to print: a terminal shows it and does not obey it."""


def printable_lines(text: str) -> str:
    """Text with its own line breaks and indents, without other control characters."""
    lines = text.expandtabs(4).strip("\n").split("\n")
    return "\n".join("".join(one if one.isprintable() else " " for one in line).rstrip() for line in lines)


def printable(text: str) -> str:
    """One line of text without control characters, which could otherwise steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text.strip())
