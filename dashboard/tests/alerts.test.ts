import { render, screen } from '@testing-library/svelte';
import { describe, expect, test, vi } from 'vitest';
import type {
  AlertsClient,
  Incident,
  NewRule,
  Preview,
  Rule,
  RuleFailure,
} from '../src/lib/api/alerts';
import { ApiError } from '../src/lib/api/http';
import { Alerts } from '../src/lib/alerts/alerts.svelte';
import { sortRows } from '../src/lib/ui/table/arrange';
import { Action, fieldError } from '../src/lib/util/action.svelte';
import { defaults } from '../src/lib/metrics/filters';
import type { Follower, Metrics } from '../src/lib/metrics/metrics.svelte';
import { measurement, subject } from '../src/lib/alerts/incident-notice';
import { ALERTS_HOME, readAlertsLocation, writeAlertsLocation } from '../src/lib/alerts/alerts-url';
import { DEBOUNCE, RulePreview } from '../src/lib/alerts/rule-preview.svelte';
import {
  bySeverity,
  rank,
  STATES,
  statesByWorkflow,
  workflowState,
} from '../src/lib/alerts/alert-states';
import Chart from '../src/lib/ui/chart/Chart.svelte';
import OpenIncidents from '../src/lib/ui/alerts/incidents/OpenIncidents.svelte';
import RuleFailures from '../src/lib/ui/alerts/rules/RuleFailures.svelte';
import Table from '../src/lib/ui/table/Table.svelte';
import { incidentMarks } from '../src/lib/ui/chart/marks';
import { incident, notice, PROJECT, rule, ruleState, series, T0, tableRow } from './fixtures';

describe('the alert state of a workflow', () => {
  test('is the worst state of the enabled rules', () => {
    const rules = [
      rule({ states: [ruleState('orders', 'ok'), ruleState('bills', 'pending')] }),
      rule({ states: [ruleState('orders', 'firing')] }),
      rule({ enabled: false, states: [ruleState('bills', 'firing')] }),
      rule({ scope: 'project', states: [ruleState('', 'firing')] }),
    ];
    const found = statesByWorkflow(rules);
    expect(found.get(`${PROJECT}/orders`)).toBe('firing');
    expect(found.get(`${PROJECT}/bills`)).toBe('pending');
    expect(found.size).toBe(2);
  });

  test('is "too few runs" before the first evaluation, and "no rule" without a rule', () => {
    const rules = [rule({ workflow_slug: 'orders' })];
    const found = statesByWorkflow(rules);
    expect(workflowState(found, rules, PROJECT, 'orders')).toBe('insufficient');
    expect(workflowState(found, rules, PROJECT, 'bills')).toBe('none');
    expect(workflowState(found, rules, 'another', 'orders')).toBe('none');
  });

  test('is OK where a long list of states ends before the workflow', () => {
    const long = rule({
      states: [ruleState('bills', 'firing')],
      state_counts: { firing: 1, ok: 9 },
    });
    expect(workflowState(statesByWorkflow([long]), [long], PROJECT, 'orders')).toBe('ok');
    expect(workflowState(statesByWorkflow([long]), [long], PROJECT, 'bills')).toBe('firing');
  });

  test('sorts the table, the worst first and unknown states last', () => {
    expect([...STATES].sort((a, b) => rank(b) - rank(a))).toEqual([...STATES]);
    const rows = [
      tableRow({ key: 'a', alert: 'ok' }),
      tableRow({ key: 'b' }),
      tableRow({ key: 'c', alert: 'firing' }),
      tableRow({ key: 'd', alert: 'none' }),
    ];
    const keys = (descending: boolean) =>
      sortRows(rows, 'alert', descending)
        .map((one) => one.key)
        .join('');
    expect(keys(true)).toBe('cadb');
    expect(keys(false)).toBe('dacb');
  });
});

