"""What a cluster does with rendered manifests, on one machine: each pod has its network, host name, processes, mounts and
process 1, an address on a bridge that is its own, and exactly the command, environment, user, files and signals of its
manifest. Jobs, JobSets and StatefulSets replace pods by the rules that they state. Used by play.py; takes root.

Not played: limits of memory and processor, seccomp, images, the scheduler beyond one node after the other, name servers
(names are in /etc/hosts).
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Of the kubelet and of the controller of Jobs, doubled each time.
BACK_OFF = 10.0
IGNORED_DELAY = 1.0
# By its path: the environment is that of the pod.
NSENTER = shutil.which("nsenter") or "nsenter"
INDEX_KEYS = ["batch.kubernetes.io/job-completion-index", "jobset.sigs.k8s.io/job-index"]


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """A bridge in a namespace of its own, so that the machine's network stays as it is."""

    def __init__(self):
        self.hub = subprocess.Popen(["unshare", "--net", "--kill-child", "--fork", "sleep", "infinity"])
        self.last = 1
        deadline = time.monotonic() + 5
        while os.readlink(f"/proc/{self.hub.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            if time.monotonic() > deadline:
                raise RuntimeError("there is no network namespace")
            time.sleep(0.01)
        self.inside(self.hub.pid, "ip", "link", "add", "br0", "type", "bridge")
        self.inside(self.hub.pid, "ip", "link", "set", "br0", "up")

    def inside(self, process: int, *command: str, text: str | None = None) -> str:
        return run("nsenter", "--target", str(process), "--net", "--", *command, text=text)

    def address(self) -> str:
        self.last += 1
        return f"10.244.{self.last // 250}.{self.last % 250 + 1}"

    def connect(self, process: int, address: str) -> None:
        port = f"p{process}"
        run("ip", "link", "add", "eth0", "netns", str(process), "type", "veth", "peer", "name", port, "netns", str(self.hub.pid))
        self.inside(self.hub.pid, "ip", "link", "set", port, "master", "br0", "up")
        self.inside(process, "ip", "link", "set", "lo", "up")
        self.inside(process, "ip", "address", "add", f"{address}/16", "dev", "eth0")
        self.inside(process, "ip", "link", "set", "eth0", "up")

    def close(self) -> None:
        self.hub.kill()
        self.hub.wait()


class Probe:
    def __init__(self, description: dict):
        self.command = description["exec"]["command"]
        self.period = description.get("periodSeconds", 10)
        self.timeout = description.get("timeoutSeconds", 1)
        self.threshold = description.get("failureThreshold", 3)
        self.next, self.process, self.deadline = 0.0, None, 0.0
        self.failures = self.successes = 0

    def tick(self, pod: "Pod") -> None:
        now = time.monotonic()
        if self.process is None:
            if now >= self.next:
                self.next, self.deadline = now + self.period, now + self.timeout
                self.process = pod.execute(self.command)
        elif (status := self.process.poll()) is not None or now >= self.deadline:
            if status is None:
                self.process.kill()
                self.process.wait()
            self.process = None
            if status == 0:
                self.failures, self.successes = 0, self.successes + 1
            else:
                self.failures += 1


class Pod:
    def __init__(self, cluster: "Cluster", name: str, template: dict, index: int | None, node: str):
        self.cluster, self.name, self.template, self.index, self.node = cluster, name, template, index, node
        self.labels, self.spec = template["metadata"]["labels"], template["spec"]
        self.role = self.labels["app.kubernetes.io/component"]
        self.address = cluster.network.address()
        self.directory = f"{cluster.work}/pods/{name}-{self.address}"
        os.makedirs(self.directory)
        self.volumes = {volume["name"]: self.make_volume(volume) for volume in self.spec.get("volumes", [])}
        self.waiting = [*self.spec.get("initContainers", []), self.spec["containers"][0]]
        self.process: subprocess.Popen | None = None
        self.init = 0
        self.status: int | None = None
        self.conditions: set[str] = set()
        self.deadline: float | None = None
        self.restarts, self.restart_at = 0, 0.0
        self.probes: dict[str, Probe] = {}
        self.was_ready = self.was_killed = False
        cluster.all_pods.append(self)
        self.start(self.waiting.pop(0))

    # Files

    @property
    def group(self) -> int:
        return self.spec["securityContext"]["fsGroup"]

    def make_volume(self, volume: dict) -> tuple[str, bool]:
        """A directory, and whether it is read-only, with the owners and modes that the kubelet gives."""
        path = f"{self.directory}/volumes/{volume['name']}"
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]
            return self.cluster.claim(claim["claimName"], self.group), claim.get("readOnly", False)
        os.makedirs(path)
        if "secret" in volume:
            secret = volume["secret"]
            os.makedirs(f"{path}/..first")
            for name, text in self.cluster.secrets[secret["secretName"]].items():
                file = f"{path}/..first/{name}"
                with open(file, "wb") as stream:
                    stream.write(base64.b64decode(text))
                os.chmod(file, secret["defaultMode"])
                os.chown(file, 0, self.group)
                os.symlink(f"..data/{name}", f"{path}/{name}")
            os.symlink("..first", f"{path}/..data")
            return path, True
        os.chown(path, 0, self.group)
        os.chmod(path, 0o2777)
        return path, False

    def environment(self, container: dict) -> dict[str, str]:
        values = dict(self.cluster.image_environment)
        for source in container.get("envFrom", []):
            values |= self.cluster.configs[source["configMapRef"]["name"]]
        fields = {"status.podIP": self.address}
        fields |= {f"metadata.annotations['{key}']": str(self.index) for key in INDEX_KEYS}
        for variable in container.get("env", []):
            values[variable["name"]] = variable.get("value") or fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        return values

    # Processes

    def start(self, container: dict) -> None:
        security = self.spec["securityContext"]
        self.variables = self.environment(container)
        words = container["command"] + container.get("args", [])
        for name, value in self.variables.items():
            words = [word.replace(f"$({name})", value) for word in words]
        root = f"{self.directory}/root"
        shutil.rmtree(root, ignore_errors=True)
        run("cp", "--archive", "--link", self.cluster.content, root)
        mounts = [{"source": f"{self.cluster.work}/hosts", "target": "/etc/hosts"}]
        for item in container.get("volumeMounts", []):
            source, readonly = self.volumes[item["name"]]
            mounts.append(
                {"source": source, "target": item["mountPath"], "readonly": readonly or item.get("readOnly", False)})
        description = {
            "root": root, "hostname": self.name, "mounts": mounts, "command": words, "environment": self.variables,
            "uid": security["runAsUser"], "gid": security["runAsGroup"], "groups": [self.group],
            "readonly": container["securityContext"]["readOnlyRootFilesystem"],
            "ready": f"{self.directory}/ready", "go": f"{self.directory}/go", "output": f"{self.directory}/output",
        }
        for name in ["ready", "go"]:
            if os.path.exists(description[name]):
                os.unlink(description[name])
        with open(f"{self.directory}/pod.json", "w", encoding="utf-8") as file:
            json.dump(description, file)
        self.process = subprocess.Popen(
            ["unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child",
             sys.executable, f"{HERE}/pod.py", f"{self.directory}/pod.json"],
            start_new_session=True, stdin=subprocess.DEVNULL,
            stderr=open(f"{self.directory}/output", "a", encoding="utf-8"))
        while not os.path.exists(description["ready"]):
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} has no namespaces: {self.output()}")
            time.sleep(0.005)
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="utf-8") as file:
            self.init = int(file.read().split()[0])
        self.cluster.network.connect(self.init, self.address)
        self.cluster.pods_changed(self)
        self.probes = {} if self.waiting else {
            name: Probe(container[name]) for name in ["startupProbe", "readinessProbe", "livenessProbe"] if name in container}
        with open(description["go"], "w", encoding="utf-8"):
            pass

    def execute(self, command: list[str]) -> subprocess.Popen:
        security = self.spec["securityContext"]
        return subprocess.Popen(
            [NSENTER, "--target", str(self.init), "--mount", "--net", "--uts", "--ipc", "--pid", "--root", "--wd",
             "--setuid", str(security["runAsUser"]), "--setgid", str(security["runAsGroup"]), "--", *command],
            env=self.variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def send(self, number: int) -> None:
        if self.process is not None:
            self.was_killed = self.was_killed or number == signal.SIGKILL
            try:
                os.kill(self.init, number)
            except ProcessLookupError:
                pass

    def delete(self, grace: float | None = None, condition: str | None = None) -> None:
        """What the API does: SIGTERM, and SIGKILL after the grace period of the pod, or another one."""
        if condition:
            self.conditions.add(condition)
        seconds = self.spec.get("terminationGracePeriodSeconds", 30) if grace is None else grace
        self.deadline = time.monotonic() + seconds
        self.send(signal.SIGTERM if seconds > 0 else signal.SIGKILL)

    def output(self) -> str:
        with open(f"{self.directory}/output", encoding="utf-8", errors="replace") as file:
            return file.read()

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.status is None

    def tick(self) -> None:
        now = time.monotonic()
        if self.process is None:
            if self.restart_at and now >= self.restart_at and self.deadline is None:
                self.restart_at = 0.0
                self.start(self.spec["containers"][0])
            elif self.deadline is not None:
                self.status = 0
            return
        code = self.process.poll()
        if code is None:
            if self.deadline is not None and now >= self.deadline:
                self.send(signal.SIGKILL)
            self.tick_probes()
            return
        self.process = None
        for probe in self.probes.values():
            if probe.process is not None:
                probe.process.kill()
                probe.process.wait()
                probe.process = None
        code = code if code >= 0 else 128 - code
        # For process 1 of its namespace unshare says 1 then.
        if code == 1 and self.was_killed:
            code = 128 + signal.SIGKILL
        self.was_killed = False
        self.cluster.ends.append((self.role, code))
        if code == 0 and self.waiting:
            self.start(self.waiting.pop(0))
        elif self.spec.get("restartPolicy", "Always") == "Always" and self.deadline is None:
            # At once after the first end, then with a delay that doubles.
            self.restart_at = now + (BACK_OFF * 2 ** (self.restarts - 1) if self.restarts else 0.01)
            self.restarts += 1
        else:
            self.status = code

    def tick_probes(self) -> None:
        if self.deadline is not None:
            return
        startup = self.probes.get("startupProbe")
        if startup and startup.successes == 0:
            startup.tick(self)
            due = [startup]
        else:
            due = [probe for name, probe in self.probes.items() if name != "startupProbe"]
            for probe in due:
                probe.tick(self)
        self.was_ready = self.was_ready or any(probe.successes > 0 for probe in due)
        ready = self.probes.get("readinessProbe")
        if any(probe.failures >= probe.threshold for probe in due if probe is not ready):
            self.cluster.ends.append((f"{self.role} by its probe", 0))
            self.deadline = time.monotonic() + self.spec.get("terminationGracePeriodSeconds", 30)
            self.send(signal.SIGTERM)


class Job:
    def __init__(self, cluster: "Cluster", name: str, spec: dict, index: int | None = None):
        self.cluster, self.name, self.spec = cluster, name, spec
        self.is_indexed = spec.get("completionMode") == "Indexed"
        count = spec["completions"] if self.is_indexed else 1
        self.indices = list(range(count)) if self.is_indexed else [index]
        self.pods: dict[int | None, Pod | None] = {index: None for index in self.indices}
        self.failures = {index: 0 for index in self.indices}
        self.due = {index: 0.0 for index in self.indices}
        self.done: set[int | None] = set()
        self.given_up: set[int | None] = set()
        self.failed: str | None = None

    @property
    def is_complete(self) -> bool:
        rules = self.spec.get("successPolicy", {}).get("rules", [{"succeededCount": len(self.indices)}])
        return any(len(self.done) >= rule["succeededCount"] for rule in rules)

    def action(self, pod: Pod) -> str:
        for rule in self.spec.get("podFailurePolicy", {}).get("rules", []):
            codes = rule.get("onExitCodes")
            if codes and pod.status in codes["values"]:
                return rule["action"]
            if any(condition["type"] in pod.conditions for condition in rule.get("onPodConditions", [])):
                return rule["action"]
        return "Count"

    def tick(self) -> None:
        now = time.monotonic()
        for index in self.indices:
            pod = self.pods[index]
            if pod is not None and pod.status is not None:
                self.pods[index] = None
                self.ended(index, pod, now)
                if self.is_complete:
                    self.stop()
            if self.failed or self.is_complete or index in self.done or index in self.given_up or self.pods[index] or now < self.due[index]:
                continue
            name = self.name if index is None else f"{self.name}-{index}"
            self.pods[index] = self.cluster.start(name, self.spec["template"], index)

    def ended(self, index: int | None, pod: Pod, now: float) -> None:
        if pod.status == 0:
            self.done.add(index)
            return
        action = self.action(pod)
        if action == "Ignore":
            self.due[index] = now + IGNORED_DELAY
        elif action == "FailJob":
            self.fail("PodFailurePolicy")
        elif action == "FailIndex":
            self.given_up.add(index)
        else:
            self.failures[index] += 1
            self.due[index] = now + BACK_OFF * 2 ** (self.failures[index] - 1)
            if self.failures[index] > self.spec.get("backoffLimitPerIndex", self.spec.get("backoffLimit", 6)):
                if self.is_indexed:
                    self.given_up.add(index)
                else:
                    self.fail("BackoffLimitExceeded")
        if len(self.given_up) == len(self.indices):
            self.fail("FailedIndexes")

    def fail(self, reason: str) -> None:
        self.failed = reason
        self.stop()

    def stop(self) -> None:
        for pod in self.pods.values():
            if pod is not None and pod.deadline is None:
                pod.delete()


class StatefulSet:
    failed = None
    is_complete = False

    def __init__(self, cluster: "Cluster", name: str, spec: dict):
        self.cluster, self.name, self.spec = cluster, name, spec
        self.pods: dict[int, Pod | None] = {0: None}

    def tick(self) -> None:
        pod = self.pods[0]
        if pod is None or pod.status is not None:
            self.pods[0] = self.cluster.start(f"{self.name}-0", self.spec["template"], 0)


class JobSet:
    failed = None

    def __init__(self, cluster: "Cluster", name: str, spec: dict):
        self.cluster, self.spec = cluster, spec
        self.jobs: dict[tuple[str, int], Job] = {}
        self.restarts: dict[tuple[str, int], int] = {}
        for job in spec["replicatedJobs"]:
            for index in range(job["replicas"]):
                self.jobs[job["name"], index] = self.make(name, job, index)
        self.name = name

    def make(self, name: str, job: dict, index: int) -> Job:
        return Job(self.cluster, f"{name}-{job['name']}", job["template"]["spec"], index)

    @property
    def pods(self) -> dict:
        return {key: pod for key, job in self.jobs.items() for pod in job.pods.values()}

    @property
    def is_complete(self) -> bool:
        targets = self.spec["successPolicy"]["targetReplicatedJobs"]
        return all(job.is_complete for (name, _), job in self.jobs.items() if name in targets)

    def tick(self) -> None:
        if self.is_complete or self.failed:
            for job in self.jobs.values():
                job.stop()
            return
        for (name, index), job in list(self.jobs.items()):
            job.tick()
            if job.failed:
                self.handle(name, index, job.failed)

    def handle(self, name: str, index: int, reason: str) -> None:
        for rule in self.spec["failurePolicy"]["rules"]:
            if name in rule["targetReplicatedJobs"] and reason in rule.get("onJobFailureReasons", [reason]):
                if rule["action"] == "FailJobSet":
                    self.failed = reason
                    return
                keys = [(name, index)] if rule["action"] == "RestartJob" else list(self.jobs)
                break
        else:
            keys = list(self.jobs)
        for key in keys:
            self.restarts[key] = self.restarts.get(key, 0) + 1
            if self.restarts[key] > self.spec["failurePolicy"]["maxRestarts"]:
                self.failed = reason
                return
            description = next(job for job in self.spec["replicatedJobs"] if job["name"] == key[0])
            self.jobs[key].stop()
            self.jobs[key] = self.make(self.name, description, key[1])


class Cluster:
    image_environment = {"PATH": "/usr/local/bin"}

    def __init__(self, objects: list[dict], secrets: list[dict], content: str, data: str, work: str, nodes: int = 3):
        self.content, self.data, self.work = content, data, work
        self.network = Network()
        self.nodes = [f"node{number}" for number in range(nodes)]
        self.closed_nodes: set[str] = set()
        self.all_pods: list[Pod] = []
        # Role and exit status of each container that has ended, in order.
        self.ends: list[tuple[str, int]] = []
        self.configs = {item["metadata"]["name"]: item["data"] for item in objects if item["kind"] == "ConfigMap"}
        self.secrets = {item["metadata"]["name"]: item["data"] for item in secrets}
        self.services = [item for item in objects if item["kind"] == "Service"]
        self.policies = [item["spec"] for item in objects if item["kind"] == "NetworkPolicy"]
        self.budgets = [item["spec"] for item in objects if item["kind"] == "PodDisruptionBudget"]
        kinds = {"Job": Job, "StatefulSet": StatefulSet, "JobSet": JobSet}
        self.claims = {item["metadata"]["name"] for item in objects if item["kind"] == "PersistentVolumeClaim"}
        os.makedirs(f"{work}/pods")
        self.write_hosts()
        self.controllers = [
            kinds[item["kind"]](self, item["metadata"]["name"], item["spec"]) for item in objects if item["kind"] in kinds]

    def claim(self, name: str, group: int) -> str:
        if name not in self.claims:
            raise RuntimeError(f"there is no claim {name}")
        if name == "descent-data":
            return self.data
        path = f"{self.work}/volumes/{name}"
        if not os.path.exists(path):
            os.makedirs(path)
            os.chown(path, 0, group)
            os.chmod(path, 0o2775)
        return path

    # Pods

    @property
    def pods(self) -> list[Pod]:
        return [pod for controller in self.controllers for pod in controller.pods.values() if pod is not None]

    def running(self, role: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.role == role and pod.is_running]

    def start(self, name: str, template: dict, index: int | None) -> Pod:
        open_nodes = [node for node in self.nodes if node not in self.closed_nodes]
        load = {node: sum(pod.node == node for pod in self.pods) for node in open_nodes}
        return Pod(self, name, template, index, min(open_nodes, key=lambda node: load[node]))

    def pods_changed(self, starting: Pod | None = None) -> None:
        pods = [pod for pod in self.pods if pod.is_running]
        if starting is not None and starting not in pods:
            pods.append(starting)
        self.write_hosts(pods)
        for pod in pods:
            self.apply_policies(pod, pods)

    def write_hosts(self, pods: list[Pod] | None = None) -> None:
        lines = ["127.0.0.1 localhost"] + [f"{pod.address} {pod.name}" for pod in pods or []]
        for service in self.services:
            selector = service["spec"]["selector"].items()
            found = [pod for pod in pods or [] if selector <= pod.labels.items() and pod.deadline is None]
            lines += [f"{pod.address} {service['metadata']['name']}" for pod in found]
        # The same file: it is mounted in every pod.
        with open(f"{self.work}/hosts", "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def apply_policies(self, pod: Pod, pods: list[Pod]) -> None:
        chosen = [policy for policy in self.policies if selects(policy["podSelector"], pod.labels)]
        rules = []
        for kind, hook, peers, word, side in [
            ("Ingress", "input", "from", "saddr", "iif"), ("Egress", "output", "to", "daddr", "oif")]:
            if not any(kind in policy["policyTypes"] for policy in chosen):
                continue
            lines = [f"type filter hook {hook} priority 0; policy drop;", f"{side} lo accept",
                     "tcp flags & (syn | ack) != syn accept"]
            for rule in [rule for policy in chosen for rule in policy.get(kind.lower(), [])]:
                addresses = [
                    other.address for other in pods for peer in rule.get(peers, [])
                    if selects(peer["podSelector"], other.labels)]
                if peers in rule and not addresses:
                    continue
                peer = f"ip {word} {{ {', '.join(sorted(set(addresses)))} }} " if addresses else ""
                ports = [f"{port['protocol'].lower()} dport {port['port']} " for port in rule.get("ports", [])]
                lines += [f"{peer}{port}accept" for port in ports or ["meta l4proto tcp "]]
            rules.append("\n".join([f"chain {hook} {{", *lines, "}"]))
        text = "flush ruleset\ntable inet pod {\n" + "\n".join(rules) + "\n}\n"
        try:
            self.network.inside(pod.init, "nft", "-f", "-", text=text)
        except RuntimeError:
            # It may just have ended.
            time.sleep(0.2)
            if pod.process is not None and pod.process.poll() is None:
                raise

    # What an operator does

    def evict(self, pod: Pod) -> bool:
        """False where a budget forbids it, as the API answers."""
        for budget in self.budgets:
            wanted = budget["selector"]["matchLabels"].items()
            if wanted <= pod.labels.items():
                healthy = [
                    other for other in self.pods
                    if wanted <= other.labels.items() and other.is_running and other.deadline is None]
                if len(healthy) - 1 < budget["minAvailable"]:
                    return False
        pod.delete(condition="DisruptionTarget")
        return True

    def drain(self, node: str) -> None:
        self.closed_nodes.add(node)
        while waiting := [pod for pod in self.pods if pod.node == node and pod.deadline is None and pod.is_running]:
            for pod in waiting:
                self.evict(pod)
            self.tick()

    def set_cable(self, pods: list[Pod], state: str) -> None:
        for pod in pods:
            if pod.is_running:
                self.network.inside(pod.init, "ip", "link", "set", "eth0", state)

    def tick(self) -> None:
        before = [(pod.name, pod.is_running) for pod in self.pods]
        for pod in self.pods:
            pod.tick()
        for controller in self.controllers:
            controller.tick()
        if before != [(pod.name, pod.is_running) for pod in self.pods]:
            self.pods_changed()
        time.sleep(0.02)

    def until(self, condition, what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:.0f} s until {what}")
            self.tick()

    def close(self) -> None:
        for pod in self.all_pods:
            if pod.process is not None:
                pod.send(signal.SIGKILL)
                pod.process.wait()
            for probe in pod.probes.values():
                if probe.process is not None:
                    probe.process.kill()
                    probe.process.wait()
        self.network.close()


def selects(selector: dict, labels: dict) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(term["key"]) in term["values"] for term in selector.get("matchExpressions", []))
