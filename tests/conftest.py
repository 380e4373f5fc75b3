"""Settings of all tests: no deadline for hypothesis (machines are shared), the same examples on every run."""

from hypothesis import settings

settings.register_profile("suite", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("suite")