test('the table shows the alert state as a word beside its icon', () => {
  render(Table, {
    rows: [tableRow({ alert: 'recovering' })],
    filters: defaults('UTC'),
    now: T0,
    change: () => undefined,
    workflowUrl: () => '/',
    runsUrl: null,
    projectName: () => null,
  });
  const cell = screen.getByText('Recovering');
  expect(cell.querySelector('svg')).toBeTruthy();
  expect(screen.getByRole('button', { name: 'Alert state' })).toBeTruthy();
});

describe('incidents', () => {
  test('are summarized in words, without numbers if none were measured', () => {
    const one = incident();
    expect(subject(one)).toBe('Orders');
    expect(measurement(one).replaceAll('\u202f', ' ')).toBe(
      '3 of 20 runs failed: 85.0 % succeeded (64.0 % to 94.8 %)',
    );
    expect(measurement(incident({ cause: 'no_data' }))).toBe('');
    const empty = { ...notice().measured, success_count: 0, failure_count: 0 };
    const consecutive = incident({ cause: 'consecutive', notice: notice({ measured: empty }) });
    expect(measurement(consecutive)).toBe('3 or more consecutive failures');
    const open = { open: 12, overdue: 3, oldest_open_at: null };
    expect(measurement(incident({ notice: notice({ open }) }))).toBe('12 open runs, 3 overdue');
    expect(subject(incident({ workflow_slug: '' }))).toBe('All workflows together');
    expect(subject(incident({ notice: notice({ workflow: null }) }))).toBe('orders');
  });

  test('are sorted by severity, then the newest first', () => {
    const list = [
      incident({ id: '1', severity: 'info' }),
      incident({ id: '2', opened_at: '2026-11-23T12:00:00Z' }),
      incident({ id: '3', opened_at: '2026-11-23T12:30:00Z' }),
      incident({ id: '4', severity: 'critical' }),
    ];
    expect(bySeverity(list).map((one) => one.id)).toEqual(['4', '3', '2', '1']);
  });

  test('are marked where they opened, reopened and closed', () => {
    const one = incident({
      opened_at: '2026-11-23T11:00:00Z',
      reopened_at: ['2026-11-23T12:20:00Z'],
      closed_at: '2026-11-23T12:40:00Z',
    });
    expect(incidentMarks([one], () => true, true)).toEqual([
      { at: T0 - 3_600_000, label: 'Orders', kind: 'opened' },
      { at: T0 + 1_200_000, label: 'Orders', kind: 'opened' },
      { at: T0 + 2_400_000, label: 'Orders', kind: 'closed' },
    ]);
    expect(incidentMarks([one], () => false, true)).toEqual([]);
  });

  test('have their own flags on the chart, and a legend below it', () => {
    const closed = { closed_at: '2026-11-23T12:40:00Z' };
    const { container } = render(Chart, {
      series: series(1, { success: 3, failure: 1, canceled: 0 }),
      kind: 'rate',
      now: T0,
      marks: incidentMarks([incident(closed)], () => true, true),
      zoom: () => undefined,
      zoomed: false,
      unzoom: () => undefined,
    });
    expect(container.querySelectorAll('path.flag.opened')).toHaveLength(1);
    expect(container.querySelectorAll('circle.flag.closed')).toHaveLength(1);
    expect(screen.getByText(/Incident opened\.\s+○\sIncident closed/)).toBeTruthy();
  });

  test('are listed while they are open, and without any the list is hidden', async () => {
    const some = {
      now: T0 + 3_600_000,
      tz: 'UTC',
      incidentUrl: (id: string) => `/i/${id}`,
      alertsUrl: '/alerts',
    };
    const five = [1, 2, 3, 4, 5].map((n) => incident({ id: String(n) }));
    const { rerender } = render(OpenIncidents, { ...some, incidents: five });
    expect(screen.getByRole('heading').textContent).toBe('5 open incidents');
    expect(screen.getAllByRole('listitem')).toHaveLength(4);
    expect(screen.getByRole('link', { name: 'and 1 more' })).toBeTruthy();
    await rerender({ ...some, incidents: [] });
    expect(screen.queryByRole('region')).toBeNull();
  });
});

