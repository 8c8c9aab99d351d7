import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isospike.data import Augmentation, augment, crop_centre
from isospike.errors import DataError


def draw_images(n: int, channels: int = 2, height: int = 6, width: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def list_windows(image: Tensor, shift: int, size: tuple[int, int], fill: tuple[int, ...]) -> list[list[object]]:
    """Every window of one padded image, by plain loops."""
    _, height, width = image.shape
    padded = torch.tensor(fill, dtype=torch.uint8)[:, None, None].repeat(1, height + 2 * shift, width + 2 * shift)
    padded[:, shift : shift + height, shift : shift + width] = image
    rows, columns = size
    return [
        padded[:, top : top + rows, left : left + columns].tolist()
        for top in range(height + 2 * shift - rows + 1)
        for left in range(width + 2 * shift - columns + 1)
    ]


@settings(max_examples=40, deadline=None)
@given(
    shift=st.integers(0, 3),
    crop=st.none() | st.integers(1, 5),
    fill=st.tuples(st.integers(0, 255), st.integers(0, 255)),
    seed=st.integers(0, 99),
)
def test_every_image_is_a_window_of_its_padded_self(
    shift: int, crop: int | None, fill: tuple[int, int], seed: int
) -> None:
    images = draw_images(4, seed=seed)
    varied = augment(images, Augmentation(shift=shift, crop=crop, fill=fill), seeded(seed))
    size = (6, 5) if crop is None else (crop, crop)
    for before, after in zip(images, varied, strict=True):
        assert after.tolist() in list_windows(before, shift, size, fill)


def test_shifts_are_uniform_over_all_places() -> None:
    image = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    image[0, 0, 1, 1] = 255
    shifted = augment(image.expand(9000, 1, 3, 3), Augmentation(shift=1), seeded())
    places = (shifted == 255).sum(dim=0)[0]
    assert int(places.sum()) == 9000
    assert int((places - 1000).abs().max()) < 150


def test_a_flip_mirrors_about_half_the_images_and_twice_is_none() -> None:
    images = draw_images(1000)
    once = augment(images, Augmentation(flip=True), seeded())
    mirrored = (once == images.flip(-1)).all(dim=(1, 2, 3))
    kept = (once == images).all(dim=(1, 2, 3))
    assert bool((mirrored ^ kept).all())
    assert 430 < int(mirrored.sum()) < 570
    assert torch.equal(augment(once, Augmentation(flip=True), seeded()), images)


def test_alternate_flips_are_those_that_are_given() -> None:
    images = draw_images(3)
    flipped = augment(images, Augmentation(flip="alternate"), seeded(), torch.tensor([True, False, True]))
    assert torch.equal(flipped, torch.stack([images[0].flip(-1), images[1], images[2].flip(-1)]))
    with pytest.raises(DataError, match=r"augmentation\.flip: got 'alternate' for images that are not known"):
        augment(images, Augmentation(flip="alternate"), seeded())
    with pytest.raises(DataError, match=r"augmentation\.flip: got often, expected true, false or alternate"):
        Augmentation(flip="often")  # type: ignore[arg-type]


def test_contrast_stays_around_the_mean_of_each_image() -> None:
    # Two levels, 100 and 120, mean 110: with a gain g they become 110 - 10 g and 110 + 10 g.
    image = torch.tensor([[[[100, 120]]]], dtype=torch.uint8).expand(500, 1, 1, 2)
    low, high = augment(image, Augmentation(contrast=0.5), seeded())[:, 0, 0].int().unbind(dim=1)
    assert torch.equal(low + high, torch.full((500,), 220, dtype=torch.int32))
    assert (int(low.min()), int(low.max())) == (95, 105)


def test_brightness_adds_one_number_to_a_whole_image_and_clips() -> None:
    image = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8).expand(2000, 1, 1, 3)
    varied = augment(image, Augmentation(brightness=0.1), seeded())[:, 0, 0].int()
    added = varied[:, 1] - 128
    assert (int(added.min()), int(added.max())) in [(-25, 25), (-25, 26), (-26, 25), (-26, 26)]
    assert torch.equal(varied[:, 0], added.clamp(min=0))
    assert torch.equal(varied[:, 2], 255 + added.clamp(max=0))


