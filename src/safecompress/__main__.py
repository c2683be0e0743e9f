"""`python -m safecompress`, the same as the command `safecompress`."""

from safecompress_command import main

if __name__ == "__main__":
    main()
