"""Settings, set-up of this machine, and the local runtime: broker, registry, Redis and the processes of DataFlow."""
