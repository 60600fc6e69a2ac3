"""What a test raises when it cannot run here."""

import shutil


class Skip(Exception):
    pass


def needs(*programs):
    """Skips the test, aloud, unless all programs are installed."""
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        raise Skip(f"{', '.join(missing)} not installed")
