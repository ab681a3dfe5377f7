"""``python -m ridgeline`` and the console script: the command line, in a checkout too, without installing."""

from ridgeline import terminal

terminal.catch_signals()  # before the imports of the command line, which take longer than a user's Ctrl-C

from ridgeline.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
