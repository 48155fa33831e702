"""`dfc.image` against formulas in plain loops, `colorsys`, `scipy.ndimage` and values that Pillow 13 gives."""

from __future__ import annotations

import colorsys
import math
from typing import Any

import numpy as np
import pytest
import scipy.ndimage

import dfc
from dfc.errors import DfcError, InvalidArgument, InvalidType

image: Any = dfc.image
SAMPLE = np.array([[0, 10, 40, 90, 160], [5, 3, 8, 1, 7], [100, -50, 25, 0, 12]], np.float32)[..., None]


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=shape)


# ---- resizing

PILLOW = {
    ("bilinear", 2, 3): [[4.2321429, 29.7777767, 82.9107132], [23.875, 3.7361112, 5.9464283]],
    ("bicubic", 2, 3): [[1.2995431, 29.3763332, 88.1016617], [25.0851955, -0.9318526, 1.9423881]],
    ("bilinear", 4, 7): [
        [0.0, 5.7142859, 18.5714283, 40.0, 75.7142868, 120.0, 160.0],
        [3.125, 4.5535717, 9.7321424, 20.0, 30.2678566, 47.2321434, 64.375],
        [40.625, 7.7678571, -7.9464288, 14.375, 4.5535712, 4.1607141, 8.875],
        [100.0, 14.2857141, -28.5714283, 25.0, 7.1428571, 5.1428571, 12.0],
    ],
    ("bicubic", 4, 7): [
        [-0.8802348, 3.6038575, 17.1711864, 41.6716423, 77.3965912, 130.4748535, 172.2649536],
        [-4.2806087, 3.0396934, 12.0951300, 18.7511692, 28.6560688, 48.3004913, 65.4723587],
        [44.1926041, 6.3560195, -13.8822012, 12.1000938, -0.7469857, -5.1439404, -1.6496953],
        [114.1509171, 11.4737883, -44.4752846, 25.8880596, 7.6205778, 3.6465662, 12.9784813],
    ],
}


@pytest.mark.parametrize(("method", "height", "width"), PILLOW)
def test_resize_gives_what_pillow_gives(method: str, height: int, width: int) -> None:
    found = image.resize(SAMPLE, (height, width), method=method, antialias=True).numpy()
    np.testing.assert_allclose(found[..., 0], PILLOW[method, height, width], atol=2e-5)


@pytest.mark.parametrize(("height", "width"), [(9, 4), (3, 3), (5, 7), (1, 1), (6, 12)])
def test_bilinear_is_linear_interpolation_between_centres(height: int, width: int) -> None:
    x = pixels(2, 5, 7, 3)
    rows = (np.arange(height) + 0.5) * 5 / height - 0.5
    columns = (np.arange(width) + 0.5) * 7 / width - 0.5
    grid = np.meshgrid(rows, columns, indexing="ij")
    found = image.resize(x, (height, width)).numpy()
    assert found.shape == (2, height, width, 3) and found.dtype == np.float64
    for i in range(2):
        for c in range(3):
            want = scipy.ndimage.map_coordinates(x[i, ..., c], grid, order=1, mode="nearest")
            np.testing.assert_allclose(found[i, ..., c], want, atol=1e-12)


@pytest.mark.parametrize(("size", "new"), [(5, 9), (5, 3), (6, 12), (12, 6), (7, 1), (1, 4)])
def test_nearest_takes_the_pixel_behind_the_centre(size: int, new: int) -> None:
    x = np.arange(size, dtype=np.int16).reshape(1, size, 1)
    expected = [math.floor((2 * i + 1) * size / (2 * new)) for i in range(new)]
    found = image.resize(x, (1, new), method="nearest")
    assert found.dtype is dfc.int16
    assert found.numpy().ravel().tolist() == expected


def test_bicubic_reproduces_quadratics_inside() -> None:
    place = np.arange(12) + 0.5
    x = (2 * place**2 - 3 * place + 1).reshape(1, 12, 1)
    found = image.resize(x, (1, 36), method="bicubic").numpy().ravel()[9:-9]
    new = (np.arange(36) + 0.5)[9:-9] / 3
    np.testing.assert_allclose(found, 2 * new**2 - 3 * new + 1, rtol=1e-12)


def test_antialiasing_by_a_whole_factor_keeps_the_mean_of_a_pattern() -> None:
    x = np.tile([0.0, 1.0], 16).reshape(1, 32, 1)
    smooth = image.resize(x, (1, 8), antialias=True).numpy().ravel()
    np.testing.assert_allclose(smooth[1:-1], 0.5, atol=1e-12)
    assert image.resize(x, (1, 8)).numpy().ravel().tolist() == [0.5] * 8
    assert np.ptp(image.resize(x, (1, 11)).numpy()) > 0.3


