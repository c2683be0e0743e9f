"""`python -m safecompress.cli`."""

from safecompress.cli.app import main

if __name__ == "__main__":
    main()
