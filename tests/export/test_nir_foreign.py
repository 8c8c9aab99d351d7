"""The NIR file in other simulators, where they are installed: the spikes and answers that our reader foretells.

They ask for old versions of nir, so they live in an environment of their own:

    python -m venv nirvenv; nirvenv/bin/pip install torch norse sinabs pytest pytest-timeout hypothesis safetensors
    PYTHONPATH=src nirvenv/bin/python -m pytest tests/export/test_nir_foreign.py
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.export.nir_networks import draw_images, make_chain

nir = pytest.importorskip("nir")

from isospike.export import export_nir, read_nir  # noqa: E402

STEPS = 12
pytestmark = pytest.mark.filterwarnings("ignore")


def _record(module: Any, kind: str) -> dict[str, list[Tensor]]:
    """What each module of a kind gives, call by call."""
    seen: dict[str, list[Tensor]] = {}
    for name, part in module.named_modules():
        if type(part).__name__.startswith(kind):

            def note(_module: Any, _inputs: Any, output: Any, name: str = name) -> None:
                seen.setdefault(name, []).append(output[0] if isinstance(output, tuple) else output)

            part.register_forward_hook(note)
    return seen


def test_norse(tmp_path: Path) -> None:
    """norse resets to a value as NIR says, and equals our reader spike by spike. It takes one image at a time: its
    Flatten counts dimensions as if there were no batch."""
    norse = pytest.importorskip("norse.torch")
    graph = make_chain()
    path = export_nir(graph, tmp_path / "net.nir", "sum", v_reset=False).path
    _, pixels = draw_images(graph)
    record = read_nir(path).run(pixels, STEPS)
    for number, image in enumerate(pixels):
        module = norse.from_nir(nir.read(str(path)))
        seen, state, total = _record(module, "IAF"), None, torch.zeros(3)
        with torch.inference_mode():
            for _ in range(STEPS):
                output, state = module(image, state)
                total += output
        assert int(total.argmax()) == record.predictions[-1, number]
        for name, spikes in seen.items():
            assert [int(each.sum()) for each in spikes] == record.spikes[name][:, number].tolist()
        assert len(seen) == 2


def test_sinabs(tmp_path: Path) -> None:
    """sinabs subtracts the threshold, fires several spikes at once and bounds v from below, whatever the file says:
    other spikes than NIR's, and exactly those that our reader gives when told to do the same."""
    from_nir = pytest.importorskip("sinabs.nir").from_nir
    graph = make_chain()
    path = export_nir(graph, tmp_path / "net.nir", "sum", v_reset=False).path
    _, pixels = draw_images(graph)
    module = from_nir(nir.read(str(path)), batch_size=len(pixels))
    seen = _record(module, "IAF")
    with torch.inference_mode():
        frames = pixels[:, None].expand(-1, STEPS, -1, -1, -1).flatten(0, 1)
        output = module(frames)
    output = output[0] if isinstance(output, tuple) else output
    record = read_nir(path, reset="multiple").run(pixels, STEPS)
    assert output.reshape(len(pixels), STEPS, -1).sum(1).argmax(1).tolist() == record.predictions[-1].tolist()
    for name, (spikes,) in seen.items():
        counted = spikes.reshape(len(pixels), STEPS, -1).sum(2).T.long()
        assert torch.equal(counted, record.spikes[name])
    assert len(seen) == 2
    plain = read_nir(path).run(pixels, STEPS)
    assert any(not torch.equal(plain.spikes[name], record.spikes[name]) for name in seen)
