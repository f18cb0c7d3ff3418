"""Tensor files: named arrays and a JSON document in one safetensors file, under a checksum.

The document stands in the file's metadata under the key ``minigrad``. Its ``sha256`` is that of the whole file with
the checksum itself written as zeros, so every bit of the file is covered. Other programs read the arrays as they do
those of any safetensors file (https://github.com/huggingface/safetensors).

Nothing in a file is believed before it is checked: the size of the file is bounded before it is read, the header
before it is parsed, and every declared length must fit the bytes that are there before an array is made.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..files import read_bounded, write_atomically

Array = npt.NDArray[Any]
Document = dict[str, Any]

# What a model or an optimizer can hold, by the names of the format.
DTYPES = {"F32": 4, "F64": 8, "F16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
MAX_HEADER = 1 << 26
MAX_BYTES = 1 << 33
_KEY = "minigrad"
_ZEROS = "0" * 64


class TensorFileError(ValueError):
    """A file that is damaged, foreign, or does not fit; the text names it."""


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Array], document: Document) -> Path:
    """Write arrays and a document atomically.

    Raises:
        OSError: naming the file, which is as before.
    """
    from safetensors.numpy import save

    text = json.dumps({"sha256": _ZEROS, **document}, allow_nan=False, sort_keys=True)
    # The format stores arrays in row-major order as they lie in memory; a view must be copied first.
    data = save({name: np.asarray(array, order="C") for name, array in tensors.items()}, {_KEY: text})
    digest = hashlib.sha256(data).hexdigest()
    start = data.index(_ZEROS.encode(), 8)
    return write_atomically(path, b"".join((data[:start], digest.encode(), data[start + 64 :])))


def read_tensors(
    path: str | os.PathLike[str], max_bytes: int = MAX_BYTES, *, signed: bool = True
) -> tuple[dict[str, Array], Document]:
    """The arrays and the document of a file.

    Args:
        path: the file.
        max_bytes: the most that it may hold.
        signed: whether it must be one of minigrad's, with a checksum. Otherwise any safetensors file will do, with an
            empty document; a checksum that is there must be right even so.

    Raises:
        FileNotFoundError: if there is no such file.
        TensorFileError: if it is damaged, or no such file; the text names it.
    """
    path = Path(path)
    try:
        data = read_bounded(path, max_bytes)
        header = _header(data)
        document = _document(data, header, signed)
        _check_lengths(header, data)
        return _arrays(data), document
    except OSError:
        raise
    except (ValueError, RecursionError) as error:
        text = str(error).removeprefix(f"{path}: ") or "nested too deeply"
        raise TensorFileError(f"{path}: {text}") from None


def _header(data: bytes) -> dict[str, Any]:
    if len(data) < 8:
        raise ValueError("is no safetensors file; it is shorter than a header")
    (length,) = struct.unpack("<Q", data[:8])
    if length > MAX_HEADER or length > len(data) - 8:
        raise ValueError(f"is damaged, or no safetensors file: it declares a header of {length:,} bytes")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is damaged, or no safetensors file: its header is no JSON ({error})") from None
    if not isinstance(header, dict):
        raise ValueError("is damaged, or no safetensors file: its header is no table")
    return header


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _document(data: bytes, header: dict[str, Any], signed: bool) -> Document:
    metadata = header.pop("__metadata__", {})
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    # With a bit flipped in its key, a document of ours must not pass for another program's.
    if text is None and not signed and "sha256" not in json.dumps(metadata):
        return {}
    if not isinstance(text, str):
        raise ValueError("was not written by minigrad")
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is damaged: its document is no JSON ({error})") from None
    digest = document.pop("sha256", None) if isinstance(document, dict) else None
    start = data.find(digest.encode(), 8) if isinstance(digest, str) and len(digest) == 64 else -1
    if start < 0:
        raise ValueError("is damaged: it has no checksum")
    check = hashlib.sha256(data[:start])
    check.update(_ZEROS.encode())
    check.update(memoryview(data)[start + 64 :])
    if check.hexdigest() != digest:
        raise ValueError("is damaged: its checksum does not fit its content")
    return document


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _check_lengths(header: dict[str, Any], data: bytes) -> None:
    """Every array must declare the bytes that it has, one after the other to the end of the file."""
    held = len(data) - 8 - struct.unpack("<Q", data[:8])[0]
    spans = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"is damaged: {name!r:.80} is no entry of an array")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise ValueError(f"{name!r:.80} has the dtype {dtype!r:.20}, which minigrad does not read")
        if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2 or len(shape) > 32:
            raise ValueError(f"is damaged: {name!r:.80} declares no possible shape or place")
        start, stop = offsets
        if stop - start != math.prod(shape) * DTYPES[dtype]:
            raise ValueError(f"is damaged: {name!r:.80} declares {dtype} {shape!r:.80}, but has {stop - start:,} bytes")
        spans.append((start, stop))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise ValueError("is damaged: its arrays overlap or leave gaps")
        end = stop
    if end != held:
        raise ValueError(f"is damaged: it declares {end:,} bytes of values, but holds {held:,}")


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 48 for v in values)


def _arrays(data: bytes) -> dict[str, Array]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"is damaged: {error}") from None
