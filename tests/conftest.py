"""What holds for all tests: an example that takes long on a busy machine is no failure."""

from __future__ import annotations

from hypothesis import settings

# Built upon the profile that hypothesis has chosen already: in CI it draws the same examples each time.
settings.register_profile("sipalg", deadline=None)
settings.load_profile("sipalg")
