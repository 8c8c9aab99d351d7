"""``python -m isospike``: the command line, so that torchrun can start it."""

from isospike.cli import main

if __name__ == "__main__":
    main()
