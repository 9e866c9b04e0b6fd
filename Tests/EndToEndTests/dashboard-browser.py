"""Opens `descent dashboard` in Debian's chromium through its driver, as a reader would, and prints what was seen.

Usage: dashboard-browser.py URL DIRECTORY WORKER [PICTURES]. DIRECTORY contains the run "live", which trains; WORKER is the
process identifier of one of its workers. Screenshots go to the directory PICTURES. Exit status 0 if all is as it should be.
"""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

URL, DIRECTORY, WORKER = sys.argv[1], sys.argv[2], int(sys.argv[3])
PICTURES = sys.argv[4] if len(sys.argv) > 4 else None


class Browser:
    def __init__(self, driver):
        self.base = driver
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"]
        capabilities = {"browserName": "chrome", "goog:chromeOptions": {"args": options}, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.call("/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.base += "/session/" + session["sessionId"]

    def call(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self.call("/url", {"url": url})

    def run(self, script, *arguments):
        return self.call("/execute/sync", {"script": script, "args": list(arguments)})

    def develop(self, command, **parameters):
        return self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def wait(self, what, script, *arguments, seconds=90):
        began = time.monotonic()
        while not (found := self.run(script, *arguments)):
            assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}\n{self.run('return document.body.innerText')[:3000]}"
            time.sleep(0.02)
        print(f"ok {what}")
        return found

    def picture(self, name, height=6000):
        if PICTURES:
            size = self.run("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
            clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], height), "scale": 1}
            shot = self.develop("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
            with open(os.path.join(PICTURES, name + ".png"), "wb") as file:
                file.write(base64.b64decode(shot["data"]))


def look(browser):
    browser.open(URL)
    browser.wait("the runs are listed", "return document.querySelectorAll('.runs tbody tr').length >= 3")
    browser.picture("runs-light")
    assert browser.run("return window.pwned") is None
    # A reader opens the run with the keyboard.
    browser.run("document.getElementById('open-live').focus(); document.activeElement.click()")
    browser.wait("curves of loss and accuracy", "return document.querySelectorAll('#chart-loss path.curve').length === 2"
                 " && document.querySelectorAll('#chart-accuracy path.curve').length === 2")
    browser.wait("templates", "return document.querySelectorAll('.tile').length === 10 && performance.getEntriesByType('resource')"
                 ".some((entry) => entry.name.includes('/templates.png') && entry.responseStatus === 200)")
    browser.wait("settings with their origin", "return [...document.querySelectorAll('#settings tr')].some((row) =>"
                 " row.innerText.includes('batch-size') && row.innerText.includes('--batch-size'))")
    check_accessibility(browser)


def check_accessibility(browser):
    problems = browser.run("""
      const problems = [];
      for (const node of document.querySelectorAll('svg[role=img], [role=region], input, .tile')) {
        if (!node.getAttribute('aria-label') && !document.querySelector(`label[for="${node.id}"]`)) problems.push(node.outerHTML.slice(0, 80));
      }
      const levels = [...document.querySelectorAll('h1, h2, h3, h4')].filter((node) => node.offsetParent).map((node) => +node.localName[1]);
      levels.forEach((level, index) => { if (level > (levels[index - 1] || 0) + 1) problems.push('heading ' + index); });
      if (document.querySelectorAll('h1').length !== 1 || !document.querySelector('main')) problems.push('landmarks');
      const ids = [...document.querySelectorAll('[id]')].map((node) => node.id);
      if (new Set(ids).size !== ids.length) problems.push('an id stands twice');
      return problems;""")
    assert not problems, problems
    browser.run("document.querySelector('#chart-loss svg').focus()")
    browser.run("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Home', bubbles: true}))")
    readout = browser.run("return document.querySelector('#chart-loss .readout').textContent")
    assert re.match(r"step 0: training .*validation ", readout), readout
    print("ok keys move along a curve:", readout)


def check_news(browser):
    """A row that appears in the file appears on the page: measured from write to page."""
    path = os.path.join(DIRECTORY, "still", "metrics.jsonl")
    browser.open(URL + "#/run/still")
    browser.wait("the run that stands still", "return document.querySelector('#chart-loss path.curve')")
    with open(path, encoding="ascii") as file:
        step = max(json.loads(line)["step"] for line in file if line.endswith("\n"))
    with open(path, "a", encoding="ascii") as file:
        file.write(json.dumps({"step": step + 4321, "validation_data_loss": 1.25, "validation_accuracy": 0.625}) + "\n")
    began = time.monotonic()
    text = f"{step + 4321:,}"
    browser.wait("a new step", "return document.getElementById('facts').innerText.includes(arguments[0])", text)
    print(f"ok it took {time.monotonic() - began:.3f} s")


def check_killed_worker(browser):
    browser.open(URL + "#/run/live")
    browser.wait("events", "return document.querySelectorAll('#log tbody tr').length > 0")
    os.kill(WORKER, signal.SIGKILL)
    browser.wait("the killed worker", "return [...document.querySelectorAll('#log tbody tr')].some((row) =>"
                 " /worker-\\d+/.test(row.innerText) && /lost|restarted/.test(row.innerText))"
                 " && document.querySelector('#timeline circle.restarted, #timeline circle.lost')")


def take_pictures(browser):
    browser.open(URL + "#/run/live")
    browser.wait("tiles again", "return document.querySelectorAll('.tile').length === 10")
    time.sleep(0.5)
    browser.picture("run-light")
    browser.picture("run-top", 1010)
    browser.develop("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.picture("run-dark")
    browser.develop("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    time.sleep(0.5)
    assert browser.run("return document.documentElement.scrollWidth <= 390"), "the narrow page scrolls sideways"
    browser.picture("run-narrow-dark")
    browser.develop("Emulation.setEmulatedMedia", features=[])
    browser.open(URL + "#/")
    browser.wait("narrow list", "return document.querySelectorAll('.runs tbody tr').length >= 3")
    assert browser.run("return document.documentElement.scrollWidth <= 390"), "the narrow list scrolls sideways"
    browser.picture("runs-narrow")
    browser.develop("Emulation.clearDeviceMetricsOverride")


def compare(browser):
    browser.open(URL + "#/compare/live/still")
    browser.wait("two curves over each other", "return document.querySelectorAll('#compare-accuracy path.curve').length === 2")
    browser.wait("settings that differ", "return document.body.innerText.includes('learning-rate')")
    browser.picture("compare")


def main():
    with tempfile.TemporaryFile("w+") as output:
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=output, stderr=subprocess.STDOUT)
        try:
            port = None
            deadline = time.monotonic() + 60
            while port is None and time.monotonic() < deadline:
                output.seek(0)
                port = re.search(r"on port (\d+)\.\s*$", output.read(), re.M)
                time.sleep(0.05)
            browser = Browser(f"http://127.0.0.1:{port.group(1)}")
            try:
                look(browser)
                check_news(browser)
                check_killed_worker(browser)
                compare(browser)
                take_pictures(browser)
                severe = [entry for entry in browser.call("/se/log", {"type": "browser"}) if entry["level"] in ("SEVERE", "WARNING")]
                assert not severe, severe
                print("ok no error on the console")
            finally:
                browser.call("", method="DELETE")
        finally:
            # Signals that end a process may be held back in what this one starts.
            driver.kill()
            driver.wait()


main()
