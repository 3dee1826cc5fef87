"""Readiness probes: ask a service whether it serves. Each returns True or False, fast, and never raises."""

import json
import socket
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

TIMEOUT_S = 2.0
Probe = Callable[[int], bool]


def kafka(bootstrap: str) -> Probe:
    """The broker answers a metadata request and counts itself in."""
    host, _, port = bootstrap.rpartition(":")

    def probe(_: int) -> bool:
        # A librdkafka client of a broker that is down complains on stderr: look first.
        if not _connects(host, int(port)):
            return False
        client = AdminClient({"bootstrap.servers": bootstrap, "socket.timeout.ms": 2_000, "log_level": 2})
        try:
            return bool(client.list_topics(timeout=TIMEOUT_S).brokers)
        except KafkaException:
            return False

    return probe


def redis(host: str, port: int, password: str | None) -> Probe:
    """The server answers PING with PONG: while it loads its file it answers -LOADING."""
    auth = f"*2\r\n$4\r\nAUTH\r\n${len(password.encode())}\r\n{password}\r\n" if password else ""
    request = (auth + "PING\r\n").encode()

    def probe(_: int) -> bool:
        try:
            with socket.create_connection((host, port), TIMEOUT_S) as connection:
                connection.sendall(request)
                answer = b""
                while answer.count(b"\r\n") < 1 + bool(auth):
                    if not (chunk := connection.recv(256)):
                        return False
                    answer += chunk
                return answer.endswith(b"+PONG\r\n")
        except OSError:
            return False

    return probe


def http(host: str, port: int, path: str) -> Probe:
    """GET answers 200."""

    def probe(_: int) -> bool:
        return _request(host, port, "GET", path) == 200

    return probe


def registry(host: str, port: int, health_port: int, api_path: str, compatibility: str) -> Probe:
    """The registry is ready, and its global compatibility is `compatibility`: out of the box it is NONE."""
    body = json.dumps({"compatibility": compatibility})

    def probe(_: int) -> bool:
        ready = _request(host, health_port, "GET", "/health/ready") == 200
        return ready and _request(host, port, "PUT", f"{api_path}/config", body) == 200

    return probe


def status_file(file: Path) -> Probe:
    """The process itself wrote `{"state": "running", "pid": its number, …}`; when does not matter, a clock may jump.

    Code of before says no number: then it is its own if the file was removed at the start.
    """

    def probe(pid: int) -> bool:
        try:
            status = json.loads(file.read_text())
            return status["state"] == "running" and status.get("pid", pid) == pid
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    return probe


def _connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _request(host: str, port: int, method: str, path: str, body: str | None = None) -> int | None:
    """The status of the answer. Not httpx: it reads the CA bundle for each client, 30 ms of CPU a probe."""
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        return connection.getresponse().status
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
