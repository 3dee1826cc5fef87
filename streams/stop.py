"""The wish of SIGTERM or SIGINT, as a flag: py4j does not survive an exception thrown into the middle of a call."""

import signal


class StopRequest:
    """Set by a signal, read between two steps of the driver."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        """Take over both signals; again after Spark has started, which installs a handler of its own for SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True
