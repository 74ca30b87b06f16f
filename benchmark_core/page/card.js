// The card of a score: everything its record says that fits on a page.

/** Fill the dialog with the card of a row. `show` opens another row's card. */
function fillCard(dialog, row, data, show) {
  const detail = (row.members ? data.rows[row.members[0]] : row).card;
  const group = data.groups[row.group];
  const tables = detail.tables ?? [];
  const measured = (t) => t.title !== "details" && t.rows.some((r) => known(r.ci_low));
  const close = el("button", { type: "button", class: "close", onclick: () => dialog.close() }, "Close");
  const title = el("h2", { id: "card-title", tabindex: "-1" }, identifier(row.model || row.metric));
  const subtitle = el("p", { class: "subtitle" }, `${row.benchmark}, ${row.metric}`, row.simulated ? " (simulated responses)" : "");
  const sections = [
    headline(row, detail, group),
    drawsSection(row, data),
    publishedSection(row, detail),
    ...(detail.curves ?? []).map((curve) => curveSection(curve)),
    namedLayersSection(row, data),
    neuroidsSection(detail.neuroids, detail),
    subjectsSection(detail.subjects),
    ...tables.filter(measured).map(partsSection),
    scoresSection(row, data, show),
    ...tables.filter((t) => !measured(t)).map(partsSection),
    modelSection(detail),
    rerunSection(detail.rerun),
    provenanceSection(row, detail, data),
  ];
  dialog.replaceChildren(
    el("div", { class: "card-top" }, el("div", {}, title, subtitle), close),
    el("div", { class: "card-body" }, sections.filter(Boolean)),
  );
}

function section(title, ...content) {
  return el("section", {}, el("h3", {}, title), content);
}

function headline(row, detail, group) {
  if (row.status !== "ok") {
    return el("section", {}, el("p", { class: "notice" }, `${row.status === "failed" ? "Failed" : "Data or weights missing"}: ${row.error ?? "no reason given"}`));
  }
  const unit = detail.unit ? ` ${detail.unit}` : "";
  const range = known(row.ci_low) ? `95 % interval ${interval(row)}` : "without an interval";
  const figure = el(
    "div",
    { class: "headline" },
    el("p", { class: "figure" }, number(row.score), el("span", { class: "range-text" }, `${unit} ${range}`)),
    bar(row, group),
    el("p", { class: "ends", "aria-hidden": "true" }, el("span", {}, plainText(group.low)), el("span", {}, row.ceiling_at && row.ceiling_at[0] === group.high ? "1 = ceiling" : plainText(group.high))),
  );
  const remarks = [];
  if (row.best === true) remarks.push(el("p", {}, el("span", { class: "star", "aria-hidden": "true" }, "★ "), "Cannot be told from the best model of this benchmark and metric."));
  if (row.best === false) remarks.push(el("p", {}, "Worse than the best model of this benchmark and metric (all pairs together, 5 %)."));
  if (row.no_ceiling) remarks.push(el("p", {}, "No ceiling: single trials are not at hand, so the score is a share of all variance, noise included."));
  for (const warning of detail.warnings ?? []) remarks.push(el("p", { class: "notice" }, warning));
  return el("section", {}, figure, remarks, facts((detail.facts ?? []).map(([name, value]) => [name, plainText(value)])));
}

function drawsSection(row, data) {
  if (!row.members) return null;
  const draws = row.members.map((i) => data.rows[i]);
  const text = `Mean over ${draws.length} draws of the random weights; standard deviation over draws ${number(row.draws.sd, 4)}. Interval and details below are those of the first draw, the interval above is the mean of theirs.`;
  const rows = draws.map((d) => [el("span", { class: "id" }, identifier(d.model)), number(d.score), interval(d), number(d.r)]);
  return section("Draws", el("p", {}, text), table("Draws", ["model", "score", "95 % interval", "r"], rows, [1, 2, 3]));
}

function publishedSection(row, detail) {
  const theirs = row.published;
  if (!theirs) return null;
  const ours = detail.r_pattern ?? {};
  const rows = [
    ["here", number(ours.value), interval(ours)],
    ["published", number(theirs.r_pattern), interval(theirs)],
    ["difference", number(known(ours.value) ? ours.value - theirs.r_pattern : null), ""],
  ];
  return section("Beside the published number", table("Pattern correlation here and as published", ["r pattern", "value", "95 % interval"], rows, [1, 2]), theirs.recipe ? el("p", {}, `Recipes differ: ${theirs.recipe}.`) : [], el("p", { class: "small" }, theirs.source));
}

function curveSection(curve) {
  const rows = curve.points.map((p) => [p.layer, number(p.value), known(p.low) && p.high > p.low ? `${number(p.low)} to ${number(p.high)}` : NONE, p.chosen ? plainText(p.chosen) : NONE]);
  return section(
    curve.title,
    layerCurve(curve),
    el("p", { class: "small" }, curve.note),
    el("details", {}, el("summary", {}, "Numbers"), table(curve.title, ["layer", curve.label, "range over folds", "chosen"], rows, [1, 2, 3])),
  );
}

/** Scores of layers that were named one by one (`--layer all`). */
function namedLayersSection(row, data) {
  const same = (r) => r.model === row.model && r.group === row.group && r.requested_layer !== "auto" && known(r.score);
  const named = data.rows.filter(same);
  if (named.length < 2) return null;
  named.sort((a, b) => collator.compare(a.layer, b.layer));
  const points = named.map((r) => ({ layer: r.layer, value: r.score, low: r.ci_low, high: r.ci_high, chosen: row.layer === r.layer ? 1 : 0 }));
  const curve = { label: "score", title: "Score of each layer", points };
  const rows = named.map((r) => [r.layer, number(r.score), interval(r)]);
  return section(curve.title, layerCurve(curve), el("p", { class: "small" }, "Scores of layers that were named, with 95 % intervals over test stimuli."),
    el("details", {}, el("summary", {}, "Numbers"), table(curve.title, ["layer", "score", "95 % interval"], rows, [1, 2])));
}

