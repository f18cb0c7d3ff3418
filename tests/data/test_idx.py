"""The reader of IDX files, on files made here: good, damaged and hostile."""

import gzip
import os
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.data import load_idx, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def header(code, *shape):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


def idx(array):
    array = np.asarray(array)
    return header(CODES[array.dtype.str[1:]], *array.shape) + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
LABELS = np.array([7, 0, 9], np.uint8)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_type_of_value_is_read_compressed_or_not(tmp_path, code, pack):
    array = np.arange(24).reshape(2, 3, 4).astype(code) - np.asarray(3, code)
    (tmp_path / "file").write_bytes(pack(idx(array)))
    read = read_idx(tmp_path / "file")
    assert read.dtype == np.dtype(code)
    assert np.array_equal(read, array)


def write_folder(folder, mark, end, parts=("train", "t10k")):
    for part in parts:
        for content, ndim, array in (("images", 3, IMAGES), ("labels", 1, LABELS)):
            pack = gzip.compress if end else bytes
            (folder / f"{part}-{content}{mark}idx{ndim}-ubyte{end}").write_bytes(pack(idx(array)))


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("train", [True, False])
def test_a_folder_is_read_under_all_its_usual_names(tmp_path, mark, end, train):
    write_folder(tmp_path, mark, end, parts=("train",) if train else ("t10k",))
    dataset = load_idx(tmp_path, train=train)
    assert dataset.features.dtype == np.float32
    assert np.array_equal(dataset.features, IMAGES.reshape(3, 20) / np.float32(255))
    assert dataset.labels.dtype == np.int64
    assert np.array_equal(dataset.labels, LABELS)


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent: no such folder"):
        load_idx(tmp_path / "absent")
    write_folder(tmp_path, "-", "", parts=("train",))
    with pytest.raises(FileNotFoundError, match="has no t10k images; looked for t10k-images-idx3-ubyte, "):
        load_idx(tmp_path, train=False)


def test_images_and_labels_of_different_number_are_refused(tmp_path):
    write_folder(tmp_path, "-", "")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS[:2]))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte holds 3 images, but .*labels.* 2 labels"):
        load_idx(tmp_path)


@pytest.mark.parametrize("wrong", [IMAGES.astype(np.int32), IMAGES.reshape(3, 20)])
def test_images_of_another_type_or_rank_are_refused(tmp_path, wrong):
    write_folder(tmp_path, "-", "")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(wrong))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte: holds .* expected uint8 with 3 axes"):
        load_idx(tmp_path)


GOOD = idx(IMAGES)
DAMAGED = {
    "nothing": (b"", "ends inside the header"),
    "half a magic number": (GOOD[:3], "ends inside the header"),
    "half a shape": (GOOD[:9], "ends inside the header"),
    "other magic": (b"\x89PNG" + GOOD[4:], "is not an IDX file; it starts with the bytes 89 50 4e 47"),
    "unknown type": (b"\0\0\x0a\x03" + GOOD[4:], "is not an IDX file"),
    "no axes": (header(0x08), "declares 0 axes"),
    "too many axes": (header(0x08, *[1] * 255) + b"\0", "declares 255 axes"),
    "an axis of length 0": (header(0x08, 0, 2**32 - 1, 2**32 - 1), "declares shape .* which is empty"),
    "one byte short": (GOOD[:-1], r"declares uint8 \(3, 4, 5\) \(60 bytes\), but"),
    "one byte long": (GOOD + b"\0", r"declares uint8 \(3, 4, 5\) \(60 bytes\), but holds"),
    "a gigantic declared size": (
        header(0x0E, *[2**32 - 1] * 8) + b"\0",
        "declares float64 .* more than max_bytes=1,073,741,824",
    ),
    "a declared size just below the limit": (header(0x08, 2**30) + b"\0", r"declares uint8 \(1073741824,\) .* but"),
}


@pytest.mark.parametrize("fault", DAMAGED)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_damaged_file_is_refused_by_name_and_fault_without_taking_memory(tmp_path, fault, pack):
    content, message = DAMAGED[fault]
    path = tmp_path / "damaged-idx"
    path.write_bytes(pack(content))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"damaged-idx: {message}"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_left_after_what_its_header_declares(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(100_000_000)))
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="but holds more"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_whose_header_tells_the_truth_is_bounded_by_max_bytes(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(header(0x08, 50_000_000) + bytes(50_000_000)))
    with pytest.raises(ValueError, match="more than max_bytes=10,000,000"):
        read_idx(path, max_bytes=10_000_000)


@pytest.mark.parametrize("cut", [1, 12, 20, -9, -1])
def test_a_truncated_gzip_file_is_refused(tmp_path, cut):
    (tmp_path / "cut.gz").write_bytes(gzip.compress(GOOD)[:cut])
    with pytest.raises(ValueError, match=r"cut.gz: "):
        read_idx(tmp_path / "cut.gz")


def test_a_gzip_file_with_a_flipped_bit_is_refused(tmp_path):
    packed = bytearray(gzip.compress(idx(np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8))))
    for place in (len(packed) // 2, len(packed) - 6):
        damaged = packed.copy()
        damaged[place] ^= 1
        (tmp_path / "flipped.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"flipped.gz: damaged gzip file"):
            read_idx(tmp_path / "flipped.gz")


@given(
    place=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255), end=st.integers(0, len(GOOD)), packed=st.booleans()
)
@settings(max_examples=300, deadline=None)
def test_no_damage_to_a_byte_or_the_end_causes_anything_but_a_clear_error(tmp_path_factory, place, value, end, packed):
    path = tmp_path_factory.getbasetemp() / "fuzzed-idx"
    content = bytearray(gzip.compress(GOOD) if packed else GOOD)
    content[place % len(content)] = value
    path.write_bytes(content[:end] if end % 2 else content)
    try:
        message, size = "", read_idx(path).nbytes
    except ValueError as error:
        message, size = str(error), 0
    assert size == IMAGES.size or message.startswith(f"{path}: ")


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path):
    with pytest.raises(ValueError, match="is not a regular file"):
        read_idx(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_idx(tmp_path / "absent")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ValueError, match="is not a regular file"):
            read_idx(tmp_path / "pipe")
