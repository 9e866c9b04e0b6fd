"""Whether what the roles of a long run hold stays flat. Called by long-run.sh with the samples and the size of the logs.

A role's processes come and go, so a process is compared with itself: what it held when it had warmed up with what it
held at its end, in the medians of a fifth of its samples each; only the longest-lived process of each role counts.
"""

import statistics
import sys

# kB; beyond what an allocator gives back late.
MEMORY_SLACK = 4096
WARM_UP_SAMPLES = 3
FEWEST_SAMPLES = 10


def ends(values: list[int]) -> tuple[float, float]:
    """Medians of the first and the last fifth, after a warm-up."""
    values = values[WARM_UP_SAMPLES:]
    share = max(1, len(values) // 5)
    return statistics.median(values[:share]), statistics.median(values[-share:])


def main(path: str, logs: int) -> int:
    processes: dict[tuple[str, str], list[list[int]]] = {}
    directory: list[tuple[int, int]] = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            if "directory" in fields:
                if len(fields) == 6:
                    directory.append((int(fields[3]), int(fields[4])))
                continue
            processes.setdefault((fields[1], fields[2]), []).append([int(field) for field in fields[3:]])
    grows = []
    print("\n| role | processes | longest, samples | memory, kB | open files | threads | |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for role in ["coordinator", "server", "worker"]:
        lives = [samples for (name, _), samples in processes.items() if name == role]
        longest = max(lives, key=len, default=[])
        if len(longest) < FEWEST_SAMPLES:
            print(f"| {role} | {len(lives)} | {len(longest)} | | | | too short |")
            continue
        memory, files, threads = (ends([sample[index] for sample in longest]) for index in range(3))
        flat = memory[1] <= memory[0] * 1.1 + MEMORY_SLACK and files[1] <= files[0] + 2 and threads[1] <= threads[0]
        if not flat:
            grows.append(role)
        cells = " | ".join(f"{first:.0f} → {last:.0f}" for first, last in (memory, files, threads))
        print(f"| {role} | {len(lives)} | {len(longest)} | {cells} | {'flat' if flat else 'GROWS'} |")
    whole, checkpoints = ends([item[0] for item in directory]), ends([item[1] for item in directory])
    flat = checkpoints[1] <= checkpoints[0] * 1.1 + 1024
    if not flat:
        grows.append("checkpoints")
    print(f"\nCheckpoints {checkpoints[0]:.0f} → {checkpoints[1]:.0f} kB ({'flat' if flat else 'GROWS'});")
    print(f"the whole directory {whole[0]:.0f} → {whole[1]:.0f} kB, of it at the end {logs} kB of logs.")
    return 1 if grows else 0


sys.exit(main(sys.argv[1], int(sys.argv[2])))
