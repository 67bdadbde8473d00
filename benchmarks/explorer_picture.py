"""Draw the animated picture of the README: python benchmarks/explorer_picture.py notebooks/explorer.gif.

The cups of `product_picture.py` as a published page, in Chromium: a click on an ordinary patch, then on the chip.
"""

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from product_picture import photographs

import musc_lite

GRID = 16  # patches along a side
CHIP = 7 * GRID + 5
STEPS = [(9 * GRID + 12, 1400), (3 * GRID + 4, 1400), (CHIP, 2600)]  # a patch, and milliseconds to look at it

if __name__ == "__main__":
    detector = musc_lite.MuSc().fit(photographs())
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    frames = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = musc_lite.publish(detector, Path(folder) / "page.html").path
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 630})
        page.goto(page_file.as_uri())
        canvas = page.locator("#panel canvas >> visible=true").first
        canvas.wait_for()
        page.wait_for_timeout(3000)
        for patch, _ in STEPS:
            box = canvas.bounding_box()
            row, column = divmod(patch, GRID)
            x, y = (column + 0.5) * box["width"] / GRID, (row + 0.5) * box["height"] / GRID
            canvas.click(position={"x": x, "y": y})
            page.wait_for_timeout(400)
            frames.append(Image.open(BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    first, *others = [frame.quantize(256) for frame in frames]
    first.save(sys.argv[1], save_all=True, append_images=others, duration=[ms for _, ms in STEPS], loop=0)
