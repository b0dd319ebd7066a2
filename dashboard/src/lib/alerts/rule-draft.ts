/** The form model of a rule: rates as percentages, and the fields that each metric uses. Pure. */
import type { Metric, Rule, RuleBody, Severity } from '../api/alerts';
import { span } from '../util/time-units';

export const METRICS = [
  'success_rate',
  'failure_rate',
  'failure_count',
  'consecutive_failures',
  'no_runs',
  'overdue_count',
  'open_too_long',
] as const satisfies readonly Metric[];

export interface Draft {
  name: string;
  enabled: boolean;
  severity: Severity;
  /** Each workflow separately, one workflow, or all workflows of the project together. */
  reach: 'each' | 'one' | 'all';
  workflow_slug: string;
  metric: Metric;
  comparison: Rule['comparison'];
  /** A percentage for rates, seconds for `open_too_long`, otherwise a count. */
  threshold: number | null;
  window_seconds: number | null;
  window_min_runs: number | null;
  min_runs: number | null;
  method: Rule['method'];
  consecutive: number | null;
  /** In the unit of the threshold; null: the default. */
  recovery_threshold: number | null;
  recovery_runs: number | null;
  reopen_within_seconds: number | null;
  repeat_every_seconds: number | null;
  no_data_after_seconds: number | null;
  /** null: computed from the durations of the workflow's runs. */
  deadline_seconds: number | null;
  notify_resolved: boolean;
  /** null: all channels of the project. */
  channel_ids: string[] | null;
}

const DAY = 86_400;

/** The API's defaults, with thresholds as percentages. */
export const DEFAULTS: Draft = {
  name: '',
  enabled: true,
  severity: 'warning',
  reach: 'each',
  workflow_slug: '',
  metric: 'success_rate',
  comparison: 'below',
  threshold: 95,
  window_seconds: DAY,
  window_min_runs: 20,
  min_runs: 5,
  method: 'wilson',
  consecutive: 3,
  recovery_threshold: null,
  recovery_runs: 10,
  reopen_within_seconds: DAY,
  repeat_every_seconds: DAY,
  no_data_after_seconds: DAY,
  deadline_seconds: null,
  notify_resolved: true,
  channel_ids: null,
};

export interface Template {
  readonly name: string;
  readonly description: string;
  readonly fields: Partial<Draft>;
}

export const TEMPLATES: readonly Template[] = [
  {
    name: 'Success rate drops',
    description: 'Significantly below 95 %, or three consecutive failures',
    fields: {},
  },
  {
    name: 'Consecutive failures',
    description: 'Three runs in a row failed',
    fields: { metric: 'consecutive_failures', consecutive: 3, recovery_runs: 3 },
  },
  {
    name: 'Too many failures',
    description: 'More than ten runs failed within a day',
    fields: { metric: 'failure_count', comparison: 'above', threshold: 10 },
  },
  {
    name: 'No runs',
    description: 'No run has finished for a day',
    fields: { metric: 'no_runs', no_data_after_seconds: DAY },
  },
  {
    name: 'Overdue runs',
    description: 'A run is open past its deadline',
    fields: { metric: 'overdue_count', comparison: 'above', threshold: 0 },
  },
  {
    name: 'Recovery',
    description: 'The success rate is above 99 % again',
    fields: {
      comparison: 'above',
      threshold: 99,
      method: 'plain',
      consecutive: 0,
      severity: 'info',
    },
  },
];

/** The draft with a template's fields. Name, scope and channels stay. */
export function withTemplate(draft: Draft, template: Template): Draft {
  const { name, reach, workflow_slug, channel_ids } = draft;
  return { ...DEFAULTS, name, reach, workflow_slug, channel_ids, ...template.fields };
}

export function isRate(metric: Metric): boolean {
  return metric === 'success_rate' || metric === 'failure_rate';
}

/** The draft with another metric, and the default threshold and comparison of that metric. */
export function withMetric(draft: Draft, metric: Metric): Draft {
  const thresholds: Partial<Record<Metric, number>> = {
    success_rate: 95,
    failure_rate: 5,
    failure_count: 10,
    overdue_count: 0,
    open_too_long: 3600,
  };
  return {
    ...draft,
    metric,
    comparison: metric === 'success_rate' ? 'below' : 'above',
    threshold: thresholds[metric] ?? null,
    recovery_threshold: null,
    deadline_seconds: null,
    consecutive: metric === 'consecutive_failures' ? draft.consecutive || 3 : draft.consecutive,
  };
}

/** The fields that a metric uses. */
export function usedFields(metric: Metric): ReadonlySet<keyof Draft> {
  const rates: (keyof Draft)[] = [
    'comparison',
    'threshold',
    'window_seconds',
    'window_min_runs',
    'min_runs',
    'method',
    'consecutive',
    'recovery_threshold',
    'recovery_runs',
  ];
  const fields: Record<Metric, (keyof Draft)[]> = {
    success_rate: rates,
    failure_rate: rates,
    failure_count: ['comparison', 'threshold', 'window_seconds', 'min_runs', 'recovery_threshold'],
    consecutive_failures: ['consecutive', 'recovery_runs'],
    no_runs: ['no_data_after_seconds'],
    overdue_count: ['threshold', 'deadline_seconds'],
    open_too_long: ['threshold'],
  };
  return new Set(fields[metric]);
}

