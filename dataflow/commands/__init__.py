"""The subcommands of `dataflow`, one module each."""
