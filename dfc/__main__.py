"""`python -m dfc` is the `dfc` command."""

from dfc.tools.cli import main

if __name__ == "__main__":
    main()
