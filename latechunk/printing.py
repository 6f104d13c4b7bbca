"""Make text of any origin safe to print: a terminal shows it and does not obey it."""


def printable(text: str) -> str:
    """One line of text without control characters, which could otherwise steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text.strip())
