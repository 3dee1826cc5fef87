"""DataFlow's command line."""
