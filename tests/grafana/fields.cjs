// The field options that panels know, with the defaults that Grafana's panels give them where a dashboard sets none.
// @grafana/data has what each one does (its override processors); the list itself is Grafana's server's, which is
// not to be had, so it stands here. An option that a dashboard uses and this list lacks is an error.

const data = require("@grafana/data");

const GREEN_THEN_RED = { mode: "absolute", steps: [{ value: -Infinity, color: "green" }, { value: 80, color: "red" }] };

const option = (id, process, more = {}) => ({
  id,
  path: id,
  name: id,
  process,
  override: () => null,
  editor: () => null,
  shouldApply: () => true,
  ...more,
});

const STANDARD = [
  option("unit", data.unitOverrideProcessor),
  option("min", data.numberOverrideProcessor),
  option("max", data.numberOverrideProcessor),
  option("decimals", data.numberOverrideProcessor),
  option("displayName", data.displayNameOverrideProcessor),
  option("noValue", data.stringOverrideProcessor),
  option("links", data.dataLinksOverrideProcessor),
  option("mappings", data.valueMappingsOverrideProcessor, { defaultValue: [] }),
  option("thresholds", data.thresholdsOverrideProcessor, { defaultValue: GREEN_THEN_RED }),
  option("color", data.identityOverrideProcessor, { defaultValue: { mode: "thresholds" } }),
];
const CUSTOM = ["width", "cellOptions", "axisPlacement", "align", "inspect", "filterable"].map((id) =>
  option(`custom.${id}`, data.identityOverrideProcessor, { path: id, isCustom: true }),
);

const registry = new data.FieldConfigOptionsRegistry();
for (const one of [...STANDARD, ...CUSTOM]) {
  registry.register(one);
}

/** The panel's field options as Grafana completes them when it loads a dashboard. */
function completed(fieldConfig) {
  const defaults = structuredClone(fieldConfig.defaults);
  for (const one of STANDARD) {
    if (one.defaultValue !== undefined && defaults[one.id] === undefined) {
      defaults[one.id] = structuredClone(one.defaultValue);
    }
  }
  const everywhere = [defaults.thresholds];
  for (const { properties } of fieldConfig.overrides) {
    for (const { id, value } of properties) {
      if (!registry.getIfExists(id)) {
        throw new Error(`no such field option: ${id}`);
      }
      if (id === "thresholds") {
        everywhere.push(value);
      }
    }
  }
  for (const { steps } of everywhere) {
    steps.forEach((step) => (step.value ??= -Infinity)); // JSON has no infinity: a dashboard says null
  }
  return { defaults, overrides: fieldConfig.overrides };
}

module.exports = { registry, completed };
