"""`python -m meshmetrics`."""

from meshmetrics.cli import main

if __name__ == "__main__":
    main()
