// What a panel of each type may hold, by Grafana's schema. Python writes the panels of a dashboard to a file that
// imports these, and `tsc` looks for what the schema does not have: an unknown key, a value of another type.

import type * as schema from "@grafana/schema";
import type * as barGauge from "@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen.d.ts";
import type * as heatmap from "@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen.d.ts";
import type * as stat from "@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts";
import type * as timeline from "@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen.d.ts";
import type * as table from "@grafana/schema/dist/types/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen.d.ts";
import type * as timeSeries from "@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts";

/** A type as JSON has it: an enumeration is its values, and an absent number is null. */
type Json<T> = T extends string
  ? `${T}`
  : T extends number
    ? `${T}` extends `${infer N extends number}` ? N : T
    : T extends object
      ? { [K in keyof T]: Json<T[K]> }
      : T;

interface Link {
  title: string;
  url: string;
  targetBlank?: boolean;
}
type Mapping = Json<schema.ValueMap | schema.RangeMap | schema.SpecialValueMap>;
interface Thresholds {
  mode: Json<schema.ThresholdsMode>;
  steps: { color: string; value: number | null }[];
}
interface Color {
  mode: Json<schema.FieldColorModeId>;
  fixedColor?: string;
}
interface Field<Custom> {
  unit: string;
  color?: Color;
  thresholds?: Thresholds;
  mappings?: Mapping[];
  noValue?: string;
  decimals?: number;
  min?: number;
  max?: number;
  links?: Link[];
  custom?: [Custom] extends [never] ? never : Json<Custom>;
}

type Standard<Custom> = {
  [K in Exclude<keyof Field<Custom>, "custom">]-?: { id: K; value: NonNullable<Field<Custom>[K]> };
}[Exclude<keyof Field<Custom>, "custom">];
type Special<Custom> = [Custom] extends [never]
  ? never
  : { [K in keyof Custom & string]-?: { id: `custom.${K}`; value: Json<NonNullable<Custom[K]>> } }[keyof Custom & string];
interface Override<Custom> {
  matcher: { id: "byName"; options: string };
  properties: (Standard<Custom> | Special<Custom>)[];
}

type Organize = {
  id: "organize";
  options: {
    excludeByName: Record<string, boolean>;
    indexByName: Record<string, number>;
    renameByName: Record<string, string>;
    includeByName: Record<string, boolean>;
  };
};
type Merge = { id: "merge"; options: Record<string, never> };

/** Keys that Grafana's editor writes for Prometheus; the schema of the data source is not among its libraries. */
interface Target {
  refId: string;
  datasource: Json<schema.DataSourceRef>;
  expr: string;
  editorMode: "code" | "builder";
  instant: boolean;
  range: boolean;
  format?: "table" | "heatmap" | "time_series";
  legendFormat?: string;
}

interface Chart<Type extends string, Options, Custom> {
  id: number;
  type: Type;
  title: string;
  description: string;
  datasource: Json<schema.DataSourceRef>;
  gridPos: Json<schema.GridPos>;
  targets: Target[];
  interval?: string; // the shortest step
  maxDataPoints?: number;
  options: Json<Options>;
  fieldConfig: { defaults: Field<Custom>; overrides: Override<Custom>[] };
  transformations?: (Merge | Organize)[];
}

type TableOptions = Omit<table.Options, "frameIndex">; // of the frame that is chosen: there is one

interface Panels {
  stat: Chart<"stat", stat.Options, never>;
  bargauge: Chart<"bargauge", barGauge.Options, never>;
  table: Chart<"table", TableOptions, table.FieldConfig>;
  "state-timeline": Chart<"state-timeline", timeline.Options, timeline.FieldConfig>;
  timeseries: Chart<"timeseries", timeSeries.Options, timeSeries.FieldConfig>;
  heatmap: Chart<"heatmap", heatmap.Options, heatmap.FieldConfig>;
}

export type Panel<Type extends keyof Panels> = Panels[Type];
