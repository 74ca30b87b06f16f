// Drawings in SVG: the bar of a score, the curve over layers, the histogram over neuroids.

/** Return a function from values to places along a bar, 3 to 97 %. */
function barScale(group) {
  const span = group.high - group.low || 1;
  return (value) => `${(3 + (94 * (Math.min(Math.max(value, group.low), group.high) - group.low)) / span).toFixed(2)}%`;
}

/** What a bar shows, in words. */
function barText(row) {
  if (!known(row.score)) return "no score";
  const parts = [`score ${number(row.score)}`];
  if (known(row.ci_low)) parts.push(`95 % interval ${interval(row)}`);
  if (row.ceiling_at) {
    const [low, high] = row.ceiling_at;
    parts.push(low === high ? `ceiling at ${number(low)}` : `ceiling ${number(low)} to ${number(high)}`);
  }
  if (known(row.chance)) parts.push(`chance ${number(row.chance)}`);
  return parts.join(", ");
}

/** Draw score (a bar from 0, an outline if untrained) and interval on the scale of their benchmark and metric, with ceiling and chance where there are any. */
function bar(row, group) {
  const at = barScale(group);
  const middle = 9;
  const parts = [el("line", { class: "track", x1: at(group.low), x2: at(group.high), y1: middle, y2: middle })];
  if (group.low < 0) parts.push(el("line", { class: "zero", x1: at(0), x2: at(0), y1: 4, y2: 14 }));
  if (row.ceiling_at) {
    const [low, high] = row.ceiling_at;
    if (high > low) {
      const width = `${(parseFloat(at(high)) - parseFloat(at(low))).toFixed(2)}%`;
      parts.push(el("rect", { class: "band", x: at(low), width, y: 2, height: 14 }));
    }
    parts.push(el("line", { class: "ceiling", x1: at(low), x2: at(low), y1: 1, y2: 17 }));
  }
  if (known(row.score)) {
    const [from, to] = [Math.min(0, row.score), Math.max(0, row.score)].map((v) => parseFloat(at(v)));
    parts.push(el("rect", { class: row.trained === false ? "length hollow" : "length", x: `${from}%`, width: `${(to - from).toFixed(2)}%`, y: middle - 4.5, height: 9 }));
  }
  if (known(row.ci_low) && known(row.ci_high)) {
    const [low, high] = [at(row.ci_low), at(row.ci_high)];
    parts.push(el("line", { class: "interval", x1: low, x2: high, y1: middle, y2: middle }));
    for (const end of [low, high]) parts.push(el("line", { class: "interval", x1: end, x2: end, y1: middle - 2.5, y2: middle + 2.5 }));
  }
  if (known(row.chance)) parts.push(el("line", { class: "chance", x1: at(row.chance), x2: at(row.chance), y1: 2, y2: 16 }));
  return el("svg", { class: "bar", width: "100%", height: 18, role: "img", "aria-label": barText(row) }, parts);
}

/** Draw the ends of a scale, and where its ceiling is, above a column of bars. */
function axis(svg, group, row) {
  svg.replaceChildren();
  if (!group) return;
  const at = barScale(group);
  const ends = [[group.low < 0 ? 0 : group.low, "start"], [group.high, "end"]];
  for (const [value, anchor] of ends) {
    const text = anchor === "end" && row?.ceiling_at && row.ceiling_at[0] === value ? "1 = ceiling" : plainText(value);
    svg.append(el("text", { x: at(value), y: 11, "text-anchor": anchor }, text));
  }
}

/** Round steps for an axis: about `count` of them over a range. */
function ticks(low, high, count = 4) {
  const rough = (high - low) / count || 1;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(i * step);
  return found;
}

const tickText = (value) => String(Number(value.toPrecision(6))).replace("-", MINUS);

/** The width of a chart in CSS pixels: that of the card, so that its texts keep their size on a phone. */
const chartWidth = () => Math.max(280, Math.min(640, document.documentElement.clientWidth - 36));

