"""What one session gets of a stimulus: the picture, noise that nobody sees, and a length that says nothing."""

import hashlib
import zlib
from io import BytesIO

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from PIL import Image

from turing_test.stimuli.session_bytes import DamagedStimulus, PixelCache, Pixels, decode_png, session_png

SEED, PROOF = bytes(range(32)), b"8 bytes!"


def with_noise(image, seed):
    return Pixels.of(image).with_noise(seed)


def encode(image):
    return session_png(Pixels.of(image), SEED, PROOF)


@pytest.fixture(scope="module")
def photo(photos):
    return np.ascontiguousarray(next(iter(photos.values()))[:96, :128])


def test_the_noise_is_of_one_level_at_most_without_bias_and_of_every_channel(photo):
    gray = np.full_like(photo, 128)
    noise = with_noise(gray, SEED).astype(int) - 128
    assert set(np.unique(noise)) == {-1, 0, 1}
    # 1/4, 1/2, 1/4, to five standard errors
    assert np.abs(noise.mean(axis=(0, 1))).max() < 5 * np.sqrt(0.5 / (96 * 128))
    assert np.abs((noise**2).mean(axis=(0, 1)) - 0.5).max() < 5 * 0.5 / np.sqrt(96 * 128)
    # neither neighbours nor channels go together
    flat = noise.reshape(-1, 3)
    assert np.abs(np.corrcoef(flat.T)[np.triu_indices(3, 1)]).max() < 0.05
    assert abs(np.corrcoef(flat[:-1, 0], flat[1:, 0])[0, 1]) < 0.05


def test_black_and_white_stay_within_range():
    ends = np.zeros((8, 8, 3), np.uint8)
    ends[4:] = 255
    noise = np.abs(with_noise(ends, SEED).astype(int) - ends)
    assert set(np.unique(noise)) == {0, 1}
    assert abs(noise.mean() - 0.5) < 5 * 0.5 / np.sqrt(noise.size)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 7, 3), (96, 128, 3)])
def test_the_noise_is_that_of_random_bits_whatever_lies_beside(shape):
    """As the definition says it, value by value: how many of two random bits are set, less one."""
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    n_bytes = shape[0] * (1 + 3 * shape[1])
    n_quarter = -(-n_bytes // 32) * 8
    stream = Cipher(algorithms.AES(SEED), modes.CTR(bytes(16))).encryptor().update(bytes(n_quarter))
    rows = np.full((shape[0], 1 + 3 * shape[1]), -1)
    rows[:, 1:] = image.reshape(shape[0], -1)
    for index, value in enumerate(rows.reshape(-1).tolist()):
        quarter, byte = divmod(index, n_quarter)
        bits = stream[byte] >> 2 * quarter & 3
        number = bits.bit_count()
        more = number & 1 if value in (0, 255) else number
        rows.reshape(-1)[index] = value if value == -1 else more + (value - 1 if value else 0)
    assert np.array_equal(with_noise(image, SEED), rows[:, 1:].reshape(shape))


def test_the_same_seed_gives_the_same_pixels_and_another_one_others(photo):
    assert np.array_equal(with_noise(photo, SEED), with_noise(photo, SEED))
    assert (with_noise(photo, SEED) != with_noise(photo, bytes(32))).mean() > 0.5


def test_the_file_is_a_png_of_these_pixels_that_ends_with_the_proof(photo):
    data = encode(photo)
    with Image.open(BytesIO(data)) as image:
        image.verify()
    assert np.array_equal(decode_png(data), with_noise(photo, SEED))
    assert data[-24:-16] == PROOF


@pytest.mark.parametrize("shape", [(1, 1, 3), (96, 128, 3), (5, 21_845, 3), (1, 65_534 // 3 + 1, 3), (2, 10_922, 3)])
def test_the_pixels_are_what_zlib_unpacks_and_both_checksums_are_its_own(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    data = encode(pixels)
    start = data.index(b"IDAT")
    length = int.from_bytes(data[start - 4 : start], "big")
    rows = np.zeros((shape[0], 1 + 3 * shape[1]), np.uint8)
    rows[:, 1:] = with_noise(pixels, SEED).reshape(shape[0], -1)
    stored = data[start + 4 : start + 4 + length]
    assert zlib.decompress(stored) == rows.tobytes()
    assert data[start + 4 + length :][:4] == zlib.crc32(data[start : start + 4 + length]).to_bytes(4, "big")


def test_the_length_depends_on_the_size_alone(photo):
    smooth, noisy = np.zeros_like(photo), np.random.default_rng(0).integers(0, 256, photo.shape, np.uint8)
    assert len({len(encode(image)) for image in (photo, smooth, noisy)}) == 1


def store(folder, pixels):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path = folder / f"{hashlib.sha256(buffer.getvalue()).hexdigest()}.png"
    path.write_bytes(buffer.getvalue())
    return path


def test_a_damaged_file_is_never_shown(tmp_path, photo):
    one, other = store(tmp_path, photo), store(tmp_path, 255 - photo)
    cache = PixelCache()
    assert not cache.has(one)
    assert np.abs(cache.read(one).with_noise(SEED).astype(int) - photo).max() == 1
    assert cache.has(one)
    content = one.read_bytes()
    other.write_bytes(content)  # truth and fake swapped
    with pytest.raises(DamagedStimulus, match="not those that the study was built with"):
        cache.read(other)
    other.unlink()
    with pytest.raises(DamagedStimulus, match="cannot be read"):
        cache.read(other)


def test_the_cache_keeps_to_its_limit_and_forgets_the_oldest(tmp_path, photo):
    paths = [store(tmp_path, np.roll(photo, k, axis=0)) for k in range(4)]
    cache = PixelCache(limit_bytes=2 * Pixels.of(photo).n_held_bytes)
    first = cache.read(paths[0])
    assert cache.read(paths[0]) is first
    for path in paths[1:]:
        cache.read(path)
    assert cache.read(paths[0]) is not first
    assert cache.read(paths[3]) is cache.read(paths[3])
