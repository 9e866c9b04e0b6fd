"""What a schema cannot see of the manifests in Deploy/kubernetes. Called by verify-kubernetes.sh with the directory of the
programs, or an empty one, and rendered manifests. Prints what is wrong, a line each.
"""

import os
import re
import subprocess
import sys

import yaml

# Deploy/operations.md: another start mends 69 and 75. A worker that ends with 79 was silent, and a server with 77 came
# before the lease of the one before it had expired: another start mends both.
HOPELESS = {64, 65, 66, 70, 73, 74, 77, 78, 79}
MENDED = {"coordinator": set(), "train": set(), "server": {77, 79}, "worker": {79}}
LONGEST_SAVE = 30
MANY = {"Job": "batch/v1", "StatefulSet": "apps/v1"}
FIELDS = re.compile(r"status\.podIP|metadata\.annotations\['[a-z0-9./-]+'\]")


class Checker:
    def __init__(self, programs: str, path: str):
        self.programs, self.path, self.problems = programs, path, []
        with open(path, encoding="utf-8") as file:
            self.objects = [item for item in yaml.safe_load_all(file) if item]
        self.workloads = [found for item in self.objects for found in workloads(item)]
        self.helps: dict[str, set[str]] = {}

    def require(self, holds, what: str) -> None:
        if not holds:
            self.problems.append(f"{os.path.basename(self.path)}: {what}")

    def names(self, kind: str) -> set[str]:
        return {item["metadata"]["name"] for item in self.objects if item["kind"] == kind}

    def config(self, name: str) -> dict[str, str]:
        found = [item for item in self.objects if item["kind"] == "ConfigMap" and item["metadata"]["name"] == name]
        self.require(found, f"there is no ConfigMap {name}")
        return found[0]["data"] if found else {}

    def check(self) -> list[str]:
        self.require(self.workloads, "there is no Job")
        for kind, name, spec, pod in self.workloads:
            self.check_workload(f"{kind} {name}", spec, pod)
        for item in self.objects:
            where = f"{item['kind']} {item['metadata']['name']}"
            if item["kind"] == "Service":
                self.check_service(where, item["spec"])
            elif item["kind"] == "PodDisruptionBudget":
                self.check_budget(where, item["spec"])
            elif item["kind"] == "NetworkPolicy":
                self.check_policy(where, item["spec"])
            elif item["kind"] == "JobSet":
                self.check_set(item["spec"])
        self.check_workers()
        return self.problems

    # Pods

    def check_workload(self, where: str, spec: dict, template: dict) -> None:
        pod, labels = template["spec"], template["metadata"]["labels"]
        role = labels.get("app.kubernetes.io/component")
        if role not in MENDED:
            return self.require(False, f"{where}: unknown role {role}")
        matches = spec.get("selector", {}).get("matchLabels")
        self.require(not matches or matches.items() <= labels.items(), f"{where}: its selector does not match its pods")
        security = pod.get("securityContext", {})
        self.require(security.get("runAsNonRoot") and security.get("runAsUser", 0) >= 1000, f"{where}: runs as root")
        self.require(security.get("seccompProfile", {}).get("type") == "RuntimeDefault", f"{where}: no seccomp profile")
        self.require(pod.get("automountServiceAccountToken") is False, f"{where}: has a token for the cluster")
        self.require(pod.get("enableServiceLinks") is False, f"{where}: gets variables of services")
        for field in ["hostNetwork", "hostPID", "hostIPC"]:
            self.require(not pod.get(field), f"{where}: {field}")
        saves = role in {"coordinator", "train"}
        self.require(
            pod.get("terminationGracePeriodSeconds", 30) > (LONGEST_SAVE if saves else 10),
            f"{where}: the grace period is shorter than a save")
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        self.require(len(pod["containers"]) == 1, f"{where}: statuses are those of one container")
        for container in pod.get("initContainers", []) + pod["containers"]:
            self.check_container(f"{where}/{container['name']}", container, volumes, security)
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                self.require(claim in self.names("PersistentVolumeClaim"), f"{where}: there is no claim {claim}")
            if "secret" in volume:
                self.check_secret(where, role, volume["secret"], security)
        if where.startswith("StatefulSet"):
            self.require(spec["serviceName"] in self.names("Service"), f"{where}: there is no service of its name")
            self.require(spec["replicas"] == 1, f"{where}: a run has one server")
            self.require(pod.get("restartPolicy", "Always") == "Always", f"{where}: must restart always")
        else:
            self.check_job(where, role, spec, pod)

    def check_secret(self, where: str, role: str, secret: dict, security: dict) -> None:
        # Deploy/kubernetes/keys.sh makes these.
        self.require(secret["secretName"] == f"descent-{role}-keys", f"{where}: keys.sh makes no {secret['secretName']}")
        # YAML 1.1 reads 0440 as octal, 1.2 does not: 440 would be --w-rwx---.
        self.require(secret.get("defaultMode") in {0o440, 0o400}, f"{where}: others can read the keys")
        self.require(security.get("fsGroup", 0) > 0, f"{where}: without fsGroup it cannot read its keys")

    def check_job(self, where: str, role: str, spec: dict, pod: dict) -> None:
        self.require(pod.get("restartPolicy") == "Never", f"{where}: podFailurePolicy requires restartPolicy Never")
        self.require(spec.get("podReplacementPolicy") == "Failed", f"{where}: two pods would share a key")
        rules = spec.get("podFailurePolicy", {}).get("rules", [])
        actions: dict[int, str] = {}
        for rule in rules:
            codes = rule.get("onExitCodes", {})
            self.require(codes or rule.get("onPodConditions"), f"{where}: a rule without a condition")
            if codes:
                self.require(codes.get("containerName") == pod["containers"][0]["name"], f"{where}: rule of no container")
                self.require(codes["operator"] == "In" and 0 not in codes["values"], f"{where}: {codes}")
            for code in codes.get("values", []):
                actions.setdefault(code, rule["action"])
        disruption = [rule["action"] for rule in rules if rule.get("onPodConditions")]
        self.require(disruption == ["Ignore"], f"{where}: an eviction counts as a failure")
        self.require(rules and rules[0].get("onPodConditions"), f"{where}: the first rule must be that of evictions")
        self.require(actions.get(75) == "Ignore", f"{where}: 75 must be ignored")
        self.require(69 not in actions, f"{where}: 69 counts against the limit")
        stop = "FailIndex" if "backoffLimitPerIndex" in spec else "FailJob"
        found = {code for code, action in actions.items() if action == stop}
        self.require(found == HOPELESS - MENDED[role], f"{where}: {stop} for {sorted(found)}")
        self.require(set(actions.values()) <= {"Ignore", stop}, f"{where}: {actions}")
        limit = spec.get("backoffLimitPerIndex", spec.get("backoffLimit", 0))
        self.require(limit >= 5, f"{where}: a few lost nodes end the run")
        if "backoffLimitPerIndex" in spec:
            self.require(spec.get("completionMode") == "Indexed", f"{where}: not indexed")
            success = spec.get("successPolicy", {}).get("rules", [])
            self.require(success == [{"succeededCount": 1}], f"{where}: a pod that comes after the end waits in vain")

    def check_container(self, where: str, container: dict, volumes: dict, pod_security: dict) -> None:
        security = container.get("securityContext", {})
        self.require(security.get("allowPrivilegeEscalation") is False, f"{where}: may gain privileges")
        self.require(security.get("readOnlyRootFilesystem") is True, f"{where}: can write to its image")
        self.require(security.get("capabilities", {}).get("drop") == ["ALL"], f"{where}: keeps capabilities")
        self.require(not security.get("privileged") and "runAsUser" not in security, f"{where}: has its own user")
        self.require(":" in container["image"] and not container["image"].endswith(":latest"), f"{where}: image of no version")
        resources = container.get("resources", {})
        self.require("memory" in resources.get("limits", {}), f"{where}: no limit of memory")
        self.require("cpu" not in resources.get("limits", {}), f"{where}: would be throttled")
        for mount in container.get("volumeMounts", []):
            self.require(mount["name"] in volumes, f"{where}: there is no volume {mount['name']}")
        environment = {}
        for source in container.get("envFrom", []):
            environment |= self.config(source["configMapRef"]["name"])
        for variable in container.get("env", []):
            field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            self.require("value" in variable or FIELDS.fullmatch(field), f"{where}: {variable}")
            environment[variable["name"]] = variable.get("value") or ("10.0.0.1" if field == "status.podIP" else "0")
        for name in re.findall(r"\$\((\w+)\)", " ".join(container["command"] + container.get("args", []))):
            self.require(name in environment, f"{where}: $({name}) has no value")
        self.check_places(where, container, environment, volumes)
        self.check_command(where, container["command"] + container.get("args", []))
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
            if probe in container:
                self.check_probe(f"{where} {probe}", container[probe])
        self.check_settings(where, environment)

    # Each path in a setting is below a volume, and one to write to below one that is not mounted read-only.
    def check_places(self, where: str, container: dict, environment: dict, volumes: dict) -> None:
        mounts = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
        for name, value in environment.items():
            if name not in {"DESCENT_RUN_DIR", "DESCENT_DATA", "DESCENT_KEYS"}:
                continue
            if container["command"][0].endswith("-server") and name == "DESCENT_DATA":
                continue
            mount = next((mounts[path] for path in mounts if f"{value}/".startswith(f"{path}/")), None)
            self.require(mount, f"{where}: {name}={value} is in no volume")
            self.require(
                mount is None or name != "DESCENT_RUN_DIR" or not mount.get("readOnly"), f"{where}: {value} is read-only")

    def check_probe(self, where: str, probe: dict) -> None:
        command = probe.get("exec", {}).get("command", [])
        self.require(command[1:2] == ["status"], f"{where}: {command}")
        self.check_command(where, command)
        waits = float(command[command.index("--timeout") + 1]) if "--timeout" in command else 3.0
        self.require(probe.get("timeoutSeconds", 1) > waits, f"{where}: is killed before it answers")

    def check_command(self, where: str, command: list[str]) -> None:
        program, words = os.path.basename(command[0]), command[1:]
        if not self.programs:
            return
        call = [program] + ([words[0]] if program == "descent" and words else [])
        if words[:1] == ["data"]:
            call.append(words[1])
        key = " ".join(call)
        if key not in self.helps:
            path = os.path.join(self.programs, program)
            if not os.access(path, os.X_OK):
                self.require(False, f"{where}: there is no program {program}")
                return
            output = subprocess.run([path, *call[1:], "--help"], capture_output=True, text=True, check=False)
            self.require(output.returncode == 0, f"{where}: `{key} --help` ends with {output.returncode}")
            self.helps[key] = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", output.stdout))
        for word in words:
            if word.startswith("-"):
                self.require(word.split("=")[0] in self.helps[key], f"{where}: {key} has no {word}")

    # `descent config show` reads every variable with the prefix as the programs do.
    def check_settings(self, where: str, environment: dict) -> None:
        settings = {name: value for name, value in environment.items() if name.startswith("DESCENT_")}
        if not self.programs or not settings:
            return
        output = subprocess.run(
            [os.path.join(self.programs, "descent"), "config", "show"], env=settings, capture_output=True, text=True,
            check=False)
        trouble = output.stderr.strip().splitlines()
        self.require(output.returncode == 0 and not trouble, f"{where}: {' '.join(trouble) or output.returncode}")

    # What refers to pods

    def pods(self, labels: dict) -> list[dict]:
        return [pod for _, _, _, pod in self.workloads if labels.items() <= pod["metadata"]["labels"].items()]

    def check_service(self, where: str, spec: dict) -> None:
        found = self.pods(spec["selector"])
        self.require(len(found) == 1, f"{where}: selects the pods of {len(found)} workloads")
        self.require(spec.get("clusterIP") == "None", f"{where}: is not headless")
        for port in spec.get("ports", []):
            ports = {item["name"]: item["containerPort"] for item in found[0]["spec"]["containers"][0].get("ports", [])}
            self.require(ports.get(port["targetPort"]) == port["port"], f"{where}: port {port['port']} leads nowhere")
            arguments = found[0]["spec"]["containers"][0]["args"]
            self.require(
                arguments[arguments.index("--port") + 1] == str(port["port"]), f"{where}: the program has another port")
        for _, _, _, pod in self.workloads:
            for word in pod["spec"]["containers"][0].get("args", []):
                if word.startswith("tcp://"):
                    host, port = word.removeprefix("tcp://").split(":")
                    self.require(host in self.names("Service"), f"{where}: there is no service {host}")
                    if host == where.split()[1]:
                        self.require(port in {str(item["port"]) for item in spec["ports"]}, f"{where}: {word}")

    def check_budget(self, where: str, spec: dict) -> None:
        self.require(self.pods(spec["selector"]["matchLabels"]), f"{where}: selects no pods")
        self.require("maxUnavailable" not in spec, f"{where}: for pods of a Job only minAvailable acts")
        self.require(isinstance(spec.get("minAvailable"), int), f"{where}: for pods of a Job only a number acts")

    def check_policy(self, where: str, spec: dict) -> None:
        self.require(self.pods(spec["podSelector"]["matchLabels"]), f"{where}: selects no pods")
        for rule in spec.get("ingress", []) + spec.get("egress", []):
            for peer in rule.get("from", []) + rule.get("to", []):
                found = [pod for _, _, _, pod in self.workloads if selects(peer["podSelector"], pod["metadata"]["labels"])]
                self.require(found, f"{where}: names no pods: {peer}")

    def check_set(self, spec: dict) -> None:
        jobs = {job["name"] for job in spec["replicatedJobs"]}
        self.require(spec["successPolicy"]["targetReplicatedJobs"] == ["coordinator"], "JobSet: ends with another Job")
        for rule in spec["failurePolicy"]["rules"]:
            self.require(set(rule["targetReplicatedJobs"]) <= jobs, f"JobSet: {rule['name']} names no Job")

    # DESCENT_WORKERS, the pods of workers and what must remain of them belong together, and each has a shard.
    def check_workers(self) -> None:
        settings = self.config("descent-settings")
        workers = int(settings.get("DESCENT_WORKERS", 2))
        shards = int(settings.get("DESCENT_SHARDS", 16))
        self.require(workers <= shards, f"{workers} workers for {shards} shards")
        self.require(int(settings.get("DESCENT_BATCH_SIZE", 512)) % shards == 0, f"a batch is not divided by {shards} shards")
        for kind, name, spec, pod in self.workloads:
            if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "worker":
                number = spec.get("replicas") if kind == "JobSet" else spec["parallelism"]
                self.require(number == workers, f"{kind} {name}: {number} of {workers} workers")
                self.require(kind == "JobSet" or spec["completions"] == workers, f"{name}: completions")
        for item in self.objects:
            if item["kind"] == "PodDisruptionBudget":
                self.require(item["spec"]["minAvailable"] == workers - 1, "minAvailable is not one less than the workers")


def selects(selector: dict, labels: dict) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(term["key"]) in term["values"] for term in selector.get("matchExpressions", []))


def workloads(item: dict) -> list[tuple[str, str, dict, dict]]:
    """Kind, name, specification and template of the pods; of a JobSet those of each of its Jobs."""
    name = item["metadata"]["name"]
    if item["kind"] in MANY:
        return [(item["kind"], name, item["spec"], item["spec"]["template"])]
    if item["kind"] == "JobSet":
        return [
            ("JobSet", f"{name}/{job['name']}", job["template"]["spec"] | {"replicas": job["replicas"]},
             job["template"]["spec"]["template"])
            for job in item["spec"]["replicatedJobs"]
        ]
    return []


def main(programs: str, paths: list[str]) -> int:
    problems = [problem for path in paths for problem in Checker(programs, path).check()]
    for problem in dict.fromkeys(problems):
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
