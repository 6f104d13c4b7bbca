"""``python -m latechunk``: the command line, where its command is not on the path."""

from latechunk.cli import run

if __name__ == "__main__":
    run()