def test_infinite_pixels_stay_where_they_are() -> None:
    x = np.zeros((1, 6, 1))
    x[0, 0] = np.inf
    found = image.resize(x, (1, 12)).numpy().ravel()
    assert np.isinf(found[:2]).all() and (found[3:] == 0).all()


def test_small_floats_keep_their_dtype() -> None:
    found = image.resize(SAMPLE.astype(np.float16), (2, 3))
    assert found.dtype is dfc.float16
    np.testing.assert_allclose(found.numpy(), image.resize(SAMPLE, (2, 3)).numpy(), rtol=1e-3)


@pytest.mark.parametrize(("method", "antialias"), [("bilinear", False), ("bicubic", False), ("bicubic", True)])
def test_gradient_of_resize_is_its_transpose(method: str, antialias: bool) -> None:
    x, w = pixels(6, 5, 2), pixels(4, 7, 2, seed=1)

    def loss(x: Any) -> Any:
        return dfc.sum(image.resize(x, (4, 7), method=method, antialias=antialias) * w)

    gradient = dfc.grad(loss)(x).numpy()
    for at in ((0, 0, 0), (5, 4, 1), (2, 3, 0)):
        unit = np.zeros_like(x)
        unit[at] = 1
        np.testing.assert_allclose(gradient[at], loss(unit).item(), atol=1e-12)


# ---- cropping and padding


def test_crop_pad_and_central_crop() -> None:
    x = pixels(2, 6, 7, 3)
    np.testing.assert_array_equal(image.crop(x, 1, 2, 3, 4).numpy(), x[:, 1:4, 2:6])
    np.testing.assert_array_equal(image.central_crop(x, (3, 4)).numpy(), x[:, 1:4, 1:5])
    padded = image.pad_to(x, 1, 2, 9, 9, value=-1).numpy()
    np.testing.assert_array_equal(padded, np.pad(x, ((0, 0), (1, 2), (2, 0), (0, 0)), constant_values=-1))


