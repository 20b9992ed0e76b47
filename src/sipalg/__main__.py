"""`python -m sipalg` is `sipalg`."""

from sipalg.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
