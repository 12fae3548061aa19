"""``python -m evalkit``: the command, where no script directory is on the path."""

from evalkit.cli import main

if __name__ == "__main__":
    main()
