"""Plays stories with rendered manifests (cluster.py), and prints a table of them. Called by play-kubernetes.sh with the
programs, the content of an image, the data, a directory for work, the Secrets, the manifests by name, and a word that
chooses among the stories.
"""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import yaml

from cluster import Cluster

# An edit of settings.env, as a user makes it: short steps, and enough of them that a story has its time.
SETTINGS = {
    "DESCENT_BATCH_SIZE": "64", "DESCENT_EPOCHS": "1000", "DESCENT_MAX_STEPS": os.environ.get("PLAY_STEPS", "12000"),
    "DESCENT_EVALUATE_EVERY": "500", "DESCENT_CHECKPOINT_EVERY": "500",
}
INTERRUPTED = "continues with the bits of an undisturbed run"


class Play:
    def __init__(self, arguments: list[str]):
        self.programs, self.content, self.data, self.work, secrets, self.manifests, self.word = arguments
        with open(secrets, encoding="utf-8") as file:
            self.secrets = [item for item in yaml.safe_load_all(file) if item]
        self.references: dict[str, str] = {}
        self.failed = False

    def objects(self, name: str, changes: dict[str, str]) -> list[dict]:
        with open(f"{self.manifests}/{name}.yaml", encoding="utf-8") as file:
            objects = [item for item in yaml.safe_load_all(file) if item]
        for item in objects:
            if item["kind"] == "ConfigMap" and item["metadata"]["name"] == "descent-settings":
                item["data"] |= SETTINGS | changes
        return objects

    def reference(self, objects: list[dict]) -> str:
        """The weights of the settings without any cluster."""
        settings = next(item["data"] for item in objects if item["metadata"]["name"] == "descent-settings")
        data = self.data if "DESCENT_DATA" not in settings else f"{self.work}/synthesized"
        if not os.path.exists(data):
            subprocess.run([f"{self.programs}/descent", "data", "synthesize", data], check=True, capture_output=True)
        key = json.dumps(settings)
        if key not in self.references:
            place = ["DESCENT_RUN_DIR", "DESCENT_DATA", "DESCENT_TRANSPORT"]
            environment = {name: value for name, value in settings.items() if name not in place}
            output = subprocess.run(
                [f"{self.programs}/descent", "train", "--workers", "0", "--json", "--quiet", "--data", data,
                 "--run-dir", f"{self.work}/reference-{len(self.references)}"],
                env=environment, capture_output=True, text=True, check=True)
            self.references[key] = json.loads(output.stdout)["weights_sha256"]
        return self.references[key]

    def play(self, name: str, manifest: str, expected: str, story, **changes: str) -> None:
        if not re.search(self.word, f"{manifest}: {name}"):
            return
        objects = self.objects(manifest, changes)
        reference = self.reference(objects) if expected == INTERRUPTED else None
        place = f"{self.work}/{len(os.listdir(self.work))}"
        os.makedirs(place)
        began = time.monotonic()
        cluster = Cluster(objects, self.secrets, self.content, self.data, place)
        trouble = None
        try:
            found = story(Story(cluster))
        except (TimeoutError, RuntimeError, AssertionError) as error:
            trouble, found = error, f"{error}"
        weights = Story(cluster).weights()
        cluster.close()
        same = "" if reference is None else "yes" if weights == reference else "NO"
        if trouble or same == "NO":
            self.failed = True
            for pod in cluster.all_pods:
                print(f"--- {pod.name} at {pod.address}\n{pod.output()[-3000:]}", file=sys.stderr)
        else:
            shutil.rmtree(place)
        seconds = time.monotonic() - began
        print(f"| {manifest} | {name} | {expected} | {found or cluster_ends(cluster)} | {same} | {seconds:.0f} |", flush=True)


def cluster_ends(cluster: Cluster) -> str:
    counts: dict[str, int] = {}
    for role, code in cluster.ends:
        counts[f"{role} {code}"] = counts.get(f"{role} {code}", 0) + 1
    return ", ".join(text if count == 1 else f"{text} ({count} times)" for text, count in counts.items())