test('a location on the alerts page survives its URL', () => {
  const id = '00000000-0000-4000-8000-000000000009';
  for (const location of [
    ALERTS_HOME,
    { ...ALERTS_HOME, view: 'deliveries' as const, project: id },
    { ...ALERTS_HOME, incident: id },
    { ...ALERTS_HOME, view: 'rules' as const, rule: id },
    { ...ALERTS_HOME, view: 'rules' as const, rule: 'new', workflow: 'a/b', project: id },
  ]) {
    expect(readAlertsLocation(writeAlertsLocation(location))).toEqual(location);
  }
  expect(readAlertsLocation(new URLSearchParams('view=nothing&rule=1&incident=x'))).toEqual(
    ALERTS_HOME,
  );
});

test('an error is shown at its field, and the errors of other fields as one message', async () => {
  const action = new Action(['threshold']);
  const refuse = (...parameters: string[]) =>
    action.run(() =>
      Promise.reject(
        new ApiError(
          422,
          'wrong',
          null,
          parameters.map((parameter) => ({ parameter, takes: 'a share' })),
        ),
      ),
    );
  expect(await refuse('threshold')).toBe(false);
  expect([action.errors, action.problem]).toEqual([{ threshold: 'Must be a share.' }, '']);
  await refuse('threshold', 'color');
  expect(action.problem).toBe('wrong');
  expect(await action.run(() => Promise.resolve())).toBe(true);
  expect([action.errors, action.problem]).toEqual([{}, '']);
});

test('a field error is a sentence, with the unit if the field is in seconds', () => {
  expect(fieldError('a URL that may be sent to')).toBe('Must be a URL that may be sent to.');
  expect(fieldError('a number that is at least 1', 'min_runs')).toBe(
    'Must be a number that is at least 1.',
  );
  expect(fieldError('0, or 300 seconds and more', 'repeat_every_seconds')).toBe(
    'Must be 0, or 300 seconds and more.',
  );
  expect(fieldError('a number that is at most 300', 'window_seconds')).toBe(
    'Must be a number that is at most 300 seconds.',
  );
  expect(fieldError('at least 1 characters')).toBe('Must be at least 1 characters.');
});

describe('the preview', () => {
  const answer: Preview = { count: 0, incidents: [], complete: true, history: true };
  const newRule = (part: Partial<NewRule> = {}): NewRule =>
    ({ name: 'a', project_id: PROJECT, threshold: 0.9, ...part }) as NewRule;

  function setup() {
    const requests: { rule: NewRule; signal: AbortSignal; answer: (p: Preview) => void }[] = [];
    const alerts = {
      preview: (rule: NewRule, signal?: AbortSignal) =>
        new Promise<Preview>((resolve) =>
          requests.push({ rule, signal: signal as AbortSignal, answer: resolve }),
        ),
    };
    const rates = vi.fn(() => Promise.resolve(series(1, { success: 1, failure: 0, canceled: 0 })));
    return { requests, rates, preview: new RulePreview(alerts, rates) };
  }

  test('is requested after a pause, and aborts obsolete requests', async () => {
    vi.useFakeTimers();
    const { requests, rates, preview } = setup();
    preview.update(newRule({ threshold: 0.9 }), null, 'UTC');
    await vi.advanceTimersByTimeAsync(DEBOUNCE - 1);
    preview.update(newRule({ threshold: 0.91 }), null, 'UTC');
    await vi.advanceTimersByTimeAsync(DEBOUNCE);
    expect(requests.map((one) => one.rule.threshold)).toEqual([0.91]);
    preview.update(newRule({ threshold: 0.92 }), null, 'UTC');
    expect(requests[0]?.signal.aborted).toBe(true);
    await vi.advanceTimersByTimeAsync(DEBOUNCE);
    requests[0]?.answer({ ...answer, count: 9 });
    requests[1]?.answer({ ...answer, count: 2 });
    await vi.advanceTimersByTimeAsync(0);
    expect([preview.result?.count, preview.loading]).toEqual([2, false]);
    // The name does not change the result.
    preview.update(newRule({ threshold: 0.92, name: 'b' }), null, 'UTC');
    await vi.advanceTimersByTimeAsync(DEBOUNCE);
    expect(requests).toHaveLength(2);
    // Another threshold does not change the rates.
    preview.update(newRule({ threshold: 0.93 }), null, 'UTC');
    await vi.advanceTimersByTimeAsync(DEBOUNCE);
    requests[2]?.answer(answer);
    await vi.advanceTimersByTimeAsync(0);
    expect(rates).toHaveBeenCalledTimes(2);
    vi.useRealTimers();
  });

  test('is not requested for an incomplete rule', async () => {
    vi.useFakeTimers();
    const { requests, preview } = setup();
    preview.update(newRule(), null, 'UTC');
    preview.update(null, null, 'UTC');
    await vi.advanceTimersByTimeAsync(DEBOUNCE * 2);
    expect([requests.length, preview.loading]).toEqual([0, false]);
    vi.useRealTimers();
  });
});

