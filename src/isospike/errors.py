"""The one hierarchy of errors.

Each message names the layer or file, what came, what was expected, and the remedy, in one line. The
command line prints that line and exits with code 2.
"""


class IsospikeError(Exception):
    """Base of every error that isospike raises on purpose."""


class NotationError(IsospikeError):
    """A network notation that does not parse, or does not fit its input."""


class RecipeError(IsospikeError):
    """A recipe, or one of its keys, that cannot be used."""


class DataError(IsospikeError):
    """A dataset that is missing, unreadable, or of the wrong shape."""


class DeviceError(IsospikeError):
    """A device, or a group of processes, that is not there."""


class TrainingError(IsospikeError):
    """A training that cannot start, go on, or resume."""


class FileError(IsospikeError):
    """A file that cannot be read or written whole."""


class GraphError(IsospikeError):
    """A spiking graph that is malformed."""


class ConversionError(IsospikeError):
    """A network that a method cannot convert."""


class SimulationError(IsospikeError):
    """A simulation that was asked for something its graph cannot do."""


class ExportError(IsospikeError):
    """A graph that the format asked for cannot say, or a file of that format that cannot be read."""
