"""Prints the Jobs of a rendered JobSet as Jobs, for a validator that does not know JobSets. Called by
verify-kubernetes.sh with the file.
"""

import sys

import yaml

with open(sys.argv[1], encoding="utf-8") as file:
    for item in yaml.safe_load_all(file):
        if item["kind"] != "JobSet":
            yaml.safe_dump(item, sys.stdout, explicit_start=True)
            continue
        for job in item["spec"]["replicatedJobs"]:
            name = f"{item['metadata']['name']}-{job['name']}"
            head = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
            yaml.safe_dump(head | {"spec": job["template"]["spec"]}, sys.stdout, explicit_start=True)
