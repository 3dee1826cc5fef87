"""The local runtime: services and jobs as child processes of one supervisor."""
