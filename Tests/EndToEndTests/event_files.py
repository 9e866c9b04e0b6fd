"""Prints as JSON what TensorBoard shows of the runs in a directory: by its loaders for event files, and over HTTP.

    event_files.py LOGDIR
"""

import glob
import io
import json
import os
import sys
import time
import urllib.parse
import urllib.request

from PIL import Image
from tensorboard import program
from tensorboard.backend.event_processing import event_accumulator, event_file_loader, plugin_event_accumulator

logdir = sys.argv[1]
runs = sorted(os.path.relpath(path, logdir) for path in glob.glob(f"{logdir}/*/tensorboard"))


def raw(directory):
    """How often each tag has a value at each step in the records of all files."""
    counts = {}
    for path in sorted(glob.glob(f"{directory}/*tfevents*")):
        for loader in (event_file_loader.LegacyEventFileLoader, event_file_loader.EventFileLoader):
            for event in loader(path).Load():
                for value in event.summary.value:
                    steps = counts.setdefault(loader.__name__, {}).setdefault(value.tag, {})
                    steps[event.step] = steps.get(event.step, 0) + 1
    return {
        name: {tag: [[step, count] for step, count in sorted(steps.items())] for tag, steps in tags.items()}
        for name, tags in counts.items()
    }


def legacy(directory):
    everything = {name: 0 for name in ("scalars", "images", "histograms", "tensors", "compressedHistograms")}
    accumulator = event_accumulator.EventAccumulator(directory, size_guidance=everything)
    accumulator.Reload()
    tags = accumulator.Tags()
    return {
        "scalars": {tag: [[e.step, e.value] for e in accumulator.Scalars(tag)] for tag in tags["scalars"]},
        "images": {
            tag: [[e.step, e.width, e.height, *Image.open(io.BytesIO(e.encoded_image_string)).size]
                  for e in accumulator.Images(tag)]
            for tag in tags["images"]
        },
        "histograms": {
            tag: [[e.step, e.histogram_value.num, sum(e.histogram_value.bucket)] for e in accumulator.Histograms(tag)]
            for tag in tags["histograms"]
        },
    }


def converted(directory):
    """By the accumulator that converts old values to new ones: steps, and the plugin that shows them."""
    accumulator = plugin_event_accumulator.EventAccumulator(directory, tensor_size_guidance={})
    accumulator.Reload()
    return {
        tag: [accumulator.SummaryMetadata(tag).plugin_data.plugin_name, [e.step for e in accumulator.Tensors(tag)]]
        for tag in accumulator.Tags()["tensors"]
    }


def served(load_fast):
    """What a running server answers."""
    board = program.TensorBoard()
    board.configure(argv=[
        "tensorboard", "--logdir", logdir, "--port", "0", "--host", "127.0.0.1", "--load_fast", load_fast,
        "--reload_interval", "1", "--samples_per_plugin", "images=100,histograms=100,scalars=10000,text=100",
    ])
    url = board.launch().rstrip("/")

    def get(path, body=None, **query):
        address = f"{url}/data/{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
        request = urllib.request.Request(address, data=None if body is None else json.dumps(body).encode())
        if body is not None:
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as answer:
            bytes_ = answer.read()
            return json.loads(bytes_) if "json" in answer.headers["Content-Type"] else bytes_

    deadline = time.monotonic() + 40

    def loaded():
        # The end of a session is the last record of a run.
        scalars = get("plugin/scalars/tags")
        return all("accuracy/test" in scalars.get(run, {}) for run in runs)

    while not loaded():
        if time.monotonic() > deadline:
            sys.exit(f"TensorBoard has not loaded {runs} in 40 s")
        time.sleep(0.2)
    answers = {}
    for run in runs:
        answer = answers[run] = {}
        answer["scalars"] = {
            tag: [[step, value] for _, step, value in get("plugin/scalars/scalars", run=run, tag=tag)]
            for tag in get("plugin/scalars/tags")[run]
        }
        answer["images"] = {}
        for tag in get("plugin/images/tags")[run]:
            found = get("plugin/images/images", run=run, tag=tag, sample=0)
            pictures = [Image.open(io.BytesIO(get("plugin/images/individualImage?" + e["query"]))) for e in found]
            answer["images"][tag] = [[e["step"], *picture.size] for e, picture in zip(found, pictures)]
        answer["histograms"] = {
            tag: [[step, sum(bucket[2] for bucket in buckets)] for _, step, buckets in
                  get("plugin/histograms/histograms", run=run, tag=tag)]
            for tag in get("plugin/histograms/tags")[run]
        }
        answer["text"] = {
            tag: [[e["step"], e["text"]] for e in get("plugin/text/text", run=run, tag=tag)]
            for tag in get("plugin/text/tags")[run]
        }
    experiment = get("plugin/hparams/experiment", body={"experimentName": ""})
    columns = {
        "colParams": [], "startIndex": 0, "sliceSize": 100,
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
    }
    answers["hparams"] = {
        "columns": [info["name"] for info in experiment["hparamInfos"]],
        "metrics": [info["name"]["tag"] for info in experiment["metricInfos"]],
        "groups": get("plugin/hparams/session_groups", body=columns)["sessionGroups"],
    }
    return answers


json.dump(
    {
        "raw": {run: raw(f"{logdir}/{run}") for run in runs},
        "legacy": {run: legacy(f"{logdir}/{run}") for run in runs},
        "converted": {run: converted(f"{logdir}/{run}") for run in runs},
        "served": {load_fast: served(load_fast) for load_fast in ("true", "false")},
    },
    sys.stdout)
