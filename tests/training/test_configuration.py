import warnings

import pytest
import torch

from isospike.errors import TrainingError
from isospike.training import TrainingConfig, schedule_rate


def list_rates(config: TrainingConfig, steps: int) -> list[float]:
    return [schedule_rate(config, step, steps) for step in range(steps)]


@pytest.mark.parametrize(("warmup", "steps"), [(0.3, 10), (0.25, 37), (0.5, 100), (0.1, 1000)])
def test_one_cycle_is_that_of_pytorch(warmup: float, steps: int) -> None:
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=0.4, total_steps=steps, pct_start=warmup, cycle_momentum=False
        )
        expected = []
        for _ in range(steps):
            expected.append(optimiser.param_groups[0]["lr"])
            if len(expected) < steps:
                cycle.step()
    config = TrainingConfig(epochs=1, learning_rate=0.4, schedule="one-cycle", warmup=warmup)
    assert list_rates(config, steps) == pytest.approx(expected, rel=1e-9)


def test_cosine_by_hand() -> None:
    config = TrainingConfig(epochs=1, learning_rate=0.8, schedule="cosine", warmup=0.2)
    # Two steps up; then eight steps at the angles 0, 1/8, ... of half a circle: 0.8 (1 + cos) / 2.
    expected = [0.4, 0.8, 0.8, 0.769552, 0.682843, 0.553073, 0.4, 0.246927, 0.117157, 0.030448]
    assert list_rates(config, 10) == pytest.approx(expected, abs=1e-6)


def test_constant_by_hand() -> None:
    config = TrainingConfig(epochs=1, learning_rate=0.3, schedule="constant", warmup=0.5)
    assert list_rates(config, 6) == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.3, 0.3])


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_any_schedule_of_any_length_stays_within_its_bounds(schedule: str, warmup: float, steps: int) -> None:
    config = TrainingConfig(epochs=1, learning_rate=0.5, schedule=schedule, warmup=warmup)  # type: ignore[arg-type]
    rates = list_rates(config, steps)
    assert all(0 <= rate <= 0.5 + 1e-12 for rate in rates)
    assert max(rates) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"train\.epochs: got 0, expected 1 or more"),
        ({"batch_size": 0}, r"train\.batch_size"),
        ({"learning_rate": float("nan")}, r"train\.learning_rate: got nan"),
        ({"learning_rate": -1.0}, r"train\.learning_rate"),
        ({"weight_decay": -1e-4}, r"train\.weight_decay"),
        ({"optimiser": "adam"}, r"train\.optimiser: got 'adam', expected one of adamw, sgd"),
        ({"momentum": 1.0}, r"train\.momentum"),
        ({"schedule": "step"}, r"train\.schedule"),
        ({"warmup": 1.0}, r"train\.warmup"),
        ({"label_smoothing": 1.0}, r"train\.label_smoothing"),
        ({"precision": "fp16"}, r"train\.precision: got 'fp16', expected one of float32, bf16"),
        ({"seed": -1}, r"train\.seed"),
        ({"gradient_clip": 0.0}, r"train\.gradient_clip"),
        ({"small_side": 0}, r"train\.small_side: got 0, expected 1 or more pixels, or none"),
        ({"small_until": 1.0}, r"train\.small_until"),
        ({"prune_images": 1.0}, r"train\.prune_images: got 1\.0, expected a probability, 0 to below 1"),
        ({"prune_from": -0.1}, r"train\.prune_from"),
        ({"prune_from": 0.5, "prune_until": 0.4}, r"train\.prune_until: got 0\.4, expected a share from .*0\.5"),
        ({"weights_from": 0.5, "weights_until": 0.4}, r"train\.weights_until: got 0.4, expected a share from .*0\.5"),
    ],
)
def test_settings_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        TrainingConfig(**{"epochs": 1, **options})
