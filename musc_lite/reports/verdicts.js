// Verdicts on images, and their table: what musc_lite.data.verdicts writes and reads.

const COLUMNS = ["image", "sha256", "verdict", "class", "note"];
const VERDICTS = ["good", "bad", "unsure"];
const TITLES_AMONG = 10; // first rows
const EMPTY = { verdict: "", class: "", note: "" };

const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

// As musc_lite.utils.tables does: a spreadsheet takes no cell for a formula.
const asCell = (value) => (/^'*[=+\-@\t\r]/.test(value) ? `'${value}` : value);
const fromCell = (text) => (/^'+[=+\-@\t\r]/.test(text) ? text.slice(1) : text);

const writeTable = (rows) =>
  [COLUMNS, ...rows].map((row) => row.map((value) => quoted(asCell(value))).join(",") + "\r\n").join("");

function decoded(bytes) {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

// Fields in quotes may hold separators, line ends and doubled quotes; a quote elsewhere in a field is itself.
function splitTable(text, separator) {
  const rows = [];
  let [row, field, inside, begins] = [[], "", false, true];
  for (let k = 0; k < text.length; k++) {
    const letter = text[k];
    if (inside && letter === '"' && text[k + 1] === '"') field += text[++k];
    else if (inside && letter === '"') inside = false;
    else if (inside) field += letter;
    else if (letter === separator) {
      row.push(field);
      [field, begins] = ["", true];
    } else if (letter === "\n" || letter === "\r") {
      if (letter === "\r" && text[k + 1] === "\n") k++;
      rows.push([...row, field]);
      [row, field, begins] = [[], "", true];
    } else if (!(begins && letter === " ")) {
      if (begins && letter === '"') inside = true;
      else field += letter;
      begins = false;
    }
  }
  return [...rows, [...row, field]];
}

// Bytes of a table, by the rules of read_verdicts; rows that only have a class or a note are kept.
function readTable(bytes) {
  const text = decoded(bytes);
  for (const separator of [",", ";", "\t"]) {
    const rows = splitTable(text, separator).map((row) => row.map((field) => field.trim()));
    const titles = rows.slice(0, TITLES_AMONG).map((row) => row.map((title) => title.toLowerCase()));
    const at = titles.findIndex((names) => names.includes("image") && names.includes("verdict"));
    if (at >= 0) return rowsBelow(titles[at], rows.slice(at + 1));
  }
  const first = text.split("\n", 1)[0].trim().slice(0, 60).replace(/[^ -~]/g, "?");
  throw new Error(`it needs the columns image and verdict, got '${first}'`);
}

// Of several rows on one image the last one counts.
function rowsBelow(titles, rows) {
  const found = new Map();
  for (const fields of rows) {
    const row = Object.fromEntries(COLUMNS.map((name) => [name, fromCell(fields[titles.indexOf(name)] ?? "")]));
    [row.verdict, row.sha256] = [row.verdict.toLowerCase(), row.sha256.toLowerCase()];
    if (row.verdict && !VERDICTS.includes(row.verdict)) {
      throw new Error(`the verdict on '${row.image}' must be one of ${VERDICTS.join(", ")}, got '${row.verdict}'`);
    }
    if (row.verdict || row.class || row.note) found.set(row.image, row);
  }
  return [...found.values()];
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
}