/** Error messages of fields that are empty or out of range. */
export function draftErrors(draft: Draft): Record<string, string> {
  const used = usedFields(draft.metric);
  const always: (keyof Draft)[] = ['reopen_within_seconds', 'repeat_every_seconds'];
  const errors: Record<string, string> = {};
  const optional: (keyof Draft)[] = ['recovery_threshold', 'deadline_seconds'];
  for (const name of [...used, ...always]) {
    if (!optional.includes(name) && draft[name] === null) {
      errors[name] = 'Enter a number.';
    }
  }
  if (isRate(draft.metric)) {
    for (const name of ['threshold', 'recovery_threshold'] as const) {
      const share = draft[name];
      if (share !== null && (share < 0 || share > 100)) {
        errors[name] = 'Enter a percentage from 0 to 100.';
      }
    }
  }
  if (draft.reach === 'one' && draft.workflow_slug === '') {
    errors['workflow_slug'] = 'Select a workflow.';
  }
  return errors;
}

/** The request body for a draft. Fields that the metric does not use get their default. */
export function toBody(draft: Draft): RuleBody {
  const used = usedFields(draft.metric);
  const field = <K extends keyof Draft>(name: K): Draft[K] =>
    (used.has(name) ? draft : DEFAULTS)[name];
  const share = (value: number | null) =>
    value === null ? null : isRate(draft.metric) ? Number((value / 100).toFixed(6)) : value;
  return {
    name: draft.name.trim() || suggestedName(draft),
    enabled: draft.enabled,
    severity: draft.severity,
    scope: draft.reach === 'all' ? 'project' : 'workflow',
    workflow_slug: draft.reach === 'one' ? draft.workflow_slug : null,
    metric: draft.metric,
    comparison: used.has('comparison') ? draft.comparison : null,
    threshold: used.has('threshold') ? share(draft.threshold) : null,
    window_seconds: field('window_seconds') ?? 0,
    window_min_runs: field('window_min_runs') ?? 0,
    min_runs: field('min_runs') ?? 0,
    method: field('method'),
    consecutive: field('consecutive') ?? 0,
    recovery_threshold: used.has('recovery_threshold') ? share(draft.recovery_threshold) : null,
    recovery_runs: field('recovery_runs') ?? 0,
    reopen_within_seconds: draft.reopen_within_seconds ?? 0,
    repeat_every_seconds: draft.repeat_every_seconds ?? 0,
    no_data_after_seconds: draft.metric === 'no_runs' ? draft.no_data_after_seconds : null,
    deadline_seconds: used.has('deadline_seconds') ? draft.deadline_seconds : null,
    notify_resolved: draft.notify_resolved,
    channel_ids: draft.channel_ids,
  };
}

/** The draft of an existing rule. */
export function toDraft(rule: Rule): Draft {
  const shown = (value: number | null) =>
    value === null ? null : isRate(rule.metric) ? Number((value * 100).toFixed(4)) : value;
  return {
    ...DEFAULTS,
    name: rule.name,
    enabled: rule.enabled,
    severity: rule.severity,
    reach: rule.scope === 'project' ? 'all' : rule.workflow_slug === null ? 'each' : 'one',
    workflow_slug: rule.workflow_slug ?? '',
    metric: rule.metric,
    comparison: rule.comparison,
    threshold: shown(rule.threshold),
    window_seconds: rule.window_seconds,
    window_min_runs: rule.window_min_runs,
    min_runs: rule.min_runs,
    method: rule.method,
    consecutive: rule.consecutive,
    recovery_threshold: shown(rule.recovery_threshold),
    recovery_runs: rule.recovery_runs,
    reopen_within_seconds: rule.reopen_within_seconds,
    repeat_every_seconds: rule.repeat_every_seconds,
    no_data_after_seconds: rule.no_data_after_seconds ?? DEFAULTS.no_data_after_seconds,
    deadline_seconds: rule.deadline_seconds,
    notify_resolved: rule.notify_resolved,
    channel_ids: rule.channel_ids,
  };
}

/** A short description of the rule, and its name if the user enters none. */
export function suggestedName(draft: Draft): string {
  const side = draft.comparison;
  switch (draft.metric) {
    case 'success_rate':
      return `Success rate ${side} ${draft.threshold ?? '…'} %`;
    case 'failure_rate':
      return `Failure rate ${side} ${draft.threshold ?? '…'} %`;
    case 'failure_count':
      return `${side === 'above' ? 'More' : 'Fewer'} than ${draft.threshold ?? '…'} failed runs in ${span(draft.window_seconds)}`;
    case 'consecutive_failures':
      return `${draft.consecutive ?? '…'} consecutive failures`;
    case 'no_runs':
      return `No runs for ${span(draft.no_data_after_seconds)}`;
    case 'overdue_count':
      return draft.threshold === 0
        ? 'Overdue runs'
        : `More than ${draft.threshold ?? '…'} overdue runs`;
    case 'open_too_long':
      return `A run is open longer than ${span(draft.threshold)}`;
  }
}
