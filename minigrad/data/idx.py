"""Reader of IDX files, the format of MNIST, Fashion-MNIST and their relatives.

A file is a header and the values. The header is two zero bytes, a byte for the type of the values, a byte for the
number of axes, and the length of each axis as a 32-bit big-endian number; the values follow in row-major order, also
big-endian (http://yann.lecun.com/exdb/mnist/). Files may be compressed by gzip, detected from their first bytes.

Headers are not trusted: a file must hold exactly what it declares, and memory is allocated only for bytes that were
read, up to a limit that also bounds the uncompressed size of a compressed file.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from .dataset import Dataset

__all__ = ["load_idx", "read_idx"]

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_AXES = 8
MAX_BYTES = 1 << 30
_CHUNK = 1 << 20


def load_idx(folder: str | os.PathLike[str], train: bool = True, max_bytes: int = MAX_BYTES) -> Dataset:
    """Read the images and labels in a folder with the four files of MNIST, Fashion-MNIST, or a set with the same names.

    Args:
        folder: holds ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, for ``train=False`` the same with
            ``t10k``. Names with a dot (``train-images.idx3-ubyte``) and files ending in ``.gz`` are found too.
        train: the training part or the test part.
        max_bytes: the largest size of one file, uncompressed; the features take four times as much memory.

    Returns:
        A dataset with float32 features of shape (n, height * width), from 0 to 1, and int64 labels of shape (n,).

    Raises:
        FileNotFoundError: if the folder or file does not exist; it lists the names that are accepted.
        ValueError: naming the file and the fault, if a file is damaged or the two files do not belong together.
    """
    part = "train" if train else "t10k"
    images_path, labels_path = _find(folder, part, "images", 3), _find(folder, part, "labels", 1)
    images, labels = read_idx(images_path, max_bytes), read_idx(labels_path, max_bytes)
    for path, array, ndim in ((images_path, images, 3), (labels_path, labels, 1)):
        if array.dtype != np.uint8 or array.ndim != ndim:
            raise ValueError(f"{path}: holds {array.dtype} {array.shape}, expected uint8 with {ndim} axes")
    if len(images) != len(labels):
        raise ValueError(f"{images_path} holds {len(images)} images, but {labels_path} {len(labels)} labels")
    features = images.reshape(len(images), -1) / np.float32(255)
    return Dataset(features, labels.astype(np.int64), Path(folder).resolve().name)


def read_idx(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> npt.NDArray[Any]:
    """Read the array in one IDX file, compressed by gzip or not, into the machine's byte order.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not an IDX file, is shorter or longer than it declares, or holds more than
            ``max_bytes``.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: is not a regular file")
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            return _read(path, file, os.fstat(file.fileno()).st_size, max_bytes)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(path, cast(BinaryIO, unpacked), None, max_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: damaged gzip file ({error})") from None


def _read(path: Path, file: BinaryIO, file_size: int | None, max_bytes: int) -> npt.NDArray[Any]:
    """Read an array. If ``file_size`` is known, it is compared with the header before any value is read."""
    dtype, shape = _read_header(path, file)
    size = dtype.itemsize * math.prod(shape)
    declared = f"{dtype.newbyteorder('=')} {shape} ({size:,} bytes)"
    if size > max_bytes:
        raise ValueError(f"{path}: declares {declared}, more than max_bytes={max_bytes:,}")
    if file_size is not None:
        held = file_size - file.tell()
        if held != size:
            raise ValueError(f"{path}: declares {declared}, but holds {held:,} bytes of values")
    values = bytearray()
    while len(values) < size:
        chunk = file.read(min(_CHUNK, size - len(values)))
        if not chunk:
            raise ValueError(f"{path}: declares {declared}, but ends after {len(values):,} bytes of values")
        values += chunk
    if file.read(1):
        raise ValueError(f"{path}: declares {declared}, but holds more; the header is wrong")
    return np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_header(path: Path, file: BinaryIO) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4:
        raise ValueError(f"{path}: ends inside the header")
    if magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        raise ValueError(f"{path}: is not an IDX file; it starts with the bytes {magic.hex(' ')}")
    axes = magic[3]
    if not 1 <= axes <= MAX_AXES:
        raise ValueError(f"{path}: declares {axes} axes; only 1 to {MAX_AXES} can be read")
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ValueError(f"{path}: ends inside the header")
    shape = struct.unpack(f">{axes}I", lengths)
    if 0 in shape:
        raise ValueError(f"{path}: declares shape {shape}, which is empty")
    return np.dtype(DTYPES[magic[2]]), shape


def _find(folder: str | os.PathLike[str], part: str, content: str, ndim: int) -> Path:
    """Return the path of a part and content under any of its usual names."""
    names = [f"{part}-{content}{mark}idx{ndim}-ubyte{end}" for end in ("", ".gz") for mark in ("-", ".")]
    for name in names:
        path = Path(folder, name)
        if path.is_file():
            return path
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    raise FileNotFoundError(f"{folder}: has no {part} {content}; looked for {', '.join(names)}")
