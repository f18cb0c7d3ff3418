"""The tutorial as it is committed: run from top to bottom, with its pictures, and with nothing of the machine in it."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text())["cells"]


def code(cells):
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_every_cell_was_run_in_order_and_none_failed(cells):
    assert [cell["execution_count"] for cell in code(cells)] == list(range(1, len(code(cells)) + 1))
    outputs = [output for cell in code(cells) for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output["text"] for output in outputs if output.get("name") == "stderr"], "a cell warns"


def test_every_picture_is_there(cells):
    for cell in code(cells):
        if "plt.subplots" in "".join(cell["source"]):
            kinds = [kind for output in cell["outputs"] for kind in output.get("data", {})]
            assert "image/png" in kinds, f"no picture under {cell['source'][0]!r}"


def test_every_picture_says_what_to_look_at(cells):
    for cell in code(cells):
        source = "".join(cell["source"])
        for part in re.findall(r"plt\.subplots[^\n]*", source):
            assert re.search(r"set_title|title=", source), f"no title: {part}"


def test_it_is_small_and_names_no_machine(cells):
    assert NOTEBOOK.stat().st_size < 3_000_000
    # Pictures aside, which are base64 and may spell anything.
    text = json.dumps([[c["source"], [o for o in c.get("outputs", []) if "data" not in o]] for c in cells])
    assert not re.findall(r"/(?:home|tmp|root|usr|Users)/|site-packages", text)
    assert all(cell["metadata"] == {} for cell in cells)
    assert set(json.loads(NOTEBOOK.read_text())["metadata"]) == {"kernelspec", "language_info"}


def test_most_sections_prove_what_they_claim(cells):
    claims = [cell for cell in code(cells) if re.search(r"^\s*(assert|np\.testing)", "".join(cell["source"]), re.M)]
    assert len(claims) > len(code(cells)) / 2
