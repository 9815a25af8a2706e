"""`python -m keytrail`: the command line."""

from keytrail.cli import main

if __name__ == "__main__":
    main()
