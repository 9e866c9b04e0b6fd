"""Speaks to `descent dashboard` through bare sockets: what no browser sends, a thousand idle connections, slow readers.

Usage: dashboard-sockets.py PORT PID DIRECTORY. DIRECTORY contains the run "a". Exit status 0 if all is as it should be.
"""

import json
import os
import resource
import socket
import sys
import time

PORT, PID, DIRECTORY = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def connect():
    return socket.create_connection(("127.0.0.1", PORT), timeout=20)


def read_all(connection):
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def exchange(request):
    with connect() as connection:
        connection.sendall(request)
        return read_all(connection)


def get(path, host="localhost", more=b"Connection: close\r\n"):
    return exchange(b"GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (path.encode(), host.encode(), more))


def status(answer):
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer[9:12])


def expect(name, found, *expected):
    assert found in expected, f"{name}: {found} instead of {expected}"
    print("ok", name)


def resident():
    with open(f"/proc/{PID}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_ticks():
    with open(f"/proc/{PID}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def refusals():
    expect("page", status(get("/")), 200)
    expect("another name", status(get("/", "evil.example")), 421)
    expect("no name", status(exchange(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")), 400)
    expect("POST", status(exchange(b"POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")), 405)
    for path in ["/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/api/run?id=..%2F..%2Fetc",
                 "/templates.png?id=..&step=0", "/templates.png?id=a&step=..%2F0", "/page.js/../../run.json"]:
        answer = get(path)
        expect(path, status(answer), 400, 404)
        assert b"root:" not in answer
    expect("large head", status(exchange(b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 200_000)), 431)
    expect("many headers", status(exchange(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000)), 431)
    expect("no HTTP", status(exchange(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")), 400)
    with connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nHEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answers = read_all(connection)
        assert answers.count(b"HTTP/1.1 200 OK") == 2 and answers.endswith(b"\r\n\r\n"), answers[-200:]
        print("ok two requests at once")


def idle():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1000, (hard if hard != resource.RLIM_INFINITY else 1 << 20) - 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 100), hard))
    before = resident()
    connections = []
    for number in range(count):
        connection = connect()
        if number % 2:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        connections.append(connection)
    expect(f"page beside {count} idle connections", status(get("/")), 200)
    expect("metrics beside them", status(get("/metrics")), 200)
    assert resident() - before < 48 << 20, f"{resident() - before} bytes for idle connections"
    for connection in connections:
        connection.close()
    print("ok idle connections")


def slow_readers():
    before = resident()
    readers = []
    for _ in range(8):
        connection = connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.2)
        try:
            for _ in range(2000):
                connection.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
        except (TimeoutError, ConnectionError):
            pass
        readers.append(connection)
    for _ in range(8):
        connection = connect()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /events?view=run&id=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        readers.append(connection)
    with open(os.path.join(DIRECTORY, "a", "metrics.jsonl"), "a", encoding="ascii") as file:
        for step in range(1_000_000, 1_000_100):
            file.write(json.dumps({"step": step, "validation_data_loss": 1.5, "validation_accuracy": 0.5}) + "\n")
            file.flush()
            time.sleep(0.02)
    expect("page beside slow readers", status(get("/")), 200)
    assert resident() - before < 48 << 20, f"{resident() - before} bytes for slow readers"
    for connection in readers:
        connection.close()
    print("ok slow readers")


def events():
    # What a finished run says of itself counts more than its metrics.
    os.remove(os.path.join(DIRECTORY, "a", "result.json"))
    with connect() as connection:
        connection.sendall(b"GET /events?view=run&id=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        file = connection.makefile("rb")
        while file.readline() not in (b"\r\n", b""):
            pass
        first = json.loads(file.readline()[len("data: "):])
        step = first["run"]["step"]
        file.readline()
        with open(os.path.join(DIRECTORY, "a", "metrics.jsonl"), "a", encoding="ascii") as metrics:
            metrics.write(json.dumps({"step": step + 5, "validation_accuracy": 0.75}) + "\n")
        began = time.monotonic()
        second = json.loads(file.readline()[len("data: "):])
        elapsed = time.monotonic() - began
        assert second["run"]["step"] == step + 5 and second["run"]["validation_accuracy"] == 0.75, second["run"]["step"]
        # A second is what is promised; the rest is for a machine that is busy.
        assert elapsed < 10, elapsed
        print(f"ok a new row was sent after {elapsed * 1000:.0f} ms")


def idle_cost():
    # Until the connections before are closed there too.
    time.sleep(2)
    before = processor_ticks()
    time.sleep(3)
    used = processor_ticks() - before
    assert used <= 1, f"{used} ticks of the processor without a reader"
    print("ok no cost without a reader")


refusals()
events()
idle()
slow_readers()
idle_cost()
