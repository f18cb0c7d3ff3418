"""Shared by the tests of reports: runs trained by the command, hostile runs, and a reader of pages."""

import json
import re
import shutil
from html.parser import HTMLParser

from minigrad import cli

SMALL = ["--data", "blobs:samples=120", "--model", "mlp:6,tanh,5", "--batch-size", "24", "--epochs", "5", "--quiet"]
WHOLE = ["--optimizer", "LAMB", "--lookahead", "k=3", "--schedule", "ExponentialLR:gamma=0.9"]
WHOLE += ["--clip", "by_global_norm:0.001", "--record", "2"]

EVIL = (
    "<script>document.title='taken'</script>",
    '" onload="document.title=1',
    "'><img src=x onerror=document.title=1>",
    "</style></title><h2>no</h2>",
    "$\\frac{$",
    "&lt;b&gt;",
    "\u202eesrever\ud800\x00",
    "x" * 5000,
)
VOID = {"meta", "img", "br", "hr"}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "footer", "section", "article"),
    *("h1", "h2", "h3", "p", "ul", "li", "dl", "dt", "dd", "div", "span", "a", "strong", "small", "code", "pre"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "img", "details", "summary"),
    *("svg", "polyline", "path", "circle"),
}


def train(folder, name, *words):
    """Train a run by the command, in a folder."""
    assert cli.main(["train", *SMALL, *words, "--output", str(folder), "--name", name]) == 0
    return folder / f"{name}-1"


def hostile(run, folder):
    """Copy a recorded run, and make all of its names and options hostile, as in an edited file."""
    run = shutil.copytree(run, folder)
    config = json.loads((run / "config.json").read_text())
    for part in ("arguments", "versions", "data"):
        config[part] |= {text: text for text in EVIL}
    config["arguments"] |= dict(zip(("optimizer", "lookahead", "model", "schedule", "dtype"), EVIL, strict=False))
    config["arguments"] |= {"clip": list(EVIL), "batch_size": EVIL[0], "seed": [EVIL[1]], "lr": {EVIL[0]: 1}}
    config["data"] |= {"name": EVIL[0], "train_rows": EVIL[1]}
    config["model"] = {"parameters": EVIL[0], "layers": "".join(EVIL)}
    (run / "config.json").write_text(json.dumps(config))
    header, *records = map(json.loads, (run / "record.jsonl").read_text().splitlines())
    names = dict(zip([*header["layers"], *header["activations"]], EVIL, strict=False))
    renamed = [_renamed(each, names) for each in (header, *records)]
    renamed[0] |= {"optimizer": EVIL[0], "effective_rate": EVIL[1], "signal": EVIL[2]}
    renamed[0]["activations"] = {name: {"kind": EVIL[0]} for name in renamed[0]["activations"]}
    for record in renamed[1:]:
        for clip in record["clips"]:
            clip |= {"clip": EVIL[0], "scope": EVIL[1], "range": EVIL[2]}
    (run / "record.jsonl").write_text("".join(json.dumps(each) + "\n" for each in renamed))
    metrics = (run / "metrics.csv").read_text()
    (run / "metrics.csv").write_text(metrics.replace("held_out_accuracy", "$<b>_accuracy", 1))
    return run


def _renamed(value, names):
    if isinstance(value, dict):
        return {_name(key, names): _renamed(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, names) for each in value]
    return _name(value, names) if isinstance(value, str) else value


def _name(text, names):
    layer, dot, rest = text.partition(".")
    return f"{names[layer]}{dot}{rest}" if layer in names else text


class Page(HTMLParser):
    """A parsed page: its elements and words. Parsing checks that every element is closed.

    Attributes:
        elements: tag and attributes of each element, in order.
        tables: for each caption the rows of the table, as lists of words.
        sections: the words of each section by its place.
    """

    def __init__(self, text):
        super().__init__()
        self.elements, self.tables, self.sections = [], {}, {}
        self._open, self._rows, self._words = [], [], {}
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append((tag, dict(attributes).get("id")))
        if tag == "table":
            self._rows = []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag
        if tag == "table":
            self.tables[self._words.pop("caption")] = self._rows

    def handle_data(self, text):
        tags = [tag for tag, _ in self._open]
        if "pre" not in tags:
            text = re.sub(r"\s+", " ", text)  # as browsers show it
        if "caption" in tags:
            self._words["caption"] = self._words.get("caption", "") + text
        elif tags and ("td" in tags or "th" in tags):
            self._rows[-1][-1] += f"{text} " if tags[-1] in ("span", "small") else text
        for tag, name in self._open:
            if tag == "section":
                self.sections[name] = self.sections.get(name, "") + text + ("" if tags[-1] in ("a", "code") else " ")

    def all(self, tag):
        """Return the attributes of every element with this tag."""
        return [attributes for name, attributes in self.elements if name == tag]