const ruleFailure = (): RuleFailure => ({
  project_id: PROJECT,
  reason: 'too many rules',
  failures: 2,
  since: '2026-01-01T00:00:00Z',
  failed_at: '2026-01-01T00:00:00Z',
  retry_at: '2026-01-01T00:01:00Z',
});

test('the page says of which project the rules cannot be evaluated, and why', () => {
  render(RuleFailures, { failures: [ruleFailure()], projectName: () => 'Shop' });
  expect(screen.getByRole('alert').textContent).toContain(
    'The rules of Shop cannot be evaluated too many rules.',
  );
});

describe('the state of alerts', () => {
  function setup(rules: Rule[] = []) {
    const requested = vi.fn();
    let open: Incident[] = [];
    const client = {
      incidents: (query: { state?: string }) => {
        requested();
        return Promise.resolve({ rows: query.state ? open : [], next: null });
      },
      rules: () => Promise.resolve(rules),
      ruleFailures: () => Promise.resolve([ruleFailure()]),
    } as unknown as AlertsClient;
    const followers: Follower[] = [];
    const metrics = {
      joined: true,
      follow: (one: Follower) => {
        followers.push(one);
        return () => followers.splice(0);
      },
    } as unknown as Metrics;
    const alerts = new Alerts(client, metrics);
    return {
      alerts,
      followers,
      fetches: () => requested.mock.calls.length / 2,
      opens: (i: Incident[]) => (open = i),
    };
  }

  test('is fetched at a broadcast and after a rejoin, and never after it stopped', async () => {
    vi.useFakeTimers();
    const { alerts, followers, fetches, opens } = setup();
    const stop = alerts.start();
    await vi.advanceTimersByTimeAsync(0);
    expect([fetches(), alerts.open.length, alerts.loaded]).toEqual([1, 0, true]);
    expect(alerts.failures).toEqual([ruleFailure()]);
    opens([incident()]);
    followers[0]?.alert();
    followers[0]?.alert();
    await vi.advanceTimersByTimeAsync(200);
    expect([fetches(), alerts.open.length]).toEqual([2, 1]);
    followers[0]?.missed();
    await vi.advanceTimersByTimeAsync(200);
    expect(fetches()).toBe(3);
    followers[0]?.counted();
    followers[0]?.counted();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(fetches()).toBe(4);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(fetches()).toBe(5);
    stop();
    expect(followers).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(200_000);
    expect(fetches()).toBe(5);
    vi.useRealTimers();
  });

  test('is fetched sooner while a new rule waits for its first evaluation', async () => {
    vi.useFakeTimers();
    const { alerts, fetches } = setup([rule({ updated_at: new Date().toISOString() })]);
    const stop = alerts.start();
    await vi.advanceTimersByTimeAsync(3100);
    expect(fetches()).toBe(2);
    stop();
    vi.useRealTimers();
  });
});
