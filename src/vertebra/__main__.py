"""``python -m vertebra``: the command line."""

from vertebra.cli.main import main

if __name__ == "__main__":
    main()
