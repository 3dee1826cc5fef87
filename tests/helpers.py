"""Small tools of many tests, which are the test kit's own."""

from dataflow.testing.services import isolated_settings
from dataflow.testing.wait import wait_for

__all__ = ["isolated_settings", "wait_for"]
