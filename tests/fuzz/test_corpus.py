"""What fuzzing has found worth keeping is read without a surprise; and some of it is a graph."""

from pathlib import Path

from tests.fuzz.fuzz_graph import read_bytes

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


def test_corpus() -> None:
    found = [read_bytes(path.read_bytes()) for path in CORPUS]
    assert found.count("a graph") >= 2
    assert len(set(found)) >= 10
