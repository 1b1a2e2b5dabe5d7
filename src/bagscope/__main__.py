"""Run the command line as `python -m bagscope`."""

from bagscope.cli import main

if __name__ == "__main__":
    main()
