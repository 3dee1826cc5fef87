"""Brings the artifacts of `ivy.xml` from Maven Central with Ivy, which ships inside pyspark: no Maven is needed."""

import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from infra.setup.java import Java
from infra.setup.truststore import write_truststore
from schemas.errors import SetupError

HERE = Path(__file__).parent
DEADLINE_S = 1_200


def retrieve(java: Java, target: Path, ivy_cache: Path) -> None:
    """Put every artifact at `{target}/{conf}/{file name}`; `ivy_cache` keeps what a broken attempt already brought.

    Raises SetupError with Ivy's last words.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            str(java.program),
            "-Xmx512m",
            *write_truststore(Path(scratch) / "trust.p12"),
            *_proxy_options(),
            *("-cp", str(_ivy_jar()), "org.apache.ivy.Main", "-warn"),
            *(
                "-settings",
                str(HERE / "ivysettings.xml"),
                "-ivy",
                str(HERE / "ivy.xml"),
                "-cache",
                str(ivy_cache),
            ),
            *("-retrieve", f"{target}/[conf]/[artifact]-[revision](-[classifier]).[ext]"),
            *("-types", "jar", "bundle", "tar.gz"),
        ]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=DEADLINE_S, cwd=scratch, check=False
            )
        except subprocess.TimeoutExpired:
            raise SetupError(
                f"Ivy did not bring the jars within {DEADLINE_S} s. Run `make setup` again."
            ) from None
    if done.returncode:
        words = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-15:]
        raise SetupError(
            "Ivy could not bring the jars from Maven Central. Check the network (HTTPS_PROXY is honoured), then run "
            "`make setup` again; what is already here is kept. Ivy said:\n  " + "\n  ".join(words)
        )


def _ivy_jar() -> Path:
    spec = find_spec("pyspark")
    found = sorted(Path(spec.origin).parent.glob("jars/ivy-*.jar")) if spec and spec.origin else []
    if not found:
        raise SetupError("pyspark, which brings Ivy, is not installed here. Run `make setup`.")
    return found[-1]


def _proxy_options() -> list[str]:
    """Java does not read HTTPS_PROXY by itself."""
    proxy = urlsplit(getproxies().get("https", ""))
    return (
        [f"-Dhttps.proxyHost={proxy.hostname}", f"-Dhttps.proxyPort={proxy.port or 443}"]
        if proxy.hostname
        else []
    )
