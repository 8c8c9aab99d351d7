"""Fuzzing the reader of graph files with atheris: whatever the bytes, a graph or one line of error.

    pip install atheris
    python tests/fuzz/fuzz_graph.py -max_total_time=600 -dict=tests/fuzz/graph.dict NEW_CORPUS tests/fuzz/corpus

Bytes are taken in two ways, by the first one: as a whole file (f), or as the structure of a file whose tensors are good
(s): a random change of a safetensors header is nearly always refused by its parser, so nothing behind it would be seen.
pytest only reads the corpus: see test_corpus.py.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save

_TENSORS = {
    "pixels.offset": np.zeros(1, np.int64),
    "encoder.weight": np.ones((2, 1, 1, 1), np.int8),
    "neuron.threshold": np.array([1, 2]),
    "neuron.step": np.array([3, 1]),
    "classifier.weight": np.ones((2, 8), np.int8),
    "readout.bias": np.array([0, 1]),
}
_MEMORY = Path("/dev/shm")
_PATH = (_MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())) / "isospike-fuzz.safetensors"


def read_bytes(data: bytes) -> str:
    """Read ``data`` as a graph file: what came of it, in a word or in one line.

    Raises:
        AssertionError: the error is not what a user should see.
    """
    from isospike.errors import FileError, GraphError  # here, so that atheris can watch them being imported
    from isospike.graph import load_graph

    if data[:1] == b"s":
        _PATH.write_bytes(save(_TENSORS, {"graph": data[1:].decode("utf-8", "replace")}))
    else:
        _PATH.write_bytes(data[1:])
    try:
        load_graph(_PATH)
    except (GraphError, FileError) as error:
        message = str(error)
        assert message.startswith(f"{_PATH}: "), message
        assert "\n" not in message and len(message) < 2000, message
        return message.removeprefix(f"{_PATH}: ")
    return "a graph"


def main() -> None:
    """Fuzz until libFuzzer stops."""
    import atheris

    with atheris.instrument_imports(include=["isospike.graph", "isospike.files", "safetensors.numpy"]):
        import isospike.graph  # noqa: F401
    atheris.Setup(sys.argv, lambda data: read_bytes(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
