"""The tests know the shop's topics and metrics: others, of the shell or of `.env`, are left out here."""

import os

# Before anything of ours is imported. Tests of such contracts hand them to processes of their own.
os.environ.pop("DATAFLOW_CONTRACTS", None)
os.environ["DATAFLOW_ENV_FILE"] = ""
