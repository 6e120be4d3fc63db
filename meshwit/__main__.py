"""`python -m meshwit`: the command line."""

from meshwit.cli import main

if __name__ == "__main__":
    main()
