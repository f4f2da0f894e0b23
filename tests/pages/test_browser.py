"""A real browser shows the page: no error, every video plays, nothing is wider than the screen, light and dark."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess

import pytest
from runs import write_run

from vidiff.pages import write_page

aiohttp = pytest.importorskip("aiohttp", reason="the browser is asked through a web socket")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0")
WRONG = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
FACTS = """(async () => {
  const videos = [...document.querySelectorAll("video")];
  const ready = (v) => new Promise((go) => {
    const wait = () => (v.error || v.played.length && v.currentTime > 0 ? go() : setTimeout(wait, 50));
    wait();
  });
  for (const video of videos) {  // out of sight, a browser does not begin to play
    video.scrollIntoView();
    await ready(video);
  }
  scrollTo(0, 0);
  const chart = document.querySelector(".chart"), box = chart.getBoundingClientRect();
  chart.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width / 2, clientY: box.top + 20}));
  const said = document.querySelector(".plot output").textContent;
  document.querySelector(".pause").click();
  await new Promise((go) => setTimeout(go, 100));
  document.querySelectorAll("details").forEach((part) => (part.open = true));
  const style = getComputedStyle(document.body);
  return {
    wide: document.documentElement.scrollWidth - innerWidth,
    errors: videos.filter((v) => v.error).length,
    played: videos.map((v) => v.currentTime),
    paused: videos.every((v) => v.paused),
    said, ink: style.color, paper: style.backgroundColor,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name.slice(0, 5)),
  };
})()"""


class Browser:
    """A headless Chromium with one tab."""

    def __init__(self, socket):
        self.socket, self.numbers, self.events = socket, itertools.count(1), []

    async def call(self, method: str, **parameters):
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = json.loads((await self.socket.receive()).data)
            if answer.get("id") == number:
                return answer["result"]
            self.events.append(answer)

    async def show(self, url: str, width: int, scheme: str) -> dict:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads((await self.socket.receive()).data))
        found = await self.call("Runtime.evaluate", expression=FACTS, awaitPromise=True, returnByValue=True)
        wrong = [event for event in self.events if event["method"] in WRONG]
        self.events = []
        return found["result"]["value"] | {"wrong": wrong}


async def shown(process, url: str, looks: list[tuple[int, str]]) -> list[dict]:
    line = next(line for line in process.stderr if "DevTools listening on" in line)
    port = line.split(":")[-1].split("/")[0]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tabs = [tab for tab in await answer.json(content_type=None) if tab["type"] == "page"]
        async with session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            browser = Browser(socket)
            for domain in ("Page", "Runtime", "Log"):
                await browser.call(f"{domain}.enable")
            return [await browser.show(url, *look) for look in looks]


def look_at(page, profile, looks: list[tuple[int, str]]) -> list[dict]:
    """What the browser says of a page at each (width, color scheme)."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            return asyncio.run(shown(process, page.as_uri(), looks))
        finally:
            process.terminate()


def brightness(color: str) -> float:
    return sum(map(float, color[color.index("(") + 1 : -1].split(",")[:3])) / 3


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
@pytest.mark.parametrize("kinds", [(False,), (True,), (False, True)], ids=["generator", "translator", "both"])
def test_a_browser_shows_the_page(kinds, tmp_path):
    names = ["a-folder-with-a-long-name-without-any-space-in-it-0123456789", "second"]
    runs = [write_run(tmp_path / name, translates=translates) for name, translates in zip(names, kinds)]
    page = write_page(runs, tmp_path / "page.html")
    looks = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
    for (_, scheme), seen in zip(looks, look_at(page, tmp_path / "profile", looks)):
        assert (
            seen["wrong"] == [] and seen["errors"] == 0 and seen["requests"] in ([], ["data:"] * len(seen["requests"]))
        )
        assert len(seen["played"]) == (3 if len(kinds) == 1 else 4) and min(seen["played"]) > 0 and seen["paused"]
        assert seen["wide"] <= 0
        assert seen["said"].startswith("step ") and "\n" in seen["said"]
        dark = brightness(seen["paper"]) < brightness(seen["ink"])
        assert dark == (scheme == "dark")
