"""The other side of PublishedFileTests.swift: programs that people read published files with.

  published.py page FILE       a report: every element is closed, nothing is loaded; prints its texts as one JSON object
  published.py strict FILE     the same page by the parser of the HTML standard (html5lib), which refuses every error
  published.py npz FILE        what NumPy finds
  published.py torch FILE      what PyTorch finds, loading weights only
  published.py card DIRECTORY  what huggingface_hub finds in the front matter
"""

import html.parser
import json
import pathlib
import sys

VOID = {"meta", "link", "br", "hr", "img", "input", "area", "base", "col", "embed", "source", "track", "wbr"}
LOADING = {"src", "srcset", "poster", "data", "action", "formaction", "background", "ping", "manifest"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.stack, self.errors, self.headings, self.ids = [], [], [], []
        self.elements, self.code = {}, []

    def handle_starttag(self, tag, attributes):
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.check(tag, attributes)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.check(tag, attributes)

    def check(self, tag, attributes):
        if tag in {"script", "link", "iframe", "object", "embed", "base", "form"}:
            self.errors.append(f"<{tag}>")
        for name, value in attributes:
            local = (value or "").startswith(("#", "data:image/png;base64,"))
            if (name in LOADING or name in {"href", "xlink:href"}) and not local or name.startswith("on"):
                self.errors.append(f"{tag} {name}={value}")
            if "url(" in (value or "") or "javascript:" in (value or "").lower() and name != "content":
                self.errors.append(f"{tag} {name}={value}")
            if name == "id":
                if value in self.ids:
                    self.errors.append(f"id {value} twice")
                self.ids.append(value)

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.errors.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "style" and ("url(" in data or "@import" in data):
            self.errors.append("a style loads something")
        if self.stack and self.stack[-1] in {"h1", "h2", "h3"}:
            self.headings.append(data)
        if self.stack and self.stack[-1] == "code":
            self.code.append(data)


def page(path):
    parser = Page()
    parser.feed(pathlib.Path(path).read_text(encoding="utf-8"))
    parser.close()
    if parser.stack:
        parser.errors.append(f"open: {parser.stack}")
    return {"errors": parser.errors, "headings": parser.headings, "elements": parser.elements, "code": parser.code}


def strict(path):
    import html5lib

    html5lib.HTMLParser(strict=True).parse(pathlib.Path(path).read_text(encoding="utf-8"))
    return {"errors": []}


def bits(array):
    import numpy

    return numpy.ascontiguousarray(array, dtype=numpy.float32).view(numpy.uint32).flatten().tolist()


def npz(path):
    import numpy

    with numpy.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    texts = {name: array.tolist() for name, array in arrays.items() if array.dtype.kind == "U"}
    numbers = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
    return {
        "texts": texts,
        "shapes": {name: list(array.shape) for name, array in numbers.items()},
        "bits": {name: bits(array) for name, array in numbers.items()},
    }


def torch(path):
    import torch

    tensors = torch.load(path, weights_only=True)
    mapped = torch.load(path, weights_only=True, mmap=True)
    assert all(torch.equal(tensors[name], mapped[name]) for name in tensors)
    state = dict(tensors)
    mean = state.pop("mean_image")
    if list(state) == ["weight", "bias"]:
        module = torch.nn.Linear(len(mean), len(state["bias"]))
        module.load_state_dict(state)
    return {
        "names": list(tensors),
        "shapes": {name: list(tensor.shape) for name, tensor in tensors.items()},
        "bits": {name: bits(tensor.numpy()) for name, tensor in tensors.items()},
    }


def card(directory):
    from huggingface_hub import ModelCard

    card = ModelCard.load(pathlib.Path(directory) / "README.md")
    results = card.data.eval_results or []
    return {
        "license": card.data.license,
        "tags": card.data.tags,
        "datasets": card.data.datasets,
        "metrics": card.data.metrics,
        "model_name": card.data.model_name,
        "results": [
            {"split": result.dataset_split, "metric": result.metric_type, "value": result.metric_value,
             "dataset": result.dataset_name, "type": result.dataset_type}
            for result in results
        ],
    }


if __name__ == "__main__":
    commands = {"page": page, "strict": strict, "npz": npz, "torch": torch, "card": card}
    print(json.dumps(commands[sys.argv[1]](sys.argv[2])))
