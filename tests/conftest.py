"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_configure(config):
    """Real data lies where MULIB_DATA says, or in ../shared/data beside the project."""
    beside = ROOT.parent / "shared" / "data"
    if "MULIB_DATA" not in os.environ and beside.is_dir():
        os.environ["MULIB_DATA"] = str(beside)


@pytest.fixture(scope="session")
def published():
    """The published logits of *Forget with Precision*; tests that need them are skipped where they are not."""
    from mulib import data

    found = data.find("forget-with-precision")
    if found is None:
        pytest.skip("the published logits are not here: set MULIB_DATA or run `mulib fetch forget-with-precision`")
    return found
