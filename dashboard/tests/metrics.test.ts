import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ApiError, type MetricsClient } from '../src/lib/metrics/snapshot';
import type { Connect, Listener } from '../src/lib/live/channel';
import { defaults } from '../src/lib/metrics/filters';
import { Metrics } from '../src/lib/metrics/metrics.svelte';
import { POLL } from '../src/lib/metrics/polling';
import { change, counts, FLOW, message, opened, PROJECT, series, table, T0 } from './fixtures';

let fetches = 0;
let revision = 3;
let fails: ApiError | null = null;
let listener: Listener;
let renewed = 0;
let end = () => {};

const client = {
  catalogue: () => {
    if (fails) return Promise.reject(fails);
    return Promise.resolve({
      projects: [
        {
          project_id: PROJECT,
          name: 'Shop',
          versions: [
            {
              workflow_id: FLOW,
              project_id: PROJECT,
              slug: 'orders',
              version: 1,
              name: 'Orders',
              created_at: '',
            },
          ],
        },
      ],
    });
  },
  standing: () => Promise.resolve({ audited_at: null, drift: null, backfilled: true, unknown_statuses: [] }),
  table: () => {
    fetches += 1;
    return fails ? Promise.reject(fails) : Promise.resolve(table(revision, counts(revision)));
  },
  series: () =>
    fails ? Promise.reject(fails) : Promise.resolve(series(revision, counts(revision))),
} as unknown as MetricsClient;

const connect: Connect = (_projects, told) => {
  listener = told;
  return { renew: () => (renewed += 1), close: () => undefined };
};

async function begin(): Promise<Metrics> {
  const metrics = new Metrics(client, connect);
  end = metrics.start();
  metrics.show(defaults('UTC'));
  await vi.advanceTimersByTimeAsync(0);
  return metrics;
}

function run(base: number, to = base + 1) {
  listener.message(message(change(base, to, counts(to), ['12:05', counts(to - base)])));
}

beforeEach(() => {
  vi.useFakeTimers({ now: T0 + 1_800_000 });
  fetches = renewed = 0;
  revision = 3;
  fails = null;
});
afterEach(() => {
  end();
  vi.useRealTimers();
});

describe('numbers', () => {
  test('move with a broadcast, without being fetched', async () => {
    const metrics = await begin();
    listener.joined();
    await vi.advanceTimersByTimeAsync(1000);
    const before = fetches;
    run(3);
    await vi.advanceTimersByTimeAsync(100);
    expect(metrics.series?.counts.success).toBe(4);
    expect(metrics.table?.rows[0]?.counts.success).toBe(4);
    expect(fetches).toBe(before);
    expect(metrics.connection).toBe('live');
  });

  test('of open runs follow their event, without being fetched', async () => {
    const metrics = await begin();
    listener.joined();
    await vi.advanceTimersByTimeAsync(1000);
    const before = fetches;
    listener.open(opened({ open: 9 }));
    listener.open(opened({ open: 3 }));
    await vi.advanceTimersByTimeAsync(100);
    expect(metrics.table?.rows[0]?.open).toMatchObject({ open: 3, overdue: 1 });
    expect(fetches).toBe(before);
  });

  test('are fetched when a broadcast is missing', async () => {
    const metrics = await begin();
    listener.joined();
    await vi.advanceTimersByTimeAsync(1000);
    revision = 5;
    run(4);
    await vi.advanceTimersByTimeAsync(1000);
    expect(metrics.series?.counts.success).toBe(5);
  });

  test('that were broadcast while others were fetched are not lost', async () => {
    const metrics = await begin();
    listener.joined(); // fetches revision 3 …
    run(3); // … while this arrives
    await vi.advanceTimersByTimeAsync(0);
    expect(metrics.series?.counts.success).toBe(4);
  });

  test('and what else follows the channel hears of alerts, of runs and of what was missed', async () => {
    const metrics = await begin();
    const told: string[] = [];
    const leave = metrics.follow({
      alert: () => told.push('alert'),
      counted: () => told.push('counted'),
      missed: () => told.push('missed'),
    });
    listener.joined();
    listener.alert();
    run(3);
    leave();
    listener.alert();
    expect(told).toEqual(['missed', 'alert', 'counted']);
  });

  test('are fetched on every join: what was sent meanwhile was missed', async () => {
    const metrics = await begin();
    const before = fetches;
    revision = 9;
    listener.joined();
    await vi.advanceTimersByTimeAsync(0);
    expect(fetches).toBe(before + 1);
    expect(metrics.series?.counts.success).toBe(9);
  });
});

describe('without the channel', () => {
  test('numbers are polled, ever more slowly while nothing changes', async () => {
    const metrics = await begin();
    expect(metrics.connection).toBe('delayed');
    const pauses: number[] = [];
    for (let n = 0; n < POLL.length + 1; n += 1) {
      pauses.push(metrics.pause);
      const before = fetches;
      await vi.advanceTimersByTimeAsync(metrics.pause);
      expect(fetches).toBe(before + 1);
    }
    expect(pauses).toEqual([...POLL, 60_000]);
  });

  test('news make the next poll come soon', async () => {
    const metrics = await begin();
    await vi.advanceTimersByTimeAsync(POLL[0] + POLL[1]);
    revision = 4;
    await vi.advanceTimersByTimeAsync(POLL[2]);
    expect(metrics.series?.counts.success).toBe(4);
    expect(metrics.pause).toBe(POLL[0]);
  });

  test('an answer that does not come is said, kept away from what is known, and tried again', async () => {
    const metrics = await begin();
    fails = new ApiError(503, 'away', 7000);
    metrics.refetch();
    await vi.advanceTimersByTimeAsync(0);
    expect(metrics.connection).toBe('offline');
    expect(metrics.series?.counts.success).toBe(3);
    expect(metrics.pause).toBeGreaterThanOrEqual(7000);
    fails = null;
    await vi.advanceTimersByTimeAsync(metrics.pause);
    expect(metrics.connection).toBe('delayed');
  });
});

test('a machine that wakes up joins and fetches anew', async () => {
  await begin();
  listener.joined();
  await vi.advanceTimersByTimeAsync(1000);
  const before = fetches;
  vi.setSystemTime(Date.now() + 3_600_000); // asleep: the clock goes on, timers do not
  await vi.advanceTimersByTimeAsync(1000);
  expect(fetches).toBe(before + 1);
  expect(renewed).toBe(1);
});

describe('from page to page', () => {
  test('what ended with a broadcast still to apply hears again once it begins again', async () => {
    const metrics = await begin();
    listener.joined();
    await vi.advanceTimersByTimeAsync(1000);
    revision = 4;
    run(3);
    end();
    end = metrics.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(metrics.joined).toBe(false);
    listener.joined();
    await vi.advanceTimersByTimeAsync(1000);
    run(4);
    await vi.advanceTimersByTimeAsync(100);
    expect(metrics.series?.counts.success).toBe(5);
  });

  test('the page that comes may begin before the one that goes has ended', async () => {
    const metrics = await begin();
    listener.joined();
    await vi.advanceTimersByTimeAsync(1000);
    const endOfFirst = end;
    end = metrics.start();
    endOfFirst();
    endOfFirst(); // once is enough
    run(3);
    await vi.advanceTimersByTimeAsync(100);
    expect(metrics.series?.counts.success).toBe(4);
    expect(metrics.connection).toBe('live');
  });
});
