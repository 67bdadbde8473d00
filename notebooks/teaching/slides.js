// Keys, buttons, a swipe and the address (#7) lead through the slides; N shows what the lecturer says.
const slides = [...document.querySelectorAll("section")];
const place = document.getElementById("place");
const notes = document.getElementById("notes");
let here = 0;

function go(to) {
  here = Math.max(0, Math.min(slides.length - 1, to));
  slides.forEach((slide, k) => slide.classList.toggle("here", k === here));
  place.textContent = `${here + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${here + 1}`);
  window.scrollTo(0, 0);
}

function toggleNotes() {
  const shown = document.body.classList.toggle("show-notes");
  notes.setAttribute("aria-pressed", shown);
}

const keys = {
  ArrowRight: () => go(here + 1),
  PageDown: () => go(here + 1),
  " ": () => go(here + 1),
  ArrowLeft: () => go(here - 1),
  PageUp: () => go(here - 1),
  Home: () => go(0),
  End: () => go(slides.length - 1),
  n: toggleNotes,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  if (event.key === " " && event.target.matches("button, a")) return;  // these have a use for it
  event.preventDefault();
  keys[event.key]();
});

let from = null;
document.addEventListener("touchstart", (event) => (from = event.changedTouches[0]), { passive: true });
document.addEventListener("touchend", (event) => {
  const right = event.changedTouches[0].clientX - from.clientX;
  const down = event.changedTouches[0].clientY - from.clientY;
  if (Math.abs(right) > 60 && Math.abs(right) > 2 * Math.abs(down)) go(here - Math.sign(right));
});

document.getElementById("back").addEventListener("click", () => go(here - 1));
document.getElementById("on").addEventListener("click", () => go(here + 1));
notes.addEventListener("click", toggleNotes);
window.addEventListener("hashchange", () => go(Number(location.hash.slice(1)) - 1 || 0));

document.body.classList.add("one-at-a-time");
go(Number(location.hash.slice(1)) - 1 || 0);
