// Verdicts on images, and their table: what musc_lite.data.verdicts writes and reads.

const COLUMNS = ["image", "sha256", "verdict", "class", "note"];
const VERDICTS = ["good", "bad", "unsure"];
const EMPTY = { verdict: "", class: "", note: "" };

const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

// As musc_lite.utils.tables does: a spreadsheet takes no cell for a formula.
const asCell = (value) => (/^'*[=+\-@\t\r]/.test(value) ? `'${value}` : value);
const fromCell = (text) => (/^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text);

const writeTable = (rows) =>
  [COLUMNS, ...rows].map((row) => row.map((value) => quoted(asCell(value))).join(",") + "\r\n").join("");

// Fields in quotes may hold separators, line ends and doubled quotes; a quote elsewhere in a field is itself.
function splitTable(text, separator) {
  const rows = [];
  let [row, field, inside] = [[], "", false];
  for (let k = 0; k < text.length; k++) {
    const letter = text[k];
    if (inside && letter !== '"') field += letter;
    else if (inside && text[k + 1] === '"') field += text[++k];
    else if (inside) inside = false;
    else if (letter === '"' && field === "") inside = true;
    else if (letter === separator) {
      row.push(field);
      field = "";
    } else if (letter === "\n" || letter === "\r") {
      if (letter === "\r" && text[k + 1] === "\n") k++;
      rows.push([...row, field]);
      [row, field] = [[], ""];
    } else field += letter;
  }
  if (field || row.length) rows.push([...row, field]);
  return rows.filter((fields) => fields.some((value) => value.trim()));
}

function readTable(text) {
  const plain = text.replace(/^\ufeff/, "");
  const first = plain.split("\n", 1)[0];
  const count = (letter) => first.split(letter).length;
  const [names, ...rows] = splitTable(plain, count(";") > count(",") ? ";" : ",");
  if (!names?.includes("image") || !names.includes("verdict")) {
    throw new Error(`it needs the columns image and verdict, got '${first.trim().slice(0, 60).replace(/[^ -~]/g, "?")}'`);
  }
  return rows.map((fields, k) => {
    const row = Object.fromEntries(COLUMNS.map((name) => [name, fromCell((fields[names.indexOf(name)] ?? "").trim())]));
    row.verdict = row.verdict.toLowerCase();
    row.sha256 = row.sha256.toLowerCase();
    if (row.verdict && !VERDICTS.includes(row.verdict)) {
      throw new Error(`the verdict on '${row.image}' must be one of ${VERDICTS.join(", ")}, got '${row.verdict}'`);
    }
    return row;
  });
}

// A browser may keep nothing for files, or be told to.
function kept(key) {
  try {
    const found = JSON.parse(localStorage.getItem(key));
    return Array.isArray(found?.records) ? found : null;
  } catch {
    return null;
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // what is not kept is still saved to a table
  }
}

// What was found about the images of one section, by SHA-256: copies of a file share one record.
class Marks {
  constructor({ key, images, verdicts }) {
    Object.assign(this, { key, images, changed: () => {} });
    const before = kept(key);
    this.records = new Map(before?.records);
    this.last = before?.last ?? writeTable([]); // the table as it was saved or loaded
    const given = verdicts.map((row) => Object.fromEntries(COLUMNS.map((name, k) => [name, row[k]])));
    this.strangers = before || !given.length ? [] : this.take(given);
  }

  of(place) {
    return this.records.get(this.images[place][1]) ?? EMPTY;
  }

  set(place, change) {
    this.put(this.images[place][1], { ...this.of(place), ...change });
    this.store();
  }

  toggle(place, verdict) {
    this.set(place, { verdict: this.of(place).verdict === verdict ? "" : verdict });
  }

  put(digest, record) {
    if (Object.values(record).some(Boolean)) this.records.set(digest, record);
    else this.records.delete(digest);
  }

  store() {
    keep(this.key, { records: [...this.records], last: this.last });
    this.changed();
  }

  // Rows on other images are given back: those of a name that is here with other bytes are among them.
  take(rows) {
    const known = new Set(this.images.map(([, digest]) => digest));
    const byName = new Map(this.images.map(([name, digest]) => [name.trim(), digest]));
    const others = [];
    const wasEmpty = this.records.size === 0;
    for (const { image, sha256, ...record } of rows) {
      const digest = sha256 || byName.get(image);
      if (known.has(digest)) this.put(digest, record);
      else others.push(image);
    }
    if (wasEmpty) this.last = this.table();
    this.store();
    return others;
  }

  table() {
    const rows = this.images.map(([name, digest], place) => {
      const { verdict, class: kind, note } = this.of(place);
      return [name, digest, verdict, kind, note];
    });
    return writeTable(rows.filter((row) => row.slice(2).some(Boolean)));
  }

  get unsaved() {
    return this.table() !== this.last;
  }

  saved() {
    this.last = this.table();
    this.store();
  }

  count(verdict) {
    return this.images.filter((_, place) => this.of(place).verdict === verdict).length;
  }
}
