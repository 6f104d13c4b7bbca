"""``python -m latechunk`` and ``latechunk``: the command line, which is loaded here."""

import signal


def run() -> None:
    """Entry point of the console script; Ctrl-C while modules are loaded ends it without a traceback."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # it may be ignored, as in the background
    if is_usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from latechunk.cli import run as run_command

    if is_usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run_command()


if __name__ == "__main__":
    run()
