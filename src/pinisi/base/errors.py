"""Defines the errors meant for the user: each says what was got, what was needed, and what to do."""


class PinisiError(ValueError):
    """Base of every error that a user can mend; the command line prints it without a traceback."""


class ConfigError(PinisiError):
    """A configuration file or an override is wrong: names the file, the key and the nearest valid one."""


class ScheduleError(PinisiError):
    """A schedule cannot be run: names the rank, the step, the pass and what it waits for."""


class ModelError(PinisiError):
    """A model's configuration or weights cannot be used: names the file, the tensor or the architecture."""


class DataError(PinisiError):
    """Text, tokens or a tokenizer cannot be used: names the file and the place."""


class CheckpointError(PinisiError):
    """A checkpoint is missing, torn, or belongs to another run: names the file and what differs."""


class CommunicationError(PinisiError):
    """A rank is gone or a message never came: names the rank and its instruction."""
