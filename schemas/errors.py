"""The error tree of DataFlow. Every error says what was expected, what was seen and what to do.

    DataflowError
    ├── SettingsError     (Terminal)   a setting is missing or wrong
    ├── ContractError     (Terminal)   a schema, rule or metric declaration does not fit
    ├── EventError        (Terminal)   an event does not fit its contract: dead letter or refusal
    ├── SetupError        (Terminal)   this machine lacks something
    ├── GenerationError   (Terminal)   state and source no longer belong together
    └── Unavailable       (Transient)  a service does not answer: try again

`Transient` is tried again with back-off; `Terminal` is not: the record goes to the dead letters, or the process
stops with the message. Nobody looks into message texts to decide.
"""


class DataflowError(Exception):
    """Root of all errors that DataFlow raises on purpose."""


class Transient:
    """Mixin: the same call may succeed later."""


class Terminal:
    """Mixin: the same call fails again until somebody changes something."""


class SettingsError(DataflowError, Terminal):
    """A setting is missing or wrong; the message names the environment variable."""


class ContractError(DataflowError, Terminal):
    """A declaration (schema, rule, metric) does not fit; the message names the file and the field."""


class EventError(DataflowError, Terminal):
    """An event does not fit its contract. `rule` names the contract's rule that it breaks."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class SetupError(DataflowError, Terminal):
    """Something that DataFlow needs is missing on this machine; the message says how to get it."""


class GenerationError(DataflowError, Terminal):
    """Derived state and source topics no longer belong together; the message names the ways out."""


class Unavailable(DataflowError, Transient):
    """A service (broker, registry, Redis) does not answer now."""
