"""The ways a command can end, each with its exit code."""


class BenchError(Exception):
    """Ends a command with one line on stderr and ``exit_code``."""

    exit_code = 1


class RunFailed(BenchError):
    """A run that was rightly asked for did not finish."""


class OutOfTime(BenchError):
    """The time that was given is over; what is finished is kept."""


class UsageError(BenchError):
    """Bad input: the line names the thing, the allowed values and the fix."""

    exit_code = 2


class Changed(UsageError):
    """The file of a stranger's method is no longer the one that a run was made with."""


class Busy(UsageError):
    """Another process is at work on the same run."""


class NothingSelected(BenchError):
    """The selection is valid and empty; a script must not take that for success."""

    exit_code = 3


class VerificationFailed(BenchError):
    """Something stated does not fit what is computed."""

    exit_code = 4
