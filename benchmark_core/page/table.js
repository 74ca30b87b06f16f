// The table: sorting and filtering by TanStack Table, rows drawn in portions, the view kept in the address.

const FIRST = 40; // rows that are drawn at once, more than a screen
const PORTION = 100; // rows that follow when they come near
const collator = new Intl.Collator("en", { numeric: true });
const data = JSON.parse(byId("data").textContent);
const WEIGHTS = { true: "trained", false: "untrained", null: "no model" };
const FILTERS = ["benchmark", "metric", "weights", "family"];

data.rows.forEach((row) => prepare(row));
const merged = mergeDraws();
data.view = merged;

function prepare(row) {
  row.weights = WEIGHTS[row.trained ?? null];
  row.haystack = [row.model, row.benchmark, row.metric, row.layer, row.weights, ...row.family].join(" ").toLowerCase();
  return row;
}

/** One row for all draws of a model, in the place of its first. */
function mergeDraws() {
  const drawn = new Set(data.draws.flatMap((d) => d.members));
  const rows = data.draws.map((d) => prepare({ ...data.rows[d.members[0]], ...d }));
  return [...data.rows.filter((_, i) => !drawn.has(i)), ...rows];
}

const text = (a, b, id) => collator.compare(a.getValue(id), b.getValue(id));
const value = (get) => ({ accessorFn: (row) => get(row) ?? undefined, sortingFn: "basic", sortUndefined: "last", sortDescFirst: true });
const name = (id) => ({ id, accessorFn: (row) => row[id] ?? "", sortingFn: text, sortDescFirst: false, filterFn: "equals" });
const columns = [
  name("model"),
  name("benchmark"),
  name("metric"),
  { id: "score", ...value((r) => r.score) },
  { id: "interval", ...value((r) => r.ci_low) },
  { id: "ceiling", ...value((r) => r.ceiling) },
  { id: "r", ...value((r) => r.r) },
  { id: "published", ...value((r) => r.published?.r_pattern) },
  { id: "features", ...value((r) => r.features?.[0]) },
  name("layer"),
  name("weights"),
  { id: "family", accessorFn: (r) => r.family, filterFn: "arrIncludes", enableSorting: false },
  { id: "best", accessorFn: (r) => r.best === true, filterFn: "equals", enableSorting: false },
];

let state = {};
let drawing = false;
const model = TableCore.createTable({
  data: merged,
  columns,
  state,
  renderFallbackValue: null,
  onStateChange: (update) => {
    state = typeof update === "function" ? update(state) : update;
    model.setOptions((options) => ({ ...options, state }));
    if (!drawing) draw();
  },
  getColumnCanGlobalFilter: (column) => column.id === "model",
  globalFilterFn: (row, _, query) => query.every((word) => row.original.haystack.includes(word)),
  getCoreRowModel: TableCore.getCoreRowModel(),
  getFilteredRowModel: TableCore.getFilteredRowModel(),
  getSortedRowModel: TableCore.getSortedRowModel(),
});
state = { ...model.initialState, sorting: [{ id: "score", desc: true }] };
model.setOptions((options) => ({ ...options, state }));

/** Make several changes and draw once. */
function change(act) {
  drawing = true;
  act();
  drawing = false;
  draw();
}

// ---- Rows

const headers = [...document.querySelectorAll("#table thead th")];
const shownColumns = headers.map((th) => th.dataset.column);
const anyPublished = data.rows.some((r) => r.published);
let rowsNow = [];
let shown = 0;

function draw() {
  rowsNow = model.getRowModel().rows;
  const one = oneGroup(rowsNow);
  const picked = (id) => Boolean(model.getColumn(id).getFilterValue());
  const root = byId("table");
  root.classList.toggle("one-benchmark", picked("benchmark"));
  root.classList.toggle("one-metric", picked("metric"));
  root.classList.toggle("no-published", !anyPublished);
  root.setAttribute("aria-rowcount", String(rowsNow.length + 1));
  axis(byId("axis"), one === null ? null : data.groups[one], rowsNow[0]?.original);
  document.querySelector(".bar-title").textContent = one === null ? "Each on its own scale" : rowsNow[0].original.ceiling_at ? "Against the ceiling" : "On its scale";
  drawHeaders();
  byId("rows").replaceChildren();
  shown = 0;
  drawMore(FIRST);
  say();
  fillFilters();
  remember();
}

function oneGroup(rows) {
  const first = rows[0]?.original.group;
  return first !== undefined && rows.every((r) => r.original.group === first) ? first : null;
}

function drawMore(portion = PORTION) {
  const until = Math.min(rowsNow.length, shown + portion);
  const part = document.createDocumentFragment();
  for (let i = shown; i < until; i += 1) part.append(drawRow(rowsNow[i].original, i));
  if (!rowsNow.length) part.append(el("tr", {}, el("td", { colspan: shownColumns.length, class: "empty" }, "No score fits. ", el("button", { type: "button", class: "link", onclick: reset }, "Show everything"))));
  byId("rows").append(part);
  shown = until;
  const rest = rowsNow.length - shown;
  byId("more").hidden = rest === 0;
  byId("more").textContent = `Show more (${whole(rest)} left)`;
}

