import { render, screen } from '@testing-library/svelte';
import { describe, expect, test, vi } from 'vitest';
import type { AlertsClient, Incident, NewRule, Preview, Rule } from '../src/lib/api/alerts';
import { ApiError } from '../src/lib/api/http';
import { Alerts } from '../src/lib/alerts/alerts.svelte';
import { ordered } from '../src/lib/ui/table/arrange';
import { Doing, takes } from '../src/lib/util/action.svelte';
import { defaults } from '../src/lib/metrics/filters';
import type { Follower, Metrics } from '../src/lib/metrics/metrics.svelte';
import { measured, subject } from '../src/lib/alerts/incident-notice';
import { readPlace, START, writePlace } from '../src/lib/alerts/alerts-url';
import { PAUSE, Trial } from '../src/lib/alerts/rule-preview.svelte';
import { byWorkflow, bySeverity, ofWorkflow, rank, STATES } from '../src/lib/alerts/alert-states';
import Chart from '../src/lib/ui/chart/Chart.svelte';
import OpenStrip from '../src/lib/ui/alerts/incidents/OpenIncidents.svelte';
import Table from '../src/lib/ui/table/Table.svelte';
import { incidentMarks } from '../src/lib/ui/chart/marks';
import { incident, PROJECT, row, rule, series, standing, T0 } from './fixtures';

describe('how a workflow stands', () => {
  test('is the worst that a rule in force says of it', () => {
    const rules = [
      rule({ states: [standing('orders', 'ok'), standing('bills', 'pending')] }),
      rule({ states: [standing('orders', 'firing')] }),
      rule({ enabled: false, states: [standing('bills', 'firing')] }),
      rule({ scope: 'project', states: [standing('', 'firing')] }),
    ];
    const found = byWorkflow(rules);
    expect(found.get(`${PROJECT}/orders`)).toBe('firing');
    expect(found.get(`${PROJECT}/bills`)).toBe('pending');
    expect(found.size).toBe(2);
  });

  test('is too few runs where a rule has seen none, and no rule where none looks', () => {
    const rules = [rule({ workflow_slug: 'orders' })];
    const found = byWorkflow(rules);
    expect(ofWorkflow(found, rules, PROJECT, 'orders')).toBe('insufficient');
    expect(ofWorkflow(found, rules, PROJECT, 'bills')).toBe('none');
    expect(ofWorkflow(found, rules, 'another', 'orders')).toBe('none');
  });

  test('sorts the table, the worst first, and unknown ones last', () => {
    expect([...STATES].sort((a, b) => rank(b) - rank(a))).toEqual([...STATES]);
    const rows = [
      row({ key: 'a', alert: 'ok' }),
      row({ key: 'b' }),
      row({ key: 'c', alert: 'firing' }),
      row({ key: 'd', alert: 'none' }),
    ];
    const keys = (descending: boolean) =>
      ordered(rows, 'alert', descending)
        .map((one) => one.key)
        .join('');
    expect(keys(true)).toBe('cadb');
    expect(keys(false)).toBe('dacb');
  });
});

