"""Measure the page of `musc_lite.publish`: its size, how far its answers are from exact ones, and how soon they come.

    python benchmarks/live.py            # 40 images of 256 patches, block 7, r = 3, by 32, 64 and 128 components
    python benchmarks/live.py --browser  # and in Chromium: first view, a click, all patches compared

Nearest: of 100 pairs of a patch and another image, in how many both find the same nearest patch. Errors: mean and
largest, of the distance to the nearest patch and of a patch's score. Rank: Spearman's correlation of the images'
scores. The last row leaves out the byte for the squared length outside of the components. Times of the browser are from
navigation to the first picture, and from a click to its answer and to the changed page, the median of 30.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import musc_lite
from musc_lite.static_page.payload import choose_features
from musc_lite.static_page.quantization import measure_agreement, quantize

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def measure_components(detector):
    """Print the agreement for several numbers of components."""
    tokens = detector.aggregated_tokens(*choose_features(detector))
    everyone, interval = np.arange(len(tokens)), (0.0, 0.3)
    print(f"{'components':>10} {'bytes':>5} {'nearest':>7} {'distance error':>15} {'score error':>13} {'rank':>6}")
    for n_components, with_rest in [(32, True), (64, True), (128, True), (64, False)]:
        few = quantize(tokens, n_components)
        if not with_rest:
            few = replace(few, outside=np.zeros_like(few.outside))
        found = measure_agreement(tokens, few, everyone, interval)
        distance, score = ("{:.4f} {:.3f}".format(*errors) for errors in (found.distance_error, found.score_error))
        size, same = n_components + with_rest, 100 * found.same_nearest
        print(f"{n_components:10} {size:5} {same:7.1f} {distance:>15} {score:>13} {found.image_rank:6.3f}")


# In the page: click on patches of the first picture one after the other, each time until a frame was drawn.
CLICKS = """async (count) => {
  const canvas = document.querySelector("#panel canvas"), times = [];
  const frame = () => new Promise(requestAnimationFrame);
  for (let k = 0; k < count; k++) {
    const box = canvas.getBoundingClientRect();
    const at = { clientX: box.left + box.width * ((k * 7) % 16 + 0.5) / 16, clientY: box.top + box.height * k / count };
    const began = performance.now();
    canvas.dispatchEvent(new MouseEvent("click", { bubbles: true, ...at }));
    const computed = performance.now();
    await frame();
    times.push([computed - began, performance.now() - began]);
  }
  return times;
}"""


def measure_browser(file):
    """Print how soon the page answers in Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, bypass_csp=True)
        page.goto(file.as_uri())
        page.wait_for_selector("#panel canvas[style*=width]")  # drawn
        print(f"first picture {page.evaluate('performance.now()'):.0f} ms after the navigation")
        computed, drawn = np.median(page.evaluate(CLICKS, 30), axis=0)
        print(f"click: {computed:.1f} ms until answered, {drawn:.1f} ms until drawn")
        page.evaluate("window.began = performance.now(); location.hash = 'interval'")
        page.wait_for_function("document.getElementById('status').textContent.startsWith('mean')", timeout=120_000)
        print(f"all patches compared: {page.evaluate('performance.now() - began') / 1000:.1f} s")
        browser.close()


def main():
    """Fit, publish, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", action="store_true", help="measure times in Chromium too")
    arguments = parser.parse_args()
    detector = musc_lite.MuSc(layers=[7], r=(3,)).fit(musc_lite.planted_textures("brick"))
    measure_components(detector)
    with tempfile.TemporaryDirectory() as folder:
        written = musc_lite.publish(detector, Path(folder) / "page.html")
        page = written.path.read_text(encoding="utf-8")
        data = json.loads(page.split('id="batch">')[1].split("</script>")[0])
        pictures = sum(map(len, data["pictures"]))
        print(f"page: {written.n_bytes:,} bytes: {len(data['codes']):,} components, {pictures:,} pictures")
        if arguments.browser:
            measure_browser(written.path)


if __name__ == "__main__":
    main()
