/** A rule as a form has it: shares as percentages, and what each metric needs. Pure. */
import type { Rule, RuleBody } from '../api/alerts';

export const METRICS = [
  'success_rate',
  'failure_rate',
  'failure_count',
  'consecutive_failures',
  'no_runs',
  'overdue_count',
  'open_too_long',
] as const;
export type Metric = (typeof METRICS)[number];

export interface Draft {
  name: string;
  enabled: boolean;
  severity: 'info' | 'warning' | 'critical';
  /** Each workflow on its own, one of them, or all of the project together. */
  reach: 'each' | 'one' | 'all';
  workflow_slug: string;
  metric: Metric;
  comparison: 'below' | 'above';
  /** Per cent of a rate, seconds of `open_too_long`, else a count. */
  threshold: number | null;
  window_seconds: number | null;
  window_min_runs: number | null;
  min_runs: number | null;
  method: 'wilson' | 'plain';
  consecutive: number | null;
  /** As the threshold; null: as is usual. */
  recovery_threshold: number | null;
  recovery_runs: number | null;
  reopen_within_seconds: number | null;
  repeat_every_seconds: number | null;
  no_data_after_seconds: number | null;
  /** null: computed from the workflow's durations. */
  deadline_seconds: number | null;
  notify_resolved: boolean;
  /** null: all of the project's. */
  channel_ids: string[] | null;
}

const DAY = 86_400;

/** The defaults, which simulations chose: see the decision on alerts. */
export const USUAL: Draft = {
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
  readonly about: string;
  readonly sets: Partial<Draft>;
}

export const TEMPLATES: readonly Template[] = [
  {
    name: 'Success rate drops',
    about: 'Below 95 % beyond chance, or three failures in a row',
    sets: {},
  },
  {
    name: 'Failures in a row',
    about: 'Three runs failed, one after the other',
    sets: { metric: 'consecutive_failures', consecutive: 3, recovery_runs: 3 },
  },
  {
    name: 'Too many failures',
    about: 'More than ten failed runs in a day',
    sets: { metric: 'failure_count', comparison: 'above', threshold: 10 },
  },
  {
    name: 'Nothing runs',
    about: 'No run has finished for a day',
    sets: { metric: 'no_runs', no_data_after_seconds: DAY },
  },
  {
    name: 'Runs do not end',
    about: 'A run is open for longer than its deadline',
    sets: { metric: 'overdue_count', comparison: 'above', threshold: 0 },
  },
  {
    name: 'It is fixed',
    about: 'The success rate is above 99 % again',
    sets: { comparison: 'above', threshold: 99, method: 'plain', consecutive: 0, severity: 'info' },
  },
];

/** A draft with a template's settings: what it looks at, and where it tells of it, stays. */
export function applied(draft: Draft, template: Template): Draft {
  const { name, reach, workflow_slug, channel_ids } = draft;
  return { ...USUAL, name, reach, workflow_slug, channel_ids, ...template.sets };
}

export function isRate(metric: Metric): boolean {
  return metric === 'success_rate' || metric === 'failure_rate';
}

/** The draft with another metric: the threshold is on another scale, and the bad side another. */
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

