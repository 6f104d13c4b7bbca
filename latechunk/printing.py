"""Text of any origin in, text that a terminal shows and does not obey out."""


def printable(text: str) -> str:
    """One line of text without control characters, which could otherwise steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in text.strip())