function drawRow(row, index) {
  const cells = {
    model: () => el("th", { scope: "row", "data-column": "model" }, el("div", { class: "name" }, el("button", { type: "button", class: "open", "data-id": row.id, "aria-haspopup": "dialog" }, row.model ? identifier(row.model) : `${row.metric} (no model)`), note(row), el("span", { class: "where" }, identifier(`${row.benchmark}, ${row.metric}`)))),
    benchmark: () => cell("benchmark", identifier(row.benchmark), row.simulated ? el("span", { class: "tag" }, "simulated") : null),
    metric: () => cell("metric", identifier(row.metric)),
    score: () => (row.status === "ok" ? cell("score", row.best ? [el("span", { class: "star", "aria-hidden": "true" }, "★"), hidden("in the best set ")] : null, number(row.score)) : cell("score", el("span", { class: "tag" }, row.status))),
    interval: () => cell("interval", interval(row)),
    bar: () => cell("bar", row.status === "ok" ? bar(row, data.groups[row.group]) : null),
    ceiling: () => cell("ceiling", number(row.ceiling)),
    r: () => cell("r", number(row.r)),
    published: () => cell("published", number(row.published?.r_pattern)),
    features: () => cell("features", row.features ? row.features.map((n) => el("div", {}, whole(n))) : NONE),
    layer: () => cell("layer", row.layer ? identifier(row.layer) : NONE),
    weights: () => cell("weights", row.weights),
  };
  return el("tr", { "aria-rowindex": index + 2 }, shownColumns.map((id) => cells[id]()));
}

const NUMBERS = new Set(headers.filter((th) => th.classList.contains("number")).map((th) => th.dataset.column));
const cell = (id, ...content) => el("td", { "data-column": id, class: NUMBERS.has(id) ? "number" : null }, ...content);

function note(row) {
  if (row.members) return el("span", { class: "tag" }, `mean of ${row.members.length} draws, sd ${number(row.draws.sd)}`);
  if (row.requested_layer !== "auto" && row.model) return el("span", { class: "tag" }, `layer named: ${row.requested_layer}`);
  return row.precision && row.precision !== "exact" ? el("span", { class: "tag" }, row.precision) : null;
}

function drawHeaders() {
  const [sorting] = state.sorting;
  for (const th of headers) {
    if (!th.querySelector("button")) continue;
    const now = sorting?.id === th.dataset.column ? (sorting.desc ? "descending" : "ascending") : null;
    if (now) th.setAttribute("aria-sort", now);
    else th.removeAttribute("aria-sort");
  }
}

function say() {
  const [sorting] = state.sorting;
  const title = sorting && headers.find((th) => th.dataset.column === sorting.id).textContent;
  const order = sorting ? `, by ${title}, ${sorting.desc ? "highest first" : "lowest first"}` : "";
  const all = model.options.data.length;
  const count = rowsNow.length === all ? `${whole(all)} rows` : `${whole(rowsNow.length)} of ${whole(all)} rows`;
  byId("count").textContent = `${count}${order}`;
  byId("caption").textContent = [state.columnFilters.find((f) => f.id === "benchmark")?.value ?? "All benchmarks", state.columnFilters.find((f) => f.id === "metric")?.value ?? "all metrics"].join(", ");
}

// ---- Filters

const fits = (row, { id, value: chosen }) => (id === "best" ? row.best === true : id === "family" ? row.family.includes(chosen) : row[id] === chosen);
let filledFor = [];

/** Options of each filter with the number of rows that the other filters leave. */
function fillFilters() {
  const now = [state.columnFilters, state.globalFilter, model.options.data];
  if (now.every((part, i) => part === filledFor[i])) return; // sorted anew only
  filledFor = now;
  const query = state.globalFilter ?? [];
  const found = model.options.data.filter((row) => query.every((word) => row.haystack.includes(word)));
  for (const id of FILTERS) {
    const others = state.columnFilters.filter((f) => f.id !== id);
    const counts = new Map(choices(id).map((choice) => [choice, 0]));
    for (const row of found) {
      if (!others.every((f) => fits(row, f))) continue;
      for (const choice of id === "family" ? row.family : [row[id]]) counts.set(choice, counts.get(choice) + 1);
    }
    const chosen = model.getColumn(id).getFilterValue() ?? "";
    const options = [...counts].map(([choice, n]) => el("option", { value: choice, selected: choice === chosen }, `${choice} (${n})`));
    byId(`filter-${id}`).replaceChildren(el("option", { value: "" }, "All"), ...options);
  }
  byId("filter-best").checked = Boolean(model.getColumn("best").getFilterValue());
}

const allChoices = new Map();

/** All values that a filter can have, in order. */
function choices(id) {
  if (!allChoices.has(id)) allChoices.set(id, [...new Set(data.rows.flatMap((row) => row[id]))].sort(collator.compare));
  return allChoices.get(id);
}