class Story:
    """What can be seen of a run from outside, and waited for."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster

    def files(self, name: str) -> list[str]:
        found = glob.glob(f"{self.cluster.work}/volumes/descent-runs/*/{name}")
        return [path for path in found if not os.path.islink(os.path.dirname(path))]

    def evaluations(self) -> int:
        lines = 0
        for path in self.files("metrics.jsonl"):
            with open(path, encoding="utf-8") as file:
                lines += sum(1 for _ in file)
        return lines

    def weights(self) -> str | None:
        for path in self.files("result.json"):
            with open(path, encoding="utf-8") as file:
                return json.load(file).get("weights_sha256")
        return None

    def under_way(self, evaluations: int = 4) -> None:
        self.cluster.until(lambda: self.evaluations() >= evaluations or self.over(), "the run is under way")
        assert not self.over(), "the run was over before anything was done to it: raise PLAY_STEPS"

    def over(self) -> bool:
        leading = [item for item in self.cluster.controllers if item.name in {"descent-coordinator", "descent"}]
        assert not any(item.failed for item in leading), f"failed: {leading[0].failed}; {cluster_ends(self.cluster)}"
        return all(item.is_complete for item in leading)

    def to_the_end(self, seconds: float = 150) -> None:
        self.cluster.until(self.over, "the run is over", seconds)
        # Workers end by themselves.
        jobs = [item for item in self.cluster.controllers if item.name == "descent-worker"]
        self.cluster.until(lambda: all(job.is_complete or job.failed for job in jobs), "the workers are done", 60)
        assert all(job.is_complete for job in jobs), f"the Job of workers failed; {cluster_ends(self.cluster)}"

    def one(self, role: str):
        pods = self.cluster.running(role)
        assert pods, f"there is no {role}"
        return pods[0]


# --- Stories ------------------------------------------------------------------------------------------------------


def undisturbed(story: Story) -> None:
    story.to_the_end()
    coordinators = [pod for pod in story.cluster.all_pods if pod.role in {"coordinator", "train"}]
    assert all(pod.was_ready for pod in coordinators), "the probes have never succeeded"


def disturbed(what):
    def story(story: Story) -> None:
        story.under_way()
        what(story)
        story.to_the_end()

    return story


def delete(role: str, grace: float | None = None):
    return disturbed(lambda story: story.one(role).delete(grace))


def evict(role: str):
    return disturbed(lambda story: story.cluster.evict(story.one(role)))


def kill(role: str):
    return disturbed(lambda story: story.one(role).send(signal.SIGKILL))


def cut(role: str, seconds: float):
    def what(story: Story) -> None:
        pods = [story.one(role)]
        story.cluster.set_cable(pods, "down")
        end = time.monotonic() + seconds
        story.cluster.until(lambda: time.monotonic() >= end, "the cable is back", seconds + 5)
        story.cluster.set_cable(pods, "up")

    return disturbed(what)


def drain(story: Story) -> None:
    story.under_way()
    node = story.one("coordinator").node
    pods = [pod.role for pod in story.cluster.pods if pod.node == node]
    assert len(pods) > 1, f"{node} has {pods}"
    story.cluster.drain(node)
    story.to_the_end()


def lose_node(story: Story) -> None:
    """Its pods are unreachable, and gone when the node is removed from the cluster 12 s later."""
    story.under_way()
    node = story.cluster.running("worker")[-1].node
    pods = [pod for pod in story.cluster.pods if pod.node == node]
    story.cluster.closed_nodes.add(node)
    story.cluster.set_cable(pods, "down")
    end = time.monotonic() + 12
    story.cluster.until(lambda: time.monotonic() >= end, "the node is removed", 20)
    for pod in pods:
        pod.delete(0, "DisruptionTarget")
    story.to_the_end()


def hopeless(role: str, statuses: set[int]):
    def story(story: Story) -> str:
        leading = story.cluster.controllers
        story.cluster.until(lambda: any(item.failed for item in leading), "a Job fails", 60)
        ends = [code for name, code in story.cluster.ends if name == role]
        assert len(ends) == 1 and ends[0] in statuses, cluster_ends(story.cluster)
        failed = next(item for item in leading if item.failed)
        return f"{role} {ends[0]}, {failed.name}: {failed.failed}"

    return story


def intruder(story: Story) -> str:
    """A pod beside the run, and a worker that goes where it need not."""
    story.under_way(2)
    coordinator, worker = story.one("coordinator"), story.one("worker")
    network = story.cluster.network
    stranger = subprocess.Popen(["unshare", "--net", "--kill-child", "--fork", "sleep", "infinity"])
    try:
        while os.readlink(f"/proc/{stranger.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        network.connect(stranger.pid, network.address())
        attempt = (
            "import socket, sys; s = socket.socket(); s.settimeout(1); "
            "sys.exit(0 if s.connect_ex((sys.argv[1], int(sys.argv[2]))) == 0 else 1)")

        def reaches(process: int, address: str, port: int) -> bool:
            command = ["nsenter", "--target", str(process), "--net", sys.executable, "-c", attempt, address, str(port)]
            return subprocess.run(command, check=False).returncode == 0

        assert reaches(worker.init, coordinator.address, 5555), "a worker does not reach the coordinator"
        assert not reaches(stranger.pid, coordinator.address, 5555), "a stranger reaches the coordinator"
        assert not reaches(worker.init, coordinator.address, 22), "a worker reaches another port"
    finally:
        stranger.kill()
        stranger.wait()
    story.to_the_end()
    return "the worker reaches port 5555 alone, the stranger nothing"


def main(arguments: list[str]) -> int:
    play = Play(arguments)
    print("| manifests | what is done | expected | exit statuses | same bits | s |\n|---|---|---|---|---|---:|", flush=True)
    for manifest in ["base", "jobset"]:
        stories = [
            ("nothing", undisturbed),
            ("a worker's pod is deleted", delete("worker")),
            ("a worker is killed (SIGKILL, as for memory)", kill("worker")),
            ("the coordinator's pod is evicted", evict("coordinator")),
            ("the coordinator is killed", kill("coordinator")),
            ("the server is killed", kill("server")),
            ("the server's pod is deleted", delete("server")),
            ("the server's pod is deleted by force", delete("server", 0)),
            ("the node of the coordinator is drained", drain),
            ("a worker's node is lost", lose_node),
            ("a worker's network is away for 4 s, less than the lease", cut("worker", 4)),
            ("a worker's network is away for 16 s, more than the lease", cut("worker", 16)),
            ("the coordinator's network is away for 4 s", cut("coordinator", 4)),
        ]
        for name, story in stories:
            play.play(name, manifest, INTERRUPTED, story)
    play.play("nothing reaches what it need not", "base", INTERRUPTED, intruder)
    play.play("a setting is wrong", "base", "one try, 78, the Job fails", hopeless("coordinator", {78}), DESCENT_LOSS="hinge")
    # Through memory steps take less.
    longer = {"DESCENT_MAX_STEPS": str(5 * int(SETTINGS["DESCENT_MAX_STEPS"]))}
    play.play("nothing", "single-node", INTERRUPTED, undisturbed, **longer)
    play.play("the pod is evicted", "single-node", INTERRUPTED, evict("train"), **longer)
    play.play("descent train, process 1, is killed", "single-node", INTERRUPTED, kill("train"), **longer)
    return 1 if play.failed else 0


sys.exit(main(sys.argv[1:]))