/** Draw a value for each layer, first to last, with the range over folds; layers that were chosen are filled. */
function layerCurve(curve) {
  const points = curve.points.filter((p) => known(p.value));
  const many = points.length > 12;
  const W = chartWidth();
  const H = 210;
  const [left, right, top, bottom] = [46, 14, 26, points.length > 6 ? 62 : 34];
  const lows = points.map((p) => (known(p.low) ? p.low : p.value));
  const highs = points.map((p) => (known(p.high) ? p.high : p.value));
  const low = Math.min(0, ...lows);
  const high = Math.max(...highs) * 1.05 || 1;
  const x = (i) => left + ((W - left - right) * (i + 0.5)) / points.length;
  const y = (v) => H - bottom - ((H - top - bottom) * (v - low)) / (high - low);
  const parts = [el("text", { x: 6, y: 12 }, curve.label)];
  for (const value of ticks(low, high)) {
    parts.push(el("line", { class: "grid", x1: left, x2: W - right, y1: y(value), y2: y(value) }));
    parts.push(el("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, tickText(value)));
  }
  parts.push(el("path", { class: "curve", d: points.map((p, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(p.value).toFixed(1)}`).join("") }));
  points.forEach((p, i) => {
    if (known(p.low) && p.high > p.low) {
      parts.push(el("line", { class: "range", x1: x(i), x2: x(i), y1: y(p.low), y2: y(p.high) }));
    }
    parts.push(el("circle", { class: p.chosen ? "dot" : "dot hollow", cx: x(i), cy: y(p.value), r: many ? 3.5 : 5 }));
    if (many && i % Math.ceil(points.length / 12) !== 0 && !p.chosen) return;
    const name = p.layer.length > 18 ? `…${p.layer.slice(-17)}` : p.layer;
    const place = { class: p.chosen ? "chosen" : null, x: x(i), y: H - bottom + 18 };
    if (points.length > 6) Object.assign(place, { "text-anchor": "end", transform: `rotate(-35 ${x(i)} ${H - bottom + 14})`, y: H - bottom + 14 });
    else place["text-anchor"] = "middle";
    parts.push(el("text", place, name));
  });
  const best = points.reduce((a, b) => (b.value > a.value ? b : a));
  const label = `${curve.label} for ${points.length} layers; highest ${number(best.value)} at ${best.layer}`;
  return el("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label }, parts);
}

/** Draw how many neuroids have which r, and as an outline which reliability. */
function histogram(neuroids) {
  const W = chartWidth();
  const H = 190;
  const [left, right, top, bottom] = [46, 14, 26, 40];
  const { r, reliability, low, width } = neuroids;
  const n = r.length;
  const most = Math.max(...r, ...(reliability ?? [0]), 1);
  const x = (i) => left + ((W - left - right) * i) / n;
  const y = (count) => H - bottom - ((H - top - bottom) * count) / most;
  const parts = [el("text", { x: 6, y: 12 }, "neuroids")];
  for (const value of ticks(0, most, 3).filter(Number.isInteger)) {
    parts.push(el("line", { class: "grid", x1: left, x2: W - right, y1: y(value), y2: y(value) }));
    parts.push(el("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, tickText(value)));
  }
  r.forEach((count, i) => {
    if (count) parts.push(el("rect", { class: "column", x: x(i) + 1, width: x(1) - x(0) - 2, y: y(count), height: y(0) - y(count) }));
  });
  if (reliability) {
    const steps = reliability.map((count, i) => `L${x(i).toFixed(1)} ${y(count).toFixed(1)}H${x(i + 1).toFixed(1)}`).join("");
    parts.push(el("path", { class: "outline", d: `M${x(0)} ${y(0)}${steps}L${x(n)} ${y(0)}` }));
  }
  for (let i = 0; i <= n; i += Math.ceil((30 * n) / (W - left - right))) {
    parts.push(el("text", { x: x(i), y: H - bottom + 16, "text-anchor": "middle" }, tickText(low + i * width)));
  }
  const title = reliability ? "r (filled) and reliability (outline) of a neuroid" : "r of a neuroid";
  parts.push(el("text", { x: (left + W - right) / 2, y: H - 6, "text-anchor": "middle" }, title));
  const peak = r.indexOf(Math.max(...r));
  const label = `Number of neuroids by r; most have ${tickText(low + peak * width)} to ${tickText(low + (peak + 1) * width)}`;
  return el("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label }, parts);
}
