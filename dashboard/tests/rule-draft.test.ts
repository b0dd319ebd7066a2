import { describe, expect, test } from 'vitest';
import {
  applied,
  inUnits,
  missing,
  span,
  suggestedName,
  TEMPLATES,
  toBody,
  toDraft,
  uses,
  USUAL,
  withMetric,
  METRICS,
} from '../src/lib/alerts/rule-draft';
import { rule } from './fixtures';

describe('the form of a rule', () => {
  test('begins with the defaults of the contract', () => {
    expect(toBody(USUAL)).toMatchObject({
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

  test('gives back the rule that it was given', () => {
    const given = rule({ threshold: 0.805, recovery_threshold: 0.9, workflow_slug: 'orders' });
    const body = toBody(toDraft(given));
    for (const [name, value] of Object.entries(body)) {
      expect([name, value]).toEqual([name, given[name as keyof typeof given]]);
    }
    expect(toDraft(given).threshold).toBe(80.5);
  });

  test('sends a share of a rate and a count of failures', () => {
    expect(toBody({ ...USUAL, threshold: 99.9 }).threshold).toBe(0.999);
    expect(toBody({ ...withMetric(USUAL, 'failure_count'), threshold: 7 }).threshold).toBe(7);
  });

  test('sends of each metric what it takes, and nothing that it refuses', () => {
    for (const metric of METRICS) {
      const body = toBody(withMetric({ ...USUAL, consecutive: 0 }, metric));
      expect(body.no_data_after_seconds === null).toBe(metric !== 'no_runs');
      if (metric === 'consecutive_failures') expect(body.consecutive).toBe(3);
      if (!uses(metric).has('threshold')) expect(body.threshold).toBeNull();
    }
  });

  test('on open runs has a threshold above which it opens, and a deadline or none', () => {
    const overdue = withMetric(USUAL, 'overdue_count');
    expect(missing(overdue)).toEqual({});
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
      name: 'A run is open for longer than 1 hour',
      threshold: 3600,
      deadline_seconds: null,
    });
    expect(Object.keys(missing({ ...old, threshold: null }))).toEqual(['threshold']);
  });

  test('says which numbers are missing, of those that the metric uses', () => {
    const empty = { ...USUAL, threshold: null, window_seconds: null, recovery_threshold: null };
    expect(Object.keys(missing(empty))).toEqual(['threshold', 'window_seconds']);
    expect(missing({ ...empty, metric: 'consecutive_failures' })).toEqual({});
    expect(Object.keys(missing({ ...USUAL, reach: 'one' }))).toEqual(['workflow_slug']);
    expect(Object.keys(missing({ ...USUAL, threshold: 140 }))).toEqual(['threshold']);
    expect(missing(withMetric({ ...USUAL, threshold: 140 }, 'failure_count'))).toEqual({});
  });

  test('keeps, when a template is taken, what it looks at and what it is called', () => {
    const draft = { ...USUAL, reach: 'one' as const, workflow_slug: 'orders', name: 'Mine' };
    for (const template of TEMPLATES) {
      const found = applied({ ...draft, threshold: 1 }, template);
      expect([found.reach, found.workflow_slug, found.name]).toEqual(['one', 'orders', 'Mine']);
      expect(missing(found)).toEqual({});
    }
    const names = TEMPLATES.map((one) => suggestedName(applied(USUAL, one)));
    expect(names).toEqual([
      'Success rate below 95 %',
      '3 failures in a row',
      'More than 10 failed runs in 1 day',
      'No runs for 1 day',
      'Overdue runs',
      'Success rate above 99 %',
    ]);
  });
});

test('a length of time is told in the largest unit that fits', () => {
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
