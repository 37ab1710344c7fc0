"""`python -m gamepruning` is the command `gamepruning`."""

from gamepruning.workbench.cli.console import console

if __name__ == "__main__":
    console()
