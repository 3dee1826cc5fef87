"""A Java truststore made from the CA bundle that Python uses on this machine.

The wheel's Java brings its own list of authorities, which lacks those that an organisation adds to its machines.
"""

import ssl
import warnings
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

# Not a secret: the file holds public certificates, and Java demands a password of every PKCS #12 file.
PASSWORD = "changeit"


def write_truststore(target: Path) -> list[str]:
    """Write the PKCS #12 file `target`; returns the options that make a JVM use it."""
    bundle = ssl.get_default_verify_paths().cafile or certifi.where()
    with warnings.catch_warnings():
        # Some authorities' certificates are older than the rules that the parser warns about.
        warnings.simplefilter("ignore")
        certificates = x509.load_pem_x509_certificates(Path(bundle).read_bytes())
        entries = [pkcs12.PKCS12Certificate(cert, f"ca{n}".encode()) for n, cert in enumerate(certificates)]
        encryption = BestAvailableEncryption(PASSWORD.encode())
        target.write_bytes(pkcs12.serialize_java_truststore(entries, encryption))
    return [
        f"-Djavax.net.ssl.trustStore={target}",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        f"-Djavax.net.ssl.trustStorePassword={PASSWORD}",
    ]
