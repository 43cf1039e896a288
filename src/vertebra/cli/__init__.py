"""The command line: a file for each command; `vertebra.cli.main` registers them."""
