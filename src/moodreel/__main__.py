"""``python -m moodreel``."""

from moodreel.cli import main

if __name__ == "__main__":
    main()
