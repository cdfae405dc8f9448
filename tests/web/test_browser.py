"""The pages in a real browser: sizes, colour schemes, live updates, the console."""

import asyncio
import os
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.web.sample import TENANT, SampleSource, build, history_ref, sample_status, uuid
from tests.web.serving import NO_AUTH, serving
from tests.web.test_console import finger
from trunkline.web import WebSettings
from trunkline.web.source import BuildConsole

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
SIZES = {"desk": (1360, 940), "phone": (360, 780)}
WAIT_MS = 10_000

# Relative luminance and contrast by WCAG 2.1, of every visible text against the nearest opaque background.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const poor = [];
  for (const element of document.querySelectorAll('body *:not(.vh):not(.skip)')) {
    const text = [...element.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
    if (!text || !element.getClientRects().length || element.closest('svg') || element.closest('.vh')) continue;
    let back = element, colour = [0, 0, 0, 0];
    while (back && (colour = rgba(getComputedStyle(back).backgroundColor))[3] < 255) back = back.parentElement;
    const a = light(rgba(getComputedStyle(element).color)), b = light(colour);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@asynccontextmanager
async def browser():
    from playwright.async_api import async_playwright

    async with async_playwright() as play:
        found = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield found
        finally:
            await found.close()


@asynccontextmanager
async def looking(chromium, url, size="desk", scheme="light", **how):
    """A page without errors on its console."""
    width, height = SIZES[size]
    context = await chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **how)
    page = await context.new_page()
    page.set_default_timeout(WAIT_MS)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    answer = await page.goto(url)
    assert answer.status == 200, url
    yield page
    assert problems == []
    await context.close()


def play(scene, **settings):
    async def run():
        source = SampleSource()
        how = WebSettings(version="0.1.0", status_fresh_s=0, **settings)
        async with asyncio.timeout(120), serving(source, NO_AUTH, how) as site, browser() as chromium:
            return await scene(site, source, chromium)

    return asyncio.run(run())


def picture(tmp_path: Path, name: str) -> Path:
    """Where a screenshot goes: TRUNKLINE_SCREENSHOTS, else the test's own folder."""
    folder = Path(os.environ.get("TRUNKLINE_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.png"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_fit_the_screen_and_are_legible(tmp_path, size, scheme):
    paths = (
        "status",
        "pool",
        "fleet",
        "builds",
        "config",
        "change/1205,2",
        f"build/{uuid(103)}",
        f"buildset/{uuid(501)}",
    )

    async def scene(site, source, chromium):
        for path in paths:
            async with looking(chromium, f"{site.url}/t/{TENANT}/{path}", size, scheme) as page:
                assert await page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0], path
                assert await page.evaluate(CONTRAST) == [], path
                assert await page.locator("h1").count() == 1, path
                name = f"{path.partition('/')[0]}-{size}-{scheme}"
                await page.screenshot(path=picture(tmp_path, name), full_page=True)

    play(scene)


def test_a_change_that_lands_and_one_that_comes_are_seen_without_a_reload():
    async def scene(site, source, chromium):
        async with looking(chromium, f"{site.url}/t/{TENANT}/status") as page:
            await page.wait_for_selector("#pulse:not([hidden])")
            await page.evaluate("window.sameDocument = true")
            kept = page.locator(f"#item-{uuid(3)}")
            await kept.evaluate("element => element.dataset.kept = 'yes'")
            status = sample_status(1_800_000_000)
            gate = next(p for p in status["pipelines"] if p["name"] == "gate")
            run = gate["change_queues"][0]["heads"][0]
            del run[0]
            run.append(run[-1] | {"id": uuid(6), "refs": [run[-1]["refs"][0] | {"id": "1299,1"}]})
            source.status_value = status
            source.hub.post(TENANT, "queues")
            await page.wait_for_selector(f"#item-{uuid(6)}")
            await page.wait_for_selector(f"#item-{uuid(1)}", state="detached")
            assert await kept.get_attribute("data-kept") is None  # laid over: same element, fresh attributes
            assert await page.evaluate("window.sameDocument")
            source.region_list[0] |= {"state": "down", "reason": "no answer for 30 s"}
            source.hub.post("", "pool")
            await page.wait_for_selector(".region-reason >> text=no answer for 30 s")

    play(scene)


def test_a_console_arrives_line_by_line_and_is_stored_after(tmp_path):
    number = 106
    place = tmp_path / TENANT / uuid(number)
    place.mkdir(parents=True)
    ansi = b"2026-01-31 10:00:00.123456 | \x1b[31mred\x1b[0m <b>not bold</b> \x1b]0;title\x07\x1b[2Jend\n"

    async def scene(site, source, chromium):
        more = asyncio.Event()
        async with finger(b"2026-01-31 10:00:00.000000 | TASK [unit]\n", ansi, hold=more) as (address, _):
            source.consoles[uuid(number)] = BuildConsole("running", address)
            async with looking(chromium, f"{site.url}/t/{TENANT}/build/{uuid(number)}", "phone", "dark") as page:
                await page.wait_for_selector("#lines >> text=not bold")
                lines = await page.locator("#lines > div").all_text_contents()
                assert lines == ["10:00:00  TASK [unit]", "10:00:00  red <b>not bold</b> end"]
                assert await page.locator("#lines .f1").text_content() == "red"
                assert await page.locator("#console-state").text_content() == "live"
                await page.screenshot(path=picture(tmp_path, "console-phone-dark"))

                (place / "job-output.txt").write_bytes(b"2026-01-31 10:00:00.000000 | TASK [unit]\nstored last line\n")
                source.consoles[uuid(number)] = BuildConsole("complete")
                ended = {"log_url": f"/logs/{TENANT}/{uuid(number)}/"}
                fresh = build(number, "api-integration", history_ref(1205, "meadow/api", 2), "SUCCESS", 1_800_000_000)
                source.build_list[1] = fresh | ended
                more.set()
                source.hub.post(TENANT, "builds")
                await page.wait_for_selector("#lines >> text=stored last line")
                assert await page.locator("#console-state").text_content() == "stored log"
                assert await page.locator("h1 .result").text_content() == "passed"

    play(scene, log_directory=str(tmp_path))


def test_a_long_console_keeps_its_last_lines():
    async def scene(site, source, chromium):
        text = b"".join(b"line %d\n" % n for n in range(30_000))
        async with finger(text) as (address, _):
            source.consoles[uuid(106)] = BuildConsole("running", address)
            async with looking(chromium, f"{site.url}/t/{TENANT}/build/{uuid(106)}") as page:
                await page.wait_for_selector("#lines >> text=line 29999")
                assert await page.locator("#lines > div").count() <= 6000

    play(scene)


def test_pages_are_whole_without_scripts():
    async def scene(site, source, chromium):
        async with looking(chromium, f"{site.url}/t/{TENANT}/status", java_script_enabled=False) as page:
            assert await page.locator(f"#item-{uuid(3)}").is_visible()
            assert await page.locator(".map .place").count() == 4

    play(scene)
