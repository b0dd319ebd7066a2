import { describe, expect, test } from 'vitest';
import {
  DEFAULTS,
  draftErrors,
  METRICS,
  suggestedName,
  TEMPLATES,
  toBody,
  toDraft,
  usedFields,
  withMetric,
  withTemplate,
} from '../src/lib/alerts/rule-draft';
import { inUnits, span } from '../src/lib/util/time-units';
import { rule } from './fixtures';

const OPENAPI = import.meta.glob<string>('../../docs/openapi.json', {
  query: '?raw',
  import: 'default',
  eager: true,
});

describe('the form of a rule', () => {
  test('starts with the defaults of the API', () => {
    const { components } = JSON.parse(Object.values(OPENAPI)[0] ?? '');
    const fields: Record<string, { default?: unknown }> = components.schemas.NewRule.properties;
    const body: Record<string, unknown> = { ...toBody(DEFAULTS) };
    const defaults = Object.entries(fields).filter(([, field]) => field.default != null);
    expect(defaults.length).toBeGreaterThan(10);
    for (const [name, field] of defaults) expect([name, body[name]]).toEqual([name, field.default]);
  });

  test('suggests a rule about the success rate', () => {
    expect(toBody(DEFAULTS)).toMatchObject({
      name: 'Success rate below 95 %',
      severity: 'warning',
      scope: 'workflow',
      workflow_slug: null,
      metric: 'success_rate',
      comparison: 'below',
      threshold: 0.95,
      window_seconds: 86_400,
      window_min_runs: 20,
      min_runs: 5,
      method: 'wilson',
      consecutive: 3,
      recovery_threshold: null,
      recovery_runs: 10,
      reopen_within_seconds: 86_400,
      repeat_every_seconds: 86_400,
      no_data_after_seconds: null,
      notify_resolved: true,
      channel_ids: null,
    });
  });

  test('keeps every field of an existing rule', () => {
    const existing = rule({ threshold: 0.805, recovery_threshold: 0.9, workflow_slug: 'orders' });
    const body = toBody(toDraft(existing));
    for (const [name, value] of Object.entries(body)) {
      expect([name, value]).toEqual([name, existing[name as keyof typeof existing]]);
    }
    expect(toDraft(existing).threshold).toBe(80.5);
  });

  test('sends a rate as a share and failures as a count', () => {
    expect(toBody({ ...DEFAULTS, threshold: 99.9 }).threshold).toBe(0.999);
    expect(toBody({ ...withMetric(DEFAULTS, 'failure_count'), threshold: 7 }).threshold).toBe(7);
  });

  test('sends only the fields that the metric accepts', () => {
    for (const metric of METRICS) {
      const body = toBody(withMetric({ ...DEFAULTS, consecutive: 0 }, metric));
      expect(body.no_data_after_seconds === null).toBe(metric !== 'no_runs');
      if (metric === 'consecutive_failures') expect(body.consecutive).toBe(3);
      if (!usedFields(metric).has('threshold')) expect(body.threshold).toBeNull();
    }
  });

  test('on open runs has a threshold and an optional deadline', () => {
    const overdue = withMetric(DEFAULTS, 'overdue_count');
    expect(draftErrors(overdue)).toEqual({});
    expect(toBody(overdue)).toMatchObject({
      name: 'Overdue runs',
      comparison: null,
      threshold: 0,
      deadline_seconds: null,
    });
    const set = { ...overdue, threshold: 2, deadline_seconds: 600 };
    expect(toBody(set)).toMatchObject({ name: 'More than 2 overdue runs', deadline_seconds: 600 });
    const old = withMetric(set, 'open_too_long');
    expect(toBody(old)).toMatchObject({
      name: 'A run is open longer than 1 hour',
      threshold: 3600,
      deadline_seconds: null,
    });
    expect(Object.keys(draftErrors({ ...old, threshold: null }))).toEqual(['threshold']);
  });

  test('reports missing numbers of the fields that the metric uses', () => {
    const empty = { ...DEFAULTS, threshold: null, window_seconds: null, recovery_threshold: null };
    expect(Object.keys(draftErrors(empty))).toEqual(['threshold', 'window_seconds']);
    expect(draftErrors({ ...empty, metric: 'consecutive_failures' })).toEqual({});
    expect(Object.keys(draftErrors({ ...DEFAULTS, reach: 'one' }))).toEqual(['workflow_slug']);
    expect(Object.keys(draftErrors({ ...DEFAULTS, threshold: 140 }))).toEqual(['threshold']);
    expect(draftErrors(withMetric({ ...DEFAULTS, threshold: 140 }, 'failure_count'))).toEqual({});
  });

  test('keeps scope and name when a template is applied', () => {
    const draft = { ...DEFAULTS, reach: 'one' as const, workflow_slug: 'orders', name: 'Mine' };
    for (const template of TEMPLATES) {
      const found = withTemplate({ ...draft, threshold: 1 }, template);
      expect([found.reach, found.workflow_slug, found.name]).toEqual(['one', 'orders', 'Mine']);
      expect(draftErrors(found)).toEqual({});
    }
    const names = TEMPLATES.map((one) => suggestedName(withTemplate(DEFAULTS, one)));
    expect(names).toEqual([
      'Success rate below 95 %',
      '3 consecutive failures',
      'More than 10 failed runs in 1 day',
      'No runs for 1 day',
      'Overdue runs',
      'Success rate above 99 %',
    ]);
  });
});

test('a duration is shown in the largest unit that fits', () => {
  expect([inUnits(86_400), inUnits(5400), inUnits(0)]).toEqual([
    { count: 1, unit: 86_400 },
    { count: 90, unit: 60 },
    { count: 0, unit: 60 },
  ]);
  expect([span(172_800), span(3600), span(90), span(null)]).toEqual([
    '2 days',
    '1 hour',
    '1.5 minutes',
    '…',
  ]);
});