function neuroidsSection(neuroids, detail) {
  if (!neuroids) return null;
  const from = neuroids.low;
  const rows = neuroids.r.map((count, i) => [
    `${tickText(from + i * neuroids.width)} to ${tickText(from + (i + 1) * neuroids.width)}`,
    String(count),
    neuroids.reliability ? String(neuroids.reliability[i]) : NONE,
  ]);
  const missing = neuroids.n - neuroids.r.reduce((a, b) => a + b, 0);
  const text = `${neuroids.n} neuroids${missing ? `, ${missing} of them without r` : ""}.`;
  return section("Neuroids", histogram(neuroids), el("p", { class: "small" }, text),
    el("details", {}, el("summary", {}, "Numbers"), table("Neuroids by r", ["r or reliability", "neuroids with this r", "with this reliability"], rows, [1, 2])));
}

function subjectsSection(subjects) {
  if (!subjects || subjects.length < 2) return null;
  const rows = subjects.map((s) => [s.subject, number(s.score), interval(s), number(s.r_neuroid), number(s.ceiling)]);
  return section("Subjects", table("Scores of each subject", ["subject", "score", "95 % interval", "r", "ceiling"], rows, [1, 2, 3, 4]));
}

function partsSection(parts) {
  const withIntervals = parts.rows.some((r) => known(r.ci_low));
  const rows = parts.rows.map((r) => [words(r.name), plainText(r.value), ...(withIntervals ? [interval(r)] : [])]);
  const inner = table(words(parts.title), ["name", "value", ...(withIntervals ? ["95 % interval"] : [])], rows, [1, 2]);
  const title = words(parts.title);
  return section(title[0].toUpperCase() + title.slice(1), parts.note ? el("p", { class: "small" }, parts.note) : [], rows.length > 8 ? el("details", {}, el("summary", {}, `${rows.length} values`), inner) : inner);
}

/** Every score of the same model: its regions, benchmarks and metrics. */
function scoresSection(row, data, show) {
  if (!row.model) return null;
  const own = data.view.filter((r) => r.model === row.model);
  if (own.length < 2) return null;
  const rows = own.map((r) => {
    const name = `${r.benchmark}, ${r.metric}`;
    const label = r === row ? el("strong", {}, name) : el("button", { type: "button", class: "link", onclick: () => show(r) }, name);
    return [label, r.requested_layer === "auto" || !r.model ? r.layer : `${r.layer} (named)`, known(r.score) ? number(r.score) : r.status, bar(r, data.groups[r.group])];
  });
  return section("All scores of this model", table("All scores of this model", ["benchmark, metric", "layer", "score", "on its scale"], rows, [2]));
}

function modelSection(detail) {
  const parts = (detail.models ?? []).map((m) => [
    (detail.models.length > 1 && el("h4", {}, m.model)) || [],
    facts([
      ["version", plainText(m.version)],
      ["trained", typeof m.trained === "boolean" ? plainText(m.trained) : null],
      ["parameters", m.parameters && Object.keys(m.parameters).length ? plainText(m.parameters) : "all at their defaults"],
      ["weights", m.weights],
      ["images", m.preprocessing ? plainText(m.preprocessing) : null],
    ]),
  ]);
  const metric = detail.metric_parameters;
  return section("Model and metric", parts, facts([["metric version", detail.metric_version], ["metric parameters", metric && Object.keys(metric).length ? plainText(metric) : null]]));
}

function rerunSection(rerun) {
  const code = el("code", {}, rerun.command);
  const told = el("span", { role: "status", class: "told" });
  const copy = el("button", { type: "button", class: "copy", onclick: () => copyText(code).then((text) => { told.textContent = text; }) }, "Copy");
  return section("Run it again", el("div", { class: "command" }, el("pre", { tabindex: "0", "aria-label": "Command" }, code), copy), told, rerun.note ? el("p", { class: "small" }, rerun.note) : []);
}

async function copyText(node) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    return "Copied.";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(node);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return "Selected; copy it with the keyboard.";
  }
}

function provenanceSection(row, detail, data) {
  const where = data.environments[detail.environment] ?? {};
  const pairs = [
    ["key", el("code", {}, row.id)],
    ["benchmark version", plainText(detail.benchmark_version)],
    ["computed", detail.finished?.replace("T", " ").replace(/:\d\d\+00:00$/, " UTC")],
    ["commit", where.commit ? el("span", {}, el("code", {}, where.commit), where.dirty ? " with changes" : "") : null],
    ["device", where.device],
    ["numerics", where.numerics],
    ["platform", where.platform],
    ["work it rests on", known(detail.seconds) ? `${number(detail.seconds, 1)} s` : null],
    ["peak memory", known(detail.peak_rss_bytes) ? `${(detail.peak_rss_bytes / 2 ** 30).toFixed(2)} GiB` : null],
    ["versions", where.versions ? Object.entries(where.versions).map(([k, v]) => `${k} ${v}`).join(", ") : null],
    ["inputs", detail.inputs ? Object.entries(detail.inputs).map(([k, v]) => `${k} ${String(v).slice(0, 12)}`).join(", ") : null],
  ];
  return section("Provenance", facts(pairs));
}
