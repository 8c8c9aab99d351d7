"""What a C program takes of flash and RAM, from its object files."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")

# compiler, the tool that shows an object's sections, flags
_TARGETS = {
    "host": ("cc", "size", ("-Os",)),
    "cortex-m4": ("arm-none-eabi-gcc", "arm-none-eabi-size", ("-Os", "-mcpu=cortex-m4", "-mthumb")),
}


@dataclass(frozen=True)
class Sizes:
    """Bytes.

    Attributes:
        constant_bytes: weights, thresholds and biases in flash.
        ram_bytes: the state of one network: potentials and counts. There is no heap, no static buffer, and a stack of
            some hundred bytes besides.
        flash_bytes: constants and code, compiled by ``cc -Os``; None where there is no C compiler.
        targets: flash of the object file by target, for the compilers that are there.
    """

    constant_bytes: int
    ram_bytes: int
    flash_bytes: int | None
    targets: dict[str, int] = field(default_factory=dict)


def measure_sizes(folder: Path, name: str, constant_bytes: int, ram_bytes: int) -> Sizes:
    """Compile ``NAME.c`` for every target whose compiler is there, and look at the object files."""
    targets = {}
    for target, (compiler, sizer, flags) in _TARGETS.items():
        if shutil.which(compiler) and shutil.which(sizer):
            measured = _measure(folder / f"{name}.c", compiler, sizer, flags)
            if measured is not None:
                targets[target] = measured
    return Sizes(constant_bytes, ram_bytes, targets.get("host"), targets)


def _measure(source: Path, compiler: str, sizer: str, flags: tuple[str, ...]) -> int | None:
    """Text, read-only data and data of the object file; None where the compiler does not manage."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "network.o"
        command = [compiler, *STRICT, *flags, "-c", str(source), "-o", str(target)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        shown = subprocess.run([sizer, str(target)], capture_output=True, text=True, check=True).stdout
    text, data = shown.splitlines()[1].split()[:2]
    return int(text) + int(data)
