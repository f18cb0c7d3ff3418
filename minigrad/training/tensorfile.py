"""Tensor files: named arrays and a JSON document in one safetensors file, with a checksum.

The document is stored in the file's metadata under the key ``minigrad``. Its ``sha256`` is the checksum of the whole
file with zeros in place of the checksum itself, so it covers every bit. Other programs read the arrays as they do those
of any safetensors file (https://github.com/huggingface/safetensors).

The size of a file is bounded before it is read, and the safetensors library checks what the header declares (dtypes,
shapes, gaps, overlaps, truncation) before it makes an array.
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

from ..autograd.tensor import Tensor
from ..devices.arrays import is_array, to_host
from ..files import parse_json, read_bounded, write_atomically

Array = npt.NDArray[Any]
Document = dict[str, Any]

MAX_BYTES = 1 << 33
_KEY = "minigrad"
_ZEROS = "0" * 64


class TensorFileError(ValueError):
    """A file that is damaged, of another kind, or of another model; the text names the file."""


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Array], document: Document) -> Path:
    """Write arrays and a document atomically.

    Raises:
        OSError: naming the file; the file from before stays.
    """
    from safetensors.numpy import save  # imported on first use, so that a run without files starts sooner

    text = json.dumps({"sha256": _ZEROS, **document}, allow_nan=False, sort_keys=True)
    # The format stores the memory of an array in row-major order; a view must be copied first.
    data = save({name: np.asarray(array, order="C") for name, array in tensors.items()}, {_KEY: text})
    digest = hashlib.sha256(data).hexdigest()
    start = data.index(_ZEROS.encode(), 8)
    return write_atomically(path, b"".join((data[:start], digest.encode(), data[start + 64 :])))


def read_tensors(
    path: str | os.PathLike[str], max_bytes: int = MAX_BYTES, *, signed: bool = True
) -> tuple[dict[str, Array], Document]:
    """Read the arrays and the document of a file.

    Args:
        path: the file.
        max_bytes: the largest size that is read.
        signed: whether the file must have a document with a checksum, as `write_tensors` writes it. Otherwise any
            safetensors file is read, with an empty document; a checksum in the file must still be right.

    Raises:
        FileNotFoundError: if the file does not exist.
        TensorFileError: naming the file, if it is damaged, too large, or not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = read_bounded(path, max_bytes)
        document = _document(path, data, signed)
    except ValueError as error:
        raise TensorFileError(str(error)) from None
    try:
        return load(data), document
    except KeyError as error:
        raise TensorFileError(f"{path}: holds the dtype {error}, which NumPy does not have") from None
    except (SafetensorError, ValueError) as error:  # the second is NumPy's, for too many axes
        raise TensorFileError(f"{path}: is damaged, or not a safetensors file: {error}") from None


def _document(path: str | os.PathLike[str], data: bytes, signed: bool) -> Document:
    """The document in the file's metadata, after its checksum was compared with the bytes of the file."""
    (length,) = struct.unpack("<Q", data[:8]) if len(data) >= 8 else (0,)
    if not 0 < length <= len(data) - 8:
        raise ValueError(f"{path}: is damaged, or not a safetensors file: it declares a header of {length:,} bytes")
    header = parse_json(path, data[8 : 8 + length])
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    # With one bit flipped in its key, a document of minigrad must not pass as another program's metadata.
    if text is None and not signed and "sha256" not in json.dumps(metadata):
        return {}
    if not isinstance(text, str):
        raise ValueError(f"{path}: was not written by minigrad")
    document = parse_json(path, text)
    digest = document.pop("sha256", None) if isinstance(document, dict) else None
    start = data.find(digest.encode(), 8) if isinstance(digest, str) and len(digest) == 64 else -1
    if start < 0:
        raise ValueError(f"{path}: is damaged: it has no checksum")
    check = hashlib.sha256(data[:start])
    check.update(_ZEROS.encode())
    check.update(memoryview(data)[start + 64 :])
    if check.hexdigest() != digest:
        raise ValueError(f"{path}: is damaged: its checksum does not match its content")
    return document


# --- nested state ----------------------------------------------------------------------------------------------------

# A dictionary with one of these as its only key replaces a value that JSON does not have.
_ARRAY, _NUMBER = "$array", "$number"
_NUMBERS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def take_arrays(tree: Any, arrays: dict[str, Array], path: str = "") -> Any:
    """Return nested state as JSON can hold it, and put its arrays into ``arrays`` by path, such as ``model/0.weight``.

    Arrays on a GPU are copied to the CPU, so that a file does not depend on the device.

    Raises:
        TypeError: for a value other than a dictionary with text keys, a list, an array, text, a number or ``None``.
    """
    if isinstance(tree, Tensor):
        tree = tree.data
    if is_array(tree):
        arrays[path] = to_host(tree)
        return {_ARRAY: path}
    if isinstance(tree, Mapping):
        if not all(isinstance(key, str) for key in tree):
            raise TypeError(f"state at {path or 'the top'!r}: the keys must be text")
        return {key: take_arrays(value, arrays, f"{path}/{key}" if path else key) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [take_arrays(value, arrays, f"{path}/{i}") for i, value in enumerate(tree)]
    if isinstance(tree, np.generic):
        tree = tree.item()
    if isinstance(tree, float) and not math.isfinite(tree):
        return {_NUMBER: str(tree)}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"state at {path!r}: {type(tree).__name__} cannot be saved")


def put_arrays(tree: Any, arrays: Mapping[str, Array]) -> Any:
    """Undo `take_arrays`; tuples have become lists.

    Raises:
        ValueError: for an array that is missing, or a number that is not one.
    """
    if isinstance(tree, list):
        return [put_arrays(value, arrays) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {_ARRAY}:
        name = tree[_ARRAY]
        if not isinstance(name, str) or name not in arrays:
            raise ValueError(f"the array {name!r:.80} is missing")
        return arrays[name]
    if tree.keys() == {_NUMBER}:
        if not isinstance(tree[_NUMBER], str) or tree[_NUMBER] not in _NUMBERS:
            raise ValueError(f"{tree[_NUMBER]!r:.80} is not a number")
        return _NUMBERS[tree[_NUMBER]]
    return {key: put_arrays(value, arrays) for key, value in tree.items()}
