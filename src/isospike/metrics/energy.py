"""Energy from counted operations and a table of what each costs; estimates, for comparing, not measurements."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EnergyTable:
    """What operations cost, in picojoules. Replace any of the numbers with ``dataclasses.replace``.

    Attributes:
        name: of the arithmetic.
        mac: a multiply-accumulate.
        ac: an accumulate (a synaptic operation of a spike).
        memory: one access to memory; 0 leaves memory out.
        accesses_per_mac: a weight and an activation are read; the sum stays in a register.
        accesses_per_ac: a weight is read, a membrane read and written.
        source: of the numbers.
    """

    name: str
    mac: float
    ac: float
    memory: float = 0.0
    accesses_per_mac: int = 2
    accesses_per_ac: int = 3
    source: str = "45 nm, 0.9 V: M. Horowitz, ISSCC 2014"

    def spend(self, *, macs: float = 0, acs: float = 0) -> float:
        """``macs * (mac + accesses_per_mac * memory) + acs * (ac + accesses_per_ac * memory)``, in picojoules."""
        mac = self.mac + self.accesses_per_mac * self.memory
        ac = self.ac + self.accesses_per_ac * self.memory
        return macs * mac + acs * ac


FLOAT32 = EnergyTable("float32", 4.6, 0.9)
INT32 = EnergyTable("int32", 3.2, 0.1)
INT8 = EnergyTable("int8", 0.23, 0.03)
TABLES = (FLOAT32, INT32, INT8)


@dataclass(frozen=True)
class Scaling:
    """What integer arithmetic of any width costs, in picojoules: adders grow with their bits, multipliers with the
    product of theirs.

    The points are Horowitz's (45 nm): a multiplier of 8 x 8 bits, adders of 8 and 32 bits, on a line between. At
    32 x 32 bits the multiplier is 3.2, where Horowitz has 3.1. That they scale so is our assumption.
    """

    multiply_8: float = 0.2
    add_8: float = 0.03
    add_32: float = 0.1

    def add(self, bits: int) -> float:
        """One addition of so many bits."""
        return self.add_8 + (bits - 8) * (self.add_32 - self.add_8) / 24

    def multiply(self, one: int, other: int) -> float:
        """One multiplication of so many bits by so many."""
        return self.multiply_8 * one * other / 64


@dataclass(frozen=True)
class LayerWork:
    """What one layer does for one image.

    Attributes:
        macs: of the ANN.
        sops: of the spiking network.
        weight_bits: of a weight.
        membrane_bits: of the sums, the same in both.
    """

    macs: float
    sops: float
    weight_bits: int
    membrane_bits: int


def count_bits(most: int) -> int:
    """``ceil(log2(most + 1))``: what counts of 0 to ``most`` need, and so an ANN that competes with them.

    Source: Yan, Bai and Wong, "Reconsidering the energy efficiency of spiking neural networks", 2024: T steps of at
    most one spike compete with ceil(log2(T + 1)) bits.
    """
    return most.bit_length()


def compare_equal_bits(
    layers: Mapping[str, LayerWork], activation_bits: int, scaling: Scaling | None = None
) -> tuple[float, float]:
    """The energy of the quantised ANN of equal bits, and of the spiking network, in picojoules.

    ``ANN = sum of MACs * (multiply(activation bits, weight bits) + add(membrane bits))``,
    ``SNN = sum of SOPs * add(membrane bits)``, over layers.
    """
    cost = scaling or Scaling()
    ann = snn = 0.0
    for layer in layers.values():
        add = cost.add(layer.membrane_bits)
        ann += layer.macs * (cost.multiply(activation_bits, layer.weight_bits) + add)
        snn += layer.sops * add
    return ann, snn
