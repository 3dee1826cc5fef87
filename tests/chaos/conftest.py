"""The seed of all chance in these tests: 7, or the environment variable CHAOS_SEED. It is printed, to be used again."""

import os

import pytest

SEED = int(os.environ.get("CHAOS_SEED", "7"))


def pytest_report_header() -> str:
    """Above the first test."""
    return f"chaos: CHAOS_SEED={SEED}"


@pytest.fixture(scope="session")
def seed() -> int:
    """Printed again with each test that fails."""
    print(f"CHAOS_SEED={SEED}")
    return SEED