def test_cutout_fills_a_square_that_the_border_may_cut() -> None:
    images = torch.full((300, 2, 6, 6), 9, dtype=torch.uint8)
    varied = augment(images, Augmentation(cutout=3, fill=(1, 2)), seeded())
    holes = varied[:, 0] == 1
    assert torch.equal(varied[:, 1] == 2, holes)
    assert torch.equal(varied[:, 0] == 9, ~holes)
    areas = holes.sum(dim=(1, 2))
    assert set(areas.tolist()) == {4, 6, 9}
    box = holes.any(dim=1).sum(dim=1) * holes.any(dim=2).sum(dim=1)
    assert torch.equal(box, areas)


def test_all_of_it_repeats_with_the_generator_and_leaves_the_input() -> None:
    config = Augmentation(shift=2, crop=4, flip=True, brightness=0.2, contrast=0.3, cutout=2, fill=7)
    images = draw_images(8)
    before = images.clone()
    first = augment(images, config, seeded(5))
    assert first.shape == (8, 2, 4, 4)
    assert first.dtype == torch.uint8
    assert torch.equal(first, augment(images, config, seeded(5)))
    assert not torch.equal(first, augment(images, config, seeded(6)))
    assert torch.equal(images, before)


def test_the_default_changes_nothing_and_draws_nothing() -> None:
    images, generator = draw_images(3), seeded()
    assert torch.equal(augment(images, Augmentation(), generator), images)
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_crop_centre() -> None:
    images = torch.arange(5 * 6).reshape(1, 1, 5, 6)
    assert crop_centre(images, 2).tolist() == [[[[8, 9], [14, 15]]]]
    assert torch.equal(crop_centre(draw_images(2, height=32, width=32), 24), draw_images(2, 2, 32, 32)[..., 4:28, 4:28])
    with pytest.raises(DataError, match="got 6, expected 1 to 5 for images of 5x6"):
        crop_centre(images, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shift": -1}, "augmentation.shift: got -1, expected 0 or more"),
        ({"crop": 0}, "augmentation.crop: got 0"),
        ({"contrast": 1.5}, "augmentation.contrast: got 1.5, expected 0 to 1"),
        ({"brightness": float("nan")}, "augmentation.brightness: got nan"),
        ({"cutout": -2}, "augmentation.cutout"),
        ({"fill": (0, 256)}, "augmentation.fill"),
    ],
)
def test_settings_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Augmentation(**options)


def test_images_that_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"got torch\.float32 of shape"):
        augment(draw_images(1).float(), Augmentation(flip=True), seeded())
    with pytest.raises(DataError, match=r"augmentation\.crop: got 6, expected at most 5"):
        augment(draw_images(1), Augmentation(crop=6), seeded())
    with pytest.raises(DataError, match="got 3 values, expected 1 or 2"):
        augment(draw_images(1), Augmentation(shift=1, fill=(1, 2, 3)), seeded())


def test_a_quarter_turn_is_a_quarter_turn_and_no_warp_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (3, 2, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    config = Augmentation(rotation=90)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.ones(shape))
    turned = augment(images, config, torch.Generator())
    assert torch.equal(turned, images.rot90(1, (2, 3))) or torch.equal(turned, images.rot90(-1, (2, 3)))
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 0.5))
    assert torch.equal(augment(images, Augmentation(rotation=90, scale=0.5), torch.Generator()), images)


def test_stretching_about_the_centre_and_fill_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.full((1, 1, 8, 8), 200, dtype=torch.uint8)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    small = augment(images, Augmentation(scale=0.5, fill=7), torch.Generator())
    assert (small[0, 0, 3:5, 3:5] == 200).all()
    assert (small[0, 0, 0] == 7).all()
    assert (small[0, 0, :, 0] == 7).all()


@pytest.mark.parametrize("config", [{"rotation": -1}, {"rotation": 181}, {"scale": 1.0}])
def test_warps_out_of_range(config: dict[str, float]) -> None:
    with pytest.raises(DataError, match=next(iter(config))):
        Augmentation(**config)  # type: ignore[arg-type]
