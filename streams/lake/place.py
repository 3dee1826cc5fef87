"""Where the tables of a lake lie."""

from infra.settings import Settings

MANIFESTS = "_manifests"  # the table that says what the others hold
DRAFT = ".new"  # behind the name of a lake that is in the making


def lake_root(settings: Settings, generation: str) -> str:
    """Where a generation's tables lie: under LAKE_URI, or in the environment's state directory."""
    if settings.lake_uri is None:
        return str(settings.state_dir / "lake" / generation)
    return str(settings.lake_uri / settings.dataflow_env / generation)
