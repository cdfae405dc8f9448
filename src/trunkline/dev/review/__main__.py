"""`python -m trunkline.dev.review`."""

from trunkline.dev.review import main

if __name__ == "__main__":
    raise SystemExit(main())
