"""The zoo: trained spiking networks that come with the package, each with its recipe and its metrics.

    import isospike.zoo
    snn = isospike.zoo.load("all-integer-mnist")

Reading a network needs no PyTorch. :mod:`isospike.zoo.running` simulates one on its test set and compares what comes
out with what was recorded; ``benchmarks/zoo.py`` adds networks, and verifies them all.
"""

from isospike.zoo.catalogue import Entry, find, load, names

__all__ = ["Entry", "find", "load", "names"]
