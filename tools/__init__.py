"""The command line: `dfc` and its subcommands, each of which loads only what it needs."""
