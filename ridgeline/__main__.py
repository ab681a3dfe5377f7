"""``python -m ridgeline``: the command line, in a checkout too, without installing."""

from ridgeline.cli import main

if __name__ == "__main__":
    main()
