// What the app adds to its gallery: verdicts and large pictures are the kernel's (gallery.py).
// zoom.js and gallery.js of the reports come before it in one module.

function render({ model, el }) {
  let [gallery, large] = [null, []];
  const book = {
    of: (place) => ({ verdict: model.get("verdicts")[place] ?? "" }),
    set: (place, { verdict }) => model.send({ card: place, verdict }),
  };

  function fetchLarge(_, place) {
    delete gallery.dialog.dataset.large;
    model.send({ card: place, open: true });
  }

  function build() {
    const html = model.get("html");
    el.innerHTML = html && `<section class="musc-gallery" aria-label="photos">${html}</section>`;
    gallery = html ? new Gallery(el.firstChild, book, fetchLarge) : null;
  }

  function showLarge({ card }, buffers) {
    if (!gallery || card !== gallery.places.get(gallery.current)) return;
    for (const source of large) URL.revokeObjectURL(source);
    large = buffers.map((view) => URL.createObjectURL(new Blob([view])));
    [".photo", ".heat"].forEach((kind, k) => {
      for (const image of gallery.dialog.querySelectorAll(kind)) image.src = large[k];
    });
    gallery.dialog.dataset.large = card;
  }

  model.on("change:html", build);
  model.on("change:verdicts", () => gallery?.render());
  model.on("msg:custom", showLarge);
  build();
}

export default { render };
