import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ApiError } from '../src/lib/api/http';
import type { MetricsClient } from '../src/lib/api/metrics';
import type { Connect, Listener } from '../src/lib/live/channel';
import { defaults } from '../src/lib/metrics/filters';
import { Metrics } from '../src/lib/metrics/metrics.svelte';
import { POLL_INTERVALS } from '../src/lib/metrics/polling';
import { change, counts, FLOW, message, opened, PROJECT, series, table, T0 } from './fixtures';

let fetches = 0;
let revision = 3;
let fails: ApiError | null = null;
let listener: Listener;
let renewed = 0;
let connected: readonly string[][] = [];
let catalogues = 0;
let projects: string[] = [PROJECT];
let end = () => {};

const client = {
  catalogue: () => {
    if (fails) return Promise.reject(fails);
    catalogues += 1;
    return Promise.resolve({
      complete: true,
      projects: projects.map((project_id) => ({
        project_id,
        name: 'Shop',
        versions: [
          {
            workflow_id: project_id === PROJECT ? FLOW : project_id,
            project_id,
            slug: 'orders',
            version: 1,
            name: 'Orders',
            created_at: '',
          },
        ],
      })),
    });
  },
} as unknown as MetricsClient;

vi.mock('../src/lib/metrics/snapshot', () => ({
  fetchTable: () => {
    fetches += 1;
    return fails ? Promise.reject(fails) : Promise.resolve(table(revision, counts(revision)));
  },
  fetchSeries: () =>
    fails ? Promise.reject(fails) : Promise.resolve(series(revision, counts(revision))),
}));

const connect: Connect = (joined, callbacks) => {
  connected = [...connected, [...joined]];
  listener = callbacks;
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
  fetches = renewed = catalogues = 0;
  connected = [];
  projects = [PROJECT];
  revision = 3;
  fails = null;
});
afterEach(() => {
  end();
  vi.useRealTimers();
});

describe('numbers', () => {
  test('update with a broadcast, without a fetch', async () => {
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

  test('of open runs update with their event, without a fetch', async () => {
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

  test('are fetched if a broadcast is missing', async () => {
    const metrics = await begin();
    listener.joined();
    await vi.advanceTimersByTimeAsync(1000);
    revision = 5;
    run(4);
    await vi.advanceTimersByTimeAsync(1000);
    expect(metrics.series?.counts.success).toBe(5);
  });

  test('that are broadcast during a fetch are not lost', async () => {
    const metrics = await begin();
    listener.joined(); // fetches revision 3 …
    run(3); // … while this arrives
    await vi.advanceTimersByTimeAsync(0);
    expect(metrics.series?.counts.success).toBe(4);
  });

  test('and events reach the followers until they unsubscribe', async () => {
    const metrics = await begin();
    const events: string[] = [];
    const unsubscribe = metrics.follow({
      alert: () => events.push('alert'),
      counted: () => events.push('counted'),
      missed: () => events.push('missed'),
    });
    listener.joined();
    listener.alert();
    run(3);
    unsubscribe();
    listener.alert();
    expect(events).toEqual(['missed', 'alert', 'counted']);
  });

  test('are fetched on every join, because broadcasts may be missing', async () => {
    const metrics = await begin();
    const before = fetches;
    revision = 9;
    listener.joined();
    await vi.advanceTimersByTimeAsync(0);
    expect(fetches).toBe(before + 1);
    expect(metrics.series?.counts.success).toBe(9);
  });
});

describe('without live updates', () => {
  test('numbers are polled, with back-off while nothing changes', async () => {
    const metrics = await begin();
    expect(metrics.connection).toBe('delayed');
    const delays: number[] = [];
    for (let n = 0; n < POLL_INTERVALS.length + 1; n += 1) {
      delays.push(metrics.pollDelay);
      const before = fetches;
      await vi.advanceTimersByTimeAsync(metrics.pollDelay);
      expect(fetches).toBe(before + 1);
    }
    expect(delays).toEqual([...POLL_INTERVALS, 60_000]);
  });

  test('a change resets the back-off', async () => {
    const metrics = await begin();
    await vi.advanceTimersByTimeAsync(POLL_INTERVALS[0] + POLL_INTERVALS[1]);
    revision = 4;
    await vi.advanceTimersByTimeAsync(POLL_INTERVALS[2]);
    expect(metrics.series?.counts.success).toBe(4);
    expect(metrics.pollDelay).toBe(POLL_INTERVALS[0]);
  });

  test('a failed fetch is reported, keeps the numbers, and is retried', async () => {
    const metrics = await begin();
    fails = new ApiError(503, 'away', 7000);
    metrics.refetch();
    await vi.advanceTimersByTimeAsync(0);
    expect(metrics.connection).toBe('offline');
    expect(metrics.series?.counts.success).toBe(3);
    expect(metrics.pollDelay).toBeGreaterThanOrEqual(7000);
    fails = null;
    await vi.advanceTimersByTimeAsync(metrics.pollDelay);
    expect(metrics.connection).toBe('delayed');
  });
});

test('a machine that wakes up rejoins and fetches', async () => {
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
  test('updates that stopped with a queued broadcast work again after a restart', async () => {
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

  test('a page may start before the previous one has stopped', async () => {
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

describe('a member of 150 projects', () => {
  const others = Array.from({ length: 149 }, (_, index) => `project-${index}`);

  test('has those on the screen live first, and the others polled', async () => {
    projects = [...others, PROJECT];
    const metrics = await begin();
    expect(connected).toHaveLength(1);
    expect(connected[0]?.slice(0, 2)).toEqual([PROJECT, 'project-0']);
    listener.joined();
    await vi.advanceTimersByTimeAsync(1000);
    expect(metrics.connection).toBe('live');
    const before = fetches;
    await vi.advanceTimersByTimeAsync(POLL_INTERVALS[0] + 1000);
    expect(fetches).toBe(before + 1);
    await vi.advanceTimersByTimeAsync(300_000);
    expect(connected).toHaveLength(1);
  });
});

test('numbers and catalogue are fetched after a workflow moved out of a project', async () => {
  await begin();
  listener.joined();
  await vi.advanceTimersByTimeAsync(1000);
  const before = [fetches, catalogues];
  listener.removed();
  await vi.advanceTimersByTimeAsync(1000);
  expect([fetches, catalogues]).toEqual(before.map((number) => number + 1));
});