test('the table tells the alert state in a word beside its shape', () => {
  render(Table, {
    rows: [row({ alert: 'recovering' })],
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
  test('are told of in words, and without numbers where none were measured', () => {
    const one = incident();
    expect(subject(one)).toBe('Orders');
    expect(measured(one).replaceAll('\u202f', ' ')).toBe(
      '3 of 20 runs failed: 85.0 % succeeded (64.0 % to 94.8 %)',
    );
    expect(measured(incident({ cause: 'no_data' }))).toBe('');
    expect(measured(incident({ notice: {} }))).toBe('');
    expect(subject(incident({ workflow_slug: '' }))).toBe('All workflows together');
    expect(subject(incident({ notice: {} }))).toBe('orders');
  });

  test('are in order of their severity, then the newest first', () => {
    const list = [
      incident({ id: '1', severity: 'info' }),
      incident({ id: '2', opened_at: '2026-11-23T12:00:00Z' }),
      incident({ id: '3', opened_at: '2026-11-23T12:30:00Z' }),
      incident({ id: '4', severity: 'critical' }),
    ];
    expect(bySeverity(list).map((one) => one.id)).toEqual(['4', '3', '2', '1']);
  });

  test('are marked where they opened, opened again and closed', () => {
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

  test('have flags of their own on the chart, and words below it', () => {
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
    expect(screen.getByText(/an incident opened.\s+○ an incident closed/)).toBeTruthy();
  });

  test('stand in the strip, and where there are none there is no strip', async () => {
    const some = {
      now: T0 + 3_600_000,
      tz: 'UTC',
      incidentUrl: (id: string) => `/i/${id}`,
      alertsUrl: '/alerts',
    };
    const five = [1, 2, 3, 4, 5].map((n) => incident({ id: String(n) }));
    const { rerender } = render(OpenStrip, { ...some, incidents: five });
    expect(screen.getByRole('heading').textContent).toBe('5 open incidents');
    expect(screen.getAllByRole('listitem')).toHaveLength(4);
    expect(screen.getByRole('link', { name: 'and 1 more' })).toBeTruthy();
    await rerender({ ...some, incidents: [] });
    expect(screen.queryByRole('region')).toBeNull();
  });
});

test('a place on the alerts page survives its address', () => {
  const id = '00000000-0000-4000-8000-000000000009';
  for (const place of [
    START,
    { ...START, view: 'deliveries' as const, project: id },
    { ...START, incident: id },
    { ...START, view: 'rules' as const, rule: id },
    { ...START, view: 'rules' as const, rule: 'new', workflow: 'a/b', project: id },
  ]) {
    expect(readPlace(writePlace(place))).toEqual(place);
  }
  expect(readPlace(new URLSearchParams('view=nothing&rule=1&incident=x'))).toEqual(START);
});

test('an error stands at its field, and what no field shows stands above', async () => {
  const doing = new Doing(['threshold']);
  const refuse = (...parameters: string[]) =>
    doing.run(() =>
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
  expect([doing.wrong, doing.problem]).toEqual([{ threshold: 'This takes a share.' }, '']);
  await refuse('threshold', 'color');
  expect(doing.problem).toBe('wrong');
  expect(await doing.run(() => Promise.resolve())).toBe(true);
  expect([doing.wrong, doing.problem]).toEqual([{}, '']);
});

test('what a field takes is a sentence, with the unit that the field is not in', () => {
  expect(takes('a URL that may be sent to')).toBe('This takes a URL that may be sent to.');
  expect(takes('greater than or equal to 1', 'min_runs')).toBe(
    'This has to be greater than or equal to 1.',
  );
  expect(takes('0, or 300 seconds and more', 'repeat_every_seconds')).toBe(
    'This takes 0, or 300 seconds and more.',
  );
  expect(takes('less than or equal to 300', 'window_seconds')).toBe(
    'This has to be less than or equal to 300 seconds.',
  );
  expect(takes('String should have at least 1 character')).toBe(
    'String should have at least 1 character.',
  );
});

describe('the preview', () => {
  const answer: Preview = { count: 0, incidents: [], complete: true, history: true };
  const asked = (part: Partial<NewRule> = {}): NewRule =>
    ({ name: 'a', project_id: PROJECT, threshold: 0.9, ...part }) as NewRule;

  function trial() {
    const asks: { rule: NewRule; signal: AbortSignal; answer: (p: Preview) => void }[] = [];
    const alerts = {
      preview: (rule: NewRule, signal?: AbortSignal) =>
        new Promise<Preview>((resolve) =>
          asks.push({ rule, signal: signal as AbortSignal, answer: resolve }),
        ),
    };
    const rates = vi.fn(() => Promise.resolve(series(1, { success: 1, failure: 0, canceled: 0 })));
    return { asks, rates, trial: new Trial(alerts, { series: rates }) };
  }

  test('asks once one stops typing, and aborts what was asked before', async () => {
    vi.useFakeTimers();
    const { asks, rates, trial: one } = trial();
    one.ask(asked({ threshold: 0.9 }), null, 'UTC');
    await vi.advanceTimersByTimeAsync(PAUSE - 1);
    one.ask(asked({ threshold: 0.91 }), null, 'UTC');
    await vi.advanceTimersByTimeAsync(PAUSE);
    expect(asks.map((ask) => ask.rule.threshold)).toEqual([0.91]);
    one.ask(asked({ threshold: 0.92 }), null, 'UTC');
    expect(asks[0]?.signal.aborted).toBe(true);
    await vi.advanceTimersByTimeAsync(PAUSE);
    asks[0]?.answer({ ...answer, count: 9 });
    asks[1]?.answer({ ...answer, count: 2 });
    await vi.advanceTimersByTimeAsync(0);
    expect([one.result?.count, one.asking]).toEqual([2, false]);
    // Another name would have done the same.
    one.ask(asked({ threshold: 0.92, name: 'b' }), null, 'UTC');
    await vi.advanceTimersByTimeAsync(PAUSE);
    expect(asks).toHaveLength(2);
    // The rate over time is that of the workflow: another threshold needs no other.
    one.ask(asked({ threshold: 0.93 }), null, 'UTC');
    await vi.advanceTimersByTimeAsync(PAUSE);
    asks[2]?.answer(answer);
    await vi.advanceTimersByTimeAsync(0);
    expect(rates).toHaveBeenCalledTimes(2);
    vi.useRealTimers();
  });

  test('asks nothing for a rule that is not whole', async () => {
    vi.useFakeTimers();
    const { asks, trial: one } = trial();
    one.ask(asked(), null, 'UTC');
    one.ask(null, null, 'UTC');
    await vi.advanceTimersByTimeAsync(PAUSE * 2);
    expect([asks.length, one.asking]).toEqual([0, false]);
    vi.useRealTimers();
  });
});

describe('what is known of alerts', () => {
  function known(rules: Rule[] = []) {
    const asks = vi.fn();
    let open: Incident[] = [];
    const client = {
      incidents: (wanted: { state?: string }) => {
        asks();
        return Promise.resolve({ rows: wanted.state ? open : [], next: null });
      },
      rules: () => Promise.resolve(rules),
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
      fetches: () => asks.mock.calls.length / 2,
      opens: (i: Incident[]) => (open = i),
    };
  }

  test('is fetched anew at a broadcast and after a rejoin, and never after the end', async () => {
    vi.useFakeTimers();
    const { alerts, followers, fetches, opens } = known();
    const end = alerts.start();
    await vi.advanceTimersByTimeAsync(0);
    expect([fetches(), alerts.open.length, alerts.loaded]).toEqual([1, 0, true]);
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
    end();
    expect(followers).toHaveLength(0);
    await vi.advanceTimersByTimeAsync(200_000);
    expect(fetches()).toBe(5);
    vi.useRealTimers();
  });

  test('is asked for sooner while a new rule waits for its first look', async () => {
    vi.useFakeTimers();
    const { alerts, fetches } = known([rule({ updated_at: new Date().toISOString() })]);
    const end = alerts.start();
    await vi.advanceTimersByTimeAsync(3100);
    expect(fetches()).toBe(2);
    end();
    vi.useRealTimers();
  });
});