function setFilter(id, wanted) {
  change(() => {
    model.getColumn(id).setFilterValue(wanted || undefined);
    // A benchmark and a metric that never meet: the one just picked counts.
    const other = { benchmark: "metric", metric: "benchmark" }[id];
    if (other && !model.getRowModel().rows.length) model.getColumn(other).setFilterValue(undefined);
  });
}

function setSearch(words) {
  const query = words.toLowerCase().split(/\s+/).filter(Boolean);
  model.setGlobalFilter(query.length ? query : undefined);
}

function setDraws(apart) {
  data.view = apart ? data.rows : merged;
  byId("draws").checked = apart;
  model.setOptions((options) => ({ ...options, data: data.view }));
}

function reset() {
  change(() => {
    byId("search").value = "";
    model.setGlobalFilter(undefined);
    model.setColumnFilters([]);
  });
  byId("search").focus();
}

for (const id of FILTERS) byId(`filter-${id}`).addEventListener("change", (event) => setFilter(id, event.target.value));
byId("filter-best").addEventListener("change", (event) => setFilter("best", event.target.checked));
byId("draws-choice").hidden = !data.draws.length;
byId("draws").addEventListener("change", (event) => change(() => setDraws(event.target.checked)));
byId("search").addEventListener("input", (event) => setSearch(event.target.value));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("reset").addEventListener("click", reset);
for (const th of headers) {
  th.querySelector("button")?.addEventListener("click", () => {
    const column = model.getColumn(th.dataset.column);
    const [sorting] = state.sorting;
    column.toggleSorting(sorting?.id === column.id ? !sorting.desc : column.columnDef.sortDescFirst);
  });
}
byId("more").addEventListener("click", () => {
  const next = shown;
  drawMore();
  document.querySelectorAll("#rows .open")[next]?.focus();
});
new IntersectionObserver((seen) => {
  if (seen.some((s) => s.isIntersecting) && shown < rowsNow.length) drawMore();
}, { rootMargin: "600px" }).observe(byId("more"));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("scores").focus();
  byId("scores").scrollIntoView();
});

// ---- Cards

const dialog = byId("card");
let opened = null;

function show(row) {
  opened = row;
  fillCard(dialog, row, data, show);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  byId("card-title").focus();
  remember();
}

byId("rows").addEventListener("click", (event) => {
  const button = event.target.closest("tr")?.querySelector(".open");
  const selecting = String(getSelection()) !== "" && !event.target.closest(".open"); // a name is being copied
  if (!button || selecting) return;
  show(data.view.find((r) => r.id === button.dataset.id));
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
dialog.addEventListener("close", () => {
  const id = opened?.id;
  opened = null;
  remember();
  // Back to the row of the card that was open last, if the table shows it.
  [...document.querySelectorAll("#rows .open")].find((b) => b.dataset.id === id)?.focus();
});

// ---- Look and address

const LOOKS = ["system", "light", "dark"];

function setLook(look) {
  document.documentElement.dataset.theme = look;
  byId("theme").value = look;
}

function stored(write) {
  try {
    if (write !== undefined) localStorage.setItem("cortex-bench-theme", write);
    return localStorage.getItem("cortex-bench-theme");
  } catch {
    return null; // storage is switched off: the choice lasts as long as the page
  }
}

byId("theme").addEventListener("change", (event) => {
  setLook(event.target.value);
  stored(event.target.value);
});
setLook(LOOKS.includes(stored()) ? stored() : "system");

/** Keep the view in the address, so that it can be bookmarked and sent to others. */
function remember() {
  const view = new URLSearchParams();
  for (const { id, value: chosen } of state.columnFilters) view.set(id, String(chosen));
  if (byId("search").value) view.set("search", byId("search").value);
  const [sorting] = state.sorting;
  if (sorting) view.set("sort", (sorting.desc ? "-" : "") + sorting.id);
  if (byId("draws").checked) view.set("draws", "each");
  if (opened) view.set("card", opened.id);
  const address = `#${view}`;
  if (location.hash !== address) history.replaceState(null, "", address);
}

/** Take the view from the address; without one, start with the benchmark and metric that have most rows. */
function recall() {
  const view = new URLSearchParams(location.hash.slice(1));
  const fresh = ![...view.keys()].length;
  const start = data.groups[data.start];
  change(() => {
    setDraws(view.get("draws") === "each");
    byId("search").value = view.get("search") ?? "";
    setSearch(byId("search").value);
    const filters = FILTERS.map((id) => ({ id, value: view.get(id) })).filter((f) => f.value);
    if (view.get("best") === "true") filters.push({ id: "best", value: true });
    if (fresh && start) filters.push({ id: "benchmark", value: start.benchmark }, { id: "metric", value: start.metric });
    model.setColumnFilters(filters);
    const sort = view.get("sort") ?? "-score";
    const id = sort.replace(/^-/, "");
    if (shownColumns.includes(id) && id !== "bar") model.setSorting([{ id, desc: sort.startsWith("-") }]);
  });
  const row = data.view.find((r) => r.id === view.get("card"));
  if (row) show(row);
}

window.addEventListener("hashchange", recall);
recall();
