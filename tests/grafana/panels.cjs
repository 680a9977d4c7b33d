// What Grafana's own libraries make of a dashboard and the answers of Prometheus: every tile, cell and series, with its
// text and its colour. Reads {dashboard, states: {name: {panel id: {ref id: result}}}} as JSON from its input, and
// writes {name: [panel…]}. tests/grafana_panels.py is the other side.

require("./browser.cjs");
const { firstValueFrom } = require("rxjs");
const tinycolor = require("tinycolor2");
const data = require("@grafana/data");
const { completed, registry } = require("./fields.cjs");

const theme = data.createTheme({ colors: { mode: "dark" } });
const transformers = new Map(Object.values(data.standardTransformers).map((one) => [one.id, one])); // one has two names
data.standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((transformation) => ({
    id: transformation.id,
    transformation,
    name: transformation.name,
    description: "",
    editor: () => null,
    imageDark: "",
    imageLight: "",
  })),
);

// Of these colours is what the dashboards show of nothing.
const NEUTRAL = new Set(["text", "transparent"].map((name) => tinycolor(theme.visualization.getColorByName(name)).toHex8()));

const asNumber = (text) => (text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text));
const points = (series) => (series.value ? [series.value] : series.values);

/** The legend's template filled in, as the data source does. */
const legend = (template, labels) => template.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "");

function timeSeries(target, result) {
  if (result.length === 0) {
    return [{ refId: target.refId, fields: [], length: 0 }];
  }
  return result.map((series) => {
    const config = target.legendFormat ? { displayNameFromDS: legend(target.legendFormat, series.metric) } : {};
    return {
      refId: target.refId,
      fields: [
        { name: "Time", type: "time", config: {}, values: points(series).map(([at]) => at * 1000) },
        {
          name: "Value",
          type: "number",
          config,
          labels: series.metric,
          values: points(series).map(([, text]) => asNumber(text)),
        },
      ],
      length: points(series).length,
    };
  });
}

/** One row for each series: its labels, and its value in a column that is named after the query if there are several. */
function table(target, result, alone) {
  const labels = [...new Set(result.flatMap((series) => Object.keys(series.metric)))].sort();
  const text = (name) => ({
    name,
    type: "string",
    config: {},
    values: result.map((series) => series.metric[name] ?? ""),
  });
  return [
    {
      refId: target.refId,
      fields: [
        { name: "Time", type: "time", config: {}, values: result.map((series) => series.value[0] * 1000) },
        ...labels.map(text),
        {
          name: alone ? "Value" : `Value #${target.refId}`,
          type: "number",
          config: {},
          values: result.map((series) => asNumber(series.value[1])),
        },
      ],
      length: result.length,
    },
  ];
}

const frames = (panel, answers) =>
  panel.targets.flatMap((target) => {
    const result = answers[target.refId];
    return target.format === "table" ? table(target, result, panel.targets.length === 1) : timeSeries(target, result);
  });

const shown = ({ text, prefix, suffix, color, numeric }, value) => ({
  text: `${prefix ?? ""}${text}${suffix ?? ""}`,
  neutral: NEUTRAL.has(tinycolor(color).toHex8()),
  known: value === undefined ? Number.isFinite(numeric) : value !== null && !Number.isNaN(value),
});

function tiles(panel, fieldConfig, series) {
  const found = data.getFieldDisplayValues({
    fieldConfig,
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    theme,
    data: series,
    timeZone: "utc",
  });
  return found.map(({ display, name }) => ({
    title: display.title ?? "",
    // Where there is no field at all, the display has the number 0 to stand for it.
    ...shown(display, name === "No data" && !display.title ? null : display.numeric),
  }));
}

const cells = (field) => ({
  name: data.getFieldDisplayName(field),
  colored: field.config.custom?.cellOptions?.type ?? "auto",
  cells: field.values.map((value) => shown(field.display(value), value ?? null)),
});

const lines = (frame) =>
  frame.fields
    .filter((field) => field.type === "number")
    .map((field) => ({
      name: data.getFieldDisplayName(field, frame),
      points: field.values.map((value) => shown(field.display(value), value)),
    }));

async function processed(panel, answers) {
  const fieldConfig = completed(structuredClone(panel.fieldConfig));
  const transformed = await firstValueFrom(data.transformDataFrame(panel.transformations ?? [], frames(panel, answers)));
  const series = data.applyFieldOverrides({
    data: transformed,
    fieldConfig,
    replaceVariables: (text) => text,
    theme,
    timeZone: "utc",
    fieldConfigRegistry: registry,
  });
  const matched = fieldConfig.overrides.map(({ matcher }) => {
    const matches = data.fieldMatchers.get(matcher.id).get(matcher.options);
    return [matcher.options, series.some((frame) => frame.fields.some((field) => matches(field, frame, series)))];
  });
  const found = { id: panel.id, title: panel.title, type: panel.type, overrides: Object.fromEntries(matched) };
  switch (panel.type) {
    case "stat":
    case "bargauge":
      return { ...found, tiles: tiles(panel, fieldConfig, series) };
    case "table":
      return { ...found, columns: series.flatMap((frame) => frame.fields.map(cells)) };
    default:
      return { ...found, series: series.flatMap(lines) };
  }
}

async function main() {
  const { dashboard, states } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
  const panels = dashboard.panels.flatMap((panel) => [panel, ...(panel.panels ?? [])]);
  const found = {};
  for (const [name, answers] of Object.entries(states)) {
    const charts = panels.filter((panel) => panel.type !== "row");
    found[name] = await Promise.all(charts.map((panel) => processed(panel, answers[panel.id])));
  }
  process.stdout.write(JSON.stringify(found));
}

main();
