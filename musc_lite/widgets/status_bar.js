// Draws the bar of status_bar.py, and asks after whatever is touched in its explorer whether the kernel still answers.

const PATIENCE = 3000; // milliseconds
const GONE = "Kernel gone: run the cell again.";
const SILENT = "No answer: the kernel is busy, or gone. If it was restarted, run the cell again.";
const TOOLS = {
  undo: ["Undo", "go one step back"],
  png: ["PNG", "save what is shown as a picture"],
  csv: ["CSV", "save what is shown as a table"],
};

function make(name, parent, attributes = {}, text = "") {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  parent.append(node);
  return node;
}

// ipywidgets gives the handles and the readout of a slider no name.
function nameSliders(root) {
  for (const slider of root.querySelectorAll(".widget-slider")) {
    const name = slider.querySelector(".widget-label")?.textContent || "value";
    const handles = slider.querySelectorAll(".noUi-handle");
    handles.forEach((handle, k) => {
      const full = handles.length > 1 ? `${name}, ${k ? "end" : "begin"}` : name;
      if (handle.getAttribute("aria-label") !== full) handle.setAttribute("aria-label", full);
    });
    const readout = slider.querySelector(".widget-readout[contenteditable=true]");
    if (readout && !readout.hasAttribute("aria-label")) {
      readout.setAttribute("role", "textbox");
      readout.setAttribute("aria-label", `${name}, typed`);
    }
  }
}

function save(name, type, buffer) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([buffer], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function render({ model, el }) {
  const bar = make("div", el, { class: "musc-bar" });
  const status = make("div", bar, { role: "status", "aria-live": "polite" });
  const tools = make("div", bar, { class: "musc-tools" });
  const trouble = make("div", bar, { class: "musc-trouble", role: "alert" });
  let [waiting, gone] = [null, false];

  function say(text) {
    if (trouble.textContent !== text) trouble.textContent = text;
  }

  function ask(what) {
    if (gone) return say(GONE);
    waiting ??= setTimeout(() => say(SILENT), PATIENCE);
    model.send({ ask: what });
  }

  function heard() {
    clearTimeout(waiting);
    waiting = null;
    if (!gone) say("");
  }

  function draw() {
    const [value, code] = [model.get("value"), model.get("code")];
    if (status.textContent !== value) status.textContent = value; // updated, not replaced: so it is announced
    const names = (model.get("tools") ?? []).filter((name) => TOOLS[name]);
    if (names.length && tools.dataset.names !== names.join()) {
      tools.dataset.names = names.join();
      tools.replaceChildren();
      for (const name of names) {
        const button = make("button", tools, { type: "button", title: TOOLS[name][1], "data-tool": name }, TOOLS[name][0]);
        button.addEventListener("click", () => ask(name));
      }
      const details = make("details", tools);
      make("summary", details, {}, "as code");
      make("code", details);
    }
    const undo = tools.querySelector("[data-tool=undo]");
    if (undo) undo.disabled = !model.get("can_undo");
    const line = tools.querySelector("code");
    if (line) line.textContent = code ?? "";
  }

  function touched(event) {
    const explorer = el.closest(".musc-explorer");
    if (!explorer?.contains(event.target) || el.contains(event.target)) return;
    nameSliders(explorer);
    ask("here");
  }

  function answered(message, buffers) {
    heard();
    if (message.file) save(message.file, message.type, buffers[0]);
  }

  function lost() {
    gone = true; // the next model comes with a cell that is run again
    say(GONE);
  }

  const events = ["pointerdown", "keydown"];
  for (const name of events) document.addEventListener(name, touched, true);
  const names = new MutationObserver(() => nameSliders(el.closest(".musc-explorer") ?? el));
  const found = setInterval(() => {
    const explorer = el.closest(".musc-explorer");
    if (!explorer) return;
    clearInterval(found);
    nameSliders(explorer);
    names.observe(explorer, { childList: true, subtree: true });
  }, 100);
  model.on("change:value change:code change:can_undo change:tools", draw);
  model.on("change", heard);
  model.on("msg:custom", answered);
  model.on("comm_live_update", lost);
  draw();
  return () => {
    clearInterval(found);
    clearTimeout(waiting);
    names.disconnect();
    for (const name of events) document.removeEventListener(name, touched, true);
  };
}

export default { render };
