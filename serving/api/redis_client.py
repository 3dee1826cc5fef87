"""The API's client of Redis: a bounded pool, and the identity of the server that it is connected to.

A server that comes back from its disk may be older than what was shown. Every new connection therefore asks for the
server's run id first, and readers compare it with the one that the materializer last claimed.
"""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ResponseError

from infra.settings import Settings

CONNECTIONS = 32


class ServerIdentity:
    """The run id of the server behind the newest connection; None where the server does not tell."""

    def __init__(self) -> None:
        self.run_id: str | None = None

    async def on_connect(self, connection: AbstractConnection) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        try:
            text = await connection.read_response()
        except ResponseError:
            self.run_id = None
            return
        lines = (line.partition(b":") for line in text.splitlines())
        self.run_id = next((value.decode() for name, _, value in lines if name == b"run_id"), None)


def connect(settings: Settings, identity: ServerIdentity) -> Redis:
    """A client that gives up on a server that hangs.

    A call on a connection that has died is repeated once on a new one: else every connection in the pool would fail a
    request after each restart of the server. All of the API's calls are reads, or may safely be repeated.
    """
    pool = BlockingConnectionPool(
        CONNECTIONS,
        timeout=5,
        host=settings.redis_host,
        port=settings.redis_port,
        db=settings.redis_db,
        password=settings.redis_password.get_secret_value() if settings.redis_password else None,
        socket_timeout=5,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
        redis_connect_func=identity.on_connect,
    )
    return Redis.from_pool(pool)