def crop_and_resize(x: np.ndarray, boxes: np.ndarray, which: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By its definition, a pixel at a time."""
    _, h, w, channels = x.shape
    found = np.zeros((len(boxes), *size, channels))
    for b, (y1, x1, y2, x2) in enumerate(boxes):
        for i in range(size[0]):
            for j in range(size[1]):
                y = (y1 + (y2 - y1) * i / (size[0] - 1) if size[0] > 1 else (y1 + y2) / 2) * (h - 1)
                z = (x1 + (x2 - x1) * j / (size[1] - 1) if size[1] > 1 else (x1 + x2) / 2) * (w - 1)
                if not (0 <= y <= h - 1 and 0 <= z <= w - 1):
                    found[b, i, j] = -7
                    continue
                t, u = int(y), int(z)
                v, s = min(t + 1, h - 1), min(u + 1, w - 1)
                top = x[which[b], t, u] * (1 - (z - u)) + x[which[b], t, s] * (z - u)
                low = x[which[b], v, u] * (1 - (z - u)) + x[which[b], v, s] * (z - u)
                found[b, i, j] = top * (1 - (y - t)) + low * (y - t)
    return found


@pytest.mark.parametrize("size", [(3, 4), (1, 2), (7, 1)])
def test_crop_and_resize(size: tuple[int, int]) -> None:
    x = pixels(2, 5, 6, 3)
    boxes = np.array([[0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], [0.9, 0.8, 0.2, 0.1], [-0.5, 0.3, 0.5, 1.4]])
    which = np.array([0, 1, 1, 0])
    found = image.crop_and_resize(x, boxes, which, size, extrapolation_value=-7.0).numpy()
    np.testing.assert_allclose(found, crop_and_resize(x, boxes, which, size), atol=1e-12)


def test_gradients_of_crop_and_resize() -> None:
    x, which = pixels(2, 5, 6, 1), np.array([1, 0])
    boxes = np.array([[0.11, 0.23, 0.71, 0.93], [0.32, 0.13, 0.87, 0.66]])

    def loss(x: Any, boxes: Any) -> Any:
        return dfc.sum(dfc.square(image.crop_and_resize(x, boxes, which, (3, 2))))

    for argument, value in enumerate((x, boxes)):
        gradient = np.asarray(dfc.grad(loss, argnums=argument)(x, boxes))
        for at in np.ndindex(*value.shape):
            step = np.zeros_like(value)
            step[at] = 1e-6
            up, down = ([x + s, boxes] if argument == 0 else [x, boxes + s] for s in (step, -step))
            difference = (loss(*up).item() - loss(*down).item()) / 2e-6
            np.testing.assert_allclose(gradient[at], difference, atol=1e-6)


# ---- turning and colour


def test_turning() -> None:
    x = pixels(2, 3, 4, 2)
    np.testing.assert_array_equal(image.flip_left_right(x).numpy(), x[:, :, ::-1])
    np.testing.assert_array_equal(image.flip_up_down(x).numpy(), x[:, ::-1])
    for k in range(-1, 6):
        np.testing.assert_array_equal(image.rot90(x, k).numpy(), np.rot90(x, k, axes=(1, 2)))


GREY, PURE = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5]], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1]]
EDGES = np.array([[*GREY, *PURE]], float)


@pytest.mark.parametrize("x", [EDGES, pixels(2, 5, 7, 3)], ids=["edges", "random"])
def test_colours_against_colorsys(x: np.ndarray) -> None:
    rows = x.reshape(-1, 3)
    hsv = np.array([colorsys.rgb_to_hsv(*row) for row in rows]).reshape(x.shape)
    np.testing.assert_allclose(image.rgb_to_hsv(x).numpy(), hsv, atol=1e-12)
    rgb = np.array([colorsys.hsv_to_rgb(*row) for row in rows]).reshape(x.shape)
    np.testing.assert_allclose(image.hsv_to_rgb(x).numpy(), rgb, atol=1e-12)
    grey = np.array([0.299 * r + 0.587 * g + 0.114 * b for r, g, b in rows]).reshape(*x.shape[:-1], 1)
    np.testing.assert_allclose(image.rgb_to_grayscale(x).numpy(), grey, rtol=1e-12)
    turned = np.array([colorsys.hsv_to_rgb((h + 0.3) % 1, s, v) for h, s, v in hsv.reshape(-1, 3)])
    np.testing.assert_allclose(image.adjust_hue(x, 0.3).numpy(), turned.reshape(x.shape), atol=1e-12)
    strong = np.array([colorsys.hsv_to_rgb(h, min(s * 1.7, 1), v) for h, s, v in hsv.reshape(-1, 3)])
    np.testing.assert_allclose(image.adjust_saturation(x, 1.7).numpy(), strong.reshape(x.shape), atol=1e-12)


def test_gradients_of_colours_are_finite_at_grey_and_black() -> None:
    for function in (image.rgb_to_hsv, image.hsv_to_rgb):
        gradient = dfc.grad(lambda x, f=function: dfc.sum(f(x)))(EDGES).numpy()
        assert np.isfinite(gradient).all()


def test_brightness_contrast_and_gamma() -> None:
    x = pixels(2, 4, 5, 3)
    np.testing.assert_allclose(image.adjust_brightness(x, 0.2).numpy(), x + 0.2, rtol=1e-12)
    np.testing.assert_allclose(image.adjust_gamma(x, 2.2, gain=3).numpy(), 3 * x**2.2, rtol=1e-12)
    middle = np.array([[x[i, ..., c].sum() / 20 for c in range(3)] for i in range(2)])[:, None, None]
    for factor in (1.5, dfc.asarray(1.5)):
        found = image.adjust_contrast(x, factor).numpy()
        np.testing.assert_allclose(found, (x - middle) * 1.5 + middle, rtol=1e-12)


# ---- statistics


def test_standardization_variation_and_psnr() -> None:
    x = pixels(2, 4, 5, 3)
    found = image.per_image_standardization(x).numpy()
    for i in range(2):
        deviation = math.sqrt(((x[i] - x[i].sum() / 60) ** 2).sum() / 60)
        np.testing.assert_allclose(found[i], (x[i] - x[i].sum() / 60) / deviation, rtol=1e-10, atol=1e-12)
    assert image.per_image_standardization(np.ones((2, 2, 1))).numpy().ravel().tolist() == [0] * 4
    wanted = [sum(np.abs(np.diff(x[i], axis=a)).sum() for a in (0, 1)) for i in range(2)]
    np.testing.assert_allclose(image.total_variation(x).numpy(), wanted, rtol=1e-12)
    y = pixels(2, 4, 5, 3, seed=1)
    ratio = [10 * math.log10(1 / (((x[i] - y[i]) ** 2).sum() / 60)) for i in range(2)]
    np.testing.assert_allclose(image.psnr(x, y).numpy(), ratio, rtol=1e-10)
    assert np.isinf(image.psnr(x, x).numpy()).all()


def test_convert_dtype() -> None:
    floats = image.convert_dtype(np.array([0, 51, 255], np.uint8), "float32").numpy()
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, [0, 0.2, 1], rtol=2e-7)
    assert image.convert_dtype(np.array([-0.5, 0.2, 1, 7], np.float32), "uint8").numpy().tolist() == [0, 51, 255, 255]
    assert image.convert_dtype(np.array([0, 128, 255], np.uint8), "uint16").numpy().tolist() == [0, 32896, 65535]
    assert image.convert_dtype(np.array([0.5]), "float32").dtype is dfc.float32


# ---- chance


def test_random_crop_is_a_part_and_moves() -> None:
    x = np.arange(2 * 6 * 7).reshape(2, 6, 7, 1)
    seen = set()
    for seed in range(40):
        part = image.random_crop(x, (5, 5), key=dfc.random.key(seed)).numpy()
        top, left = divmod(int(part[0, 0, 0, 0]), 7)
        np.testing.assert_array_equal(part, x[:, top : top + 5, left : left + 5])
        seen.add((top, left))
    assert seen == {(row, column) for row in range(2) for column in range(3)}
    again = [image.random_crop(x[0], (5, 5), key=dfc.random.key(7)).numpy().tolist() for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize(("name", "axis"), [("random_flip_left_right", 1), ("random_flip_up_down", 0)])
def test_random_flip_is_per_image(name: str, axis: int) -> None:
    x = pixels(64, 2, 3, 1)
    found = getattr(image, name)(x, key=dfc.random.key(3)).numpy()
    flipped = [np.array_equal(found[i], np.flip(x[i], axis)) for i in range(64)]
    same = [np.array_equal(found[i], x[i]) for i in range(64)]
    assert all(a != b for a, b in zip(flipped, same, strict=True))
    assert 16 < sum(flipped) < 48


def test_random_brightness_and_contrast_stay_in_range() -> None:
    x = pixels(4, 5, 3)
    for seed in range(10):
        delta = image.random_brightness(x, 0.25, key=dfc.random.key(seed)).numpy() - x
        assert np.ptp(delta) < 1e-9 and abs(delta[0, 0, 0]) <= 0.25
        spread = np.std(image.random_contrast(x, 0.5, 2, key=dfc.random.key(seed)).numpy()[..., 0]) / np.std(x[..., 0])
        assert 0.5 <= spread <= 2


CASES: list[tuple[Any, type[DfcError], str]] = [
    (lambda: image.resize(np.ones((3, 4)), (2, 2)), InvalidArgument, "x must be (..., height, width, channels)"),
    (lambda: image.resize(SAMPLE, (2, 2), method="lanczos"), InvalidArgument, "one of nearest, bilinear, bicubic"),
    (lambda: image.resize(SAMPLE, (0, 2)), InvalidArgument, "size is two ints of at least 1, got (0, 2)"),
    (lambda: image.resize(np.ones((0, 2, 1)), (1, 1)), InvalidArgument, "there are no pixels in float64[0, 2, 1]"),
    (lambda: image.resize(np.ones((2, 2, 1), np.uint8), (1, 1)), InvalidType, "x must be floating, got uint8[2, 2, 1]"),
    (lambda: image.crop(SAMPLE, 1, 1, 3, 3), InvalidArgument, "the part (3, 3) from (1, 1) on must lie within"),
    (lambda: image.pad_to(SAMPLE, 0, 0, 2, 9), InvalidArgument, "must lie within height 2 and width 9"),
    (lambda: image.rgb_to_hsv(SAMPLE), InvalidArgument, "x must be (..., height, width, 3)"),
    (lambda: image.random_crop(SAMPLE, (4, 4)), InvalidArgument, "(4, 4) is more than float32[3, 5, 1] has"),
    (lambda: image.crop_and_resize(SAMPLE, [[0.0]], [0], (1, 1)), InvalidArgument, "(m, 4) and (m,) are needed"),
    (lambda: image.convert_dtype(np.array([True]), "uint8"), InvalidType, "pixels are integers or floats"),
]


@pytest.mark.parametrize(("call", "kind", "message"), CASES)
def test_errors(call: Any, kind: type[DfcError], message: str) -> None:
    with pytest.raises(DfcError) as caught:
        call()
    assert type(caught.value) is kind
    assert message in str(caught.value)
    assert "test_image_api.py:" in str(caught.value)
