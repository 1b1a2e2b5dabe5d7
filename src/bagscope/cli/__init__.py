"""The command line: a verb loads its input, makes one call, and prints."""


def main() -> None:
    """Run the command line."""
    from bagscope.cli.app import run

    run()
