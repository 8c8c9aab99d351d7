"""Pages taken apart, and files that reports are made of."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A page as its elements, each with its attributes and its text; checks that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], str]] = []
        self._open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {[name for name, _, _ in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append((tag, dict(attrs), []))
        if tag in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        name, attributes, words = self._open.pop()
        assert name == tag, f"</{tag}> closes <{name}>"
        text = "".join(words)
        self.elements.append((name, attributes, text))
        if self._open:
            self._open[-1][2].append(text)

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1][2].append(data)

    def find(self, name: str, **attributes: str) -> list[tuple[dict[str, str | None], str]]:
        """Attributes and text of all elements of a name."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [
            (found, " ".join(text.split()))
            for tag, found, text in self.elements
            if tag == name and all(found.get(key) == value for key, value in wanted.items())
        ]

    def read_section(self, name: str) -> str:
        """The text of a section."""
        ((_, text),) = self.find("section", id=name)
        return text

    @property
    def values(self) -> list[float]:
        """All numbers that are there for machines."""
        return [float(attributes["value"] or "nan") for attributes, _ in self.find("data")]

    @property
    def data(self) -> Any:
        """What the script is given."""
        ((_, text),) = self.find("script", id="data")
        return json.loads(text)


ROBUSTNESS = {
    "format": "isospike.robustness",
    "version": 1,
    "command": ["isospike", "stress", "runs/digits", "--seeds", "2"],
    "graph": "0" * 64,
    "images": 360,
    "steps": 4,
    "complete": True,
    "baseline": {"accuracy": 0.9875},
    "faults": [
        {
            "name": "drop",
            "title": "spikes lost anywhere",
            "unit": "probability",
            "harmless": 0,
            "seeded": True,
            "cells": [
                {"severity": 0.01, "seeds": [0, 1], "mean": 0.9625, "low": 0.95, "high": 0.975},
                {"severity": 0.1, "seeds": [0, 1], "mean": 0.8125, "low": 0.75, "high": 0.875},
            ],
        },
        {
            "name": "saturation",
            "title": "membranes that saturate",
            "unit": "bits",
            "harmless": None,
            "seeded": False,
            "cells": [
                {"severity": 16, "seeds": [0], "mean": 0.9375, "low": None, "high": None},
                {"severity": 8, "seeds": [0], "mean": 0.125, "low": None, "high": None},
            ],
        },
    ],
}

COMPARISON = {
    "command": ["isospike", "compare", "runs/digits"],
    "ann": 0.96875,
    "macs": 123456,
    "images": 360,
    "trials": [
        {
            "method": "counting",
            "steps": [1, 2],
            "latency": [1, 2],
            "accuracy": [0.5, 0.96875],
            "spikes": [10.0, 12.0],
            "sops": [100.0, 120.0],
            "mismatches": 0,
            "unsettled": 3,
            "refused": None,
        },
        {
            "method": "srp:tau=4",
            "steps": [1, 2],
            "latency": [5, 6],
            "accuracy": [0.25, 0.75],
            "spikes": [20.0, 40.0],
            "sops": [200.0, 400.0],
            "mismatches": None,
            "unsettled": None,
            "refused": None,
        },
        {
            "method": "qcfs",
            "steps": [],
            "latency": [],
            "accuracy": [],
            "spikes": [],
            "sops": [],
            "mismatches": None,
            "unsettled": None,
            "refused": "it has ReLUs",
        },
    ],
}

CONFUSION = {
    "command": "isospike report runs/digits",
    "graph": "0" * 64,
    "images": 10,
    "steps": [1, 2],
    "matrices": [[[2, 3], [1, 4]], [[5, 0], [1, 4]]],
}


def write_file(folder: Path, name: str, content: Any) -> None:
    """Write JSON under a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