/** Which of the fields a metric makes use of. */
export function uses(metric: Metric): ReadonlySet<keyof Draft> {
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

/** Fields that need a number and have none, or none that a percentage can be. */
export function missing(draft: Draft): Record<string, string> {
  const used = uses(draft.metric);
  const always: (keyof Draft)[] = ['reopen_within_seconds', 'repeat_every_seconds'];
  const wrong: Record<string, string> = {};
  const optional: (keyof Draft)[] = ['recovery_threshold', 'deadline_seconds'];
  for (const name of [...used, ...always]) {
    if (!optional.includes(name) && draft[name] === null) {
      wrong[name] = 'This takes a number.';
    }
  }
  if (isRate(draft.metric)) {
    for (const name of ['threshold', 'recovery_threshold'] as const) {
      const share = draft[name];
      if (share !== null && (share < 0 || share > 100)) {
        wrong[name] = 'This takes a percentage from 0 to 100.';
      }
    }
  }
  if (draft.reach === 'one' && draft.workflow_slug === '') {
    wrong['workflow_slug'] = 'Choose a workflow.';
  }
  return wrong;
}

/** What the API takes. Fields that the metric has no use for are as usual. */
export function toBody(draft: Draft): RuleBody {
  const used = uses(draft.metric);
  const usual = <K extends keyof Draft>(name: K): Draft[K] =>
    (used.has(name) ? draft : USUAL)[name];
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
    window_seconds: usual('window_seconds') ?? 0,
    window_min_runs: usual('window_min_runs') ?? 0,
    min_runs: usual('min_runs') ?? 0,
    method: usual('method'),
    consecutive: usual('consecutive') ?? 0,
    recovery_threshold: used.has('recovery_threshold') ? share(draft.recovery_threshold) : null,
    recovery_runs: usual('recovery_runs') ?? 0,
    reopen_within_seconds: draft.reopen_within_seconds ?? 0,
    repeat_every_seconds: draft.repeat_every_seconds ?? 0,
    no_data_after_seconds: draft.metric === 'no_runs' ? draft.no_data_after_seconds : null,
    deadline_seconds: used.has('deadline_seconds') ? draft.deadline_seconds : null,
    notify_resolved: draft.notify_resolved,
    channel_ids: draft.channel_ids,
  };
}

/** The draft of a rule that there is. */
export function toDraft(rule: Rule): Draft {
  const metric = rule.metric as Metric;
  const shown = (value: number | null) =>
    value === null ? null : isRate(metric) ? Number((value * 100).toFixed(4)) : value;
  return {
    ...USUAL,
    name: rule.name,
    enabled: rule.enabled,
    severity: rule.severity as Draft['severity'],
    reach: rule.scope === 'project' ? 'all' : rule.workflow_slug === null ? 'each' : 'one',
    workflow_slug: rule.workflow_slug ?? '',
    metric,
    comparison: rule.comparison as Draft['comparison'],
    threshold: shown(rule.threshold),
    window_seconds: rule.window_seconds,
    window_min_runs: rule.window_min_runs,
    min_runs: rule.min_runs,
    method: rule.method as Draft['method'],
    consecutive: rule.consecutive,
    recovery_threshold: shown(rule.recovery_threshold),
    recovery_runs: rule.recovery_runs,
    reopen_within_seconds: rule.reopen_within_seconds,
    repeat_every_seconds: rule.repeat_every_seconds,
    no_data_after_seconds: rule.no_data_after_seconds ?? USUAL.no_data_after_seconds,
    deadline_seconds: rule.deadline_seconds,
    notify_resolved: rule.notify_resolved,
    channel_ids: rule.channel_ids,
  };
}

/** What a rule says, in a few words: its name where it is given none. */
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
      return `${draft.consecutive ?? '…'} failures in a row`;
    case 'no_runs':
      return `No runs for ${span(draft.no_data_after_seconds)}`;
    case 'overdue_count':
      return draft.threshold === 0
        ? 'Overdue runs'
        : `More than ${draft.threshold ?? '…'} overdue runs`;
    case 'open_too_long':
      return `A run is open for longer than ${span(draft.threshold)}`;
  }
}

export const UNITS = [
  { name: 'days', one: 'day', seconds: DAY },
  { name: 'hours', one: 'hour', seconds: 3600 },
  { name: 'minutes', one: 'minute', seconds: 60 },
] as const;

/** 86400 → { count: 1, unit: 86400 }: the largest unit that fits. 2 days are 48 hours to nobody. */
export function inUnits(seconds: number): { count: number; unit: number } {
  const unit = UNITS.find((one) => seconds > 0 && seconds % one.seconds === 0)?.seconds ?? 60;
  return { count: seconds / unit, unit };
}

/** "24 hours" of 86400 is "1 day". */
export function span(seconds: number | null): string {
  if (seconds === null) return '…';
  const { count, unit } = inUnits(seconds);
  const found = UNITS.find((one) => one.seconds === unit);
  return `${Number(count.toFixed(2))} ${count === 1 ? found?.one : found?.name}`;
}
