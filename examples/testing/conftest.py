"""All that a test suite of one's own needs: the fixtures of the test kit."""

pytest_plugins = ["dataflow.testing"]
