import { render } from '@testing-library/svelte';
import { expect, test, vi } from 'vitest';
import type { Standing } from '../src/lib/api/metrics';
import type { Metrics } from '../src/lib/metrics/metrics.svelte';
import Footer from '../src/lib/ui/overview/Footer.svelte';

const STANDING: Standing = {
  audited_at: null,
  drift: null,
  backfilled: true,
  unknown_statuses: [],
};

async function footer(standing: Promise<Standing>, fetchedAt: number | null = 1) {
  const client = { standing: vi.fn(() => standing) };
  const metrics = { client, fetchedAt, lag: 250, now: 3_600_000 } as unknown as Metrics;
  const { container } = render(Footer, { metrics });
  await vi.waitFor(() => expect(client.standing).toHaveBeenCalledTimes(fetchedAt === null ? 0 : 1));
  await Promise.allSettled([standing]);
  return { client, text: container.textContent.replace(/\s+/g, ' ') };
}

test('the footer names each unknown status', async () => {
  const unknown_statuses = [
    { status: 'completed', runs: 1000 },
    { status: 'timed_out', runs: 3 },
    { status: 'odd', runs: 1 },
  ];
  const { text } = await footer(Promise.resolve({ ...STANDING, unknown_statuses }));
  expect(text).toContain('Counts not verified yet');
  expect(text).toContain(
    '1,000 or more runs have the unknown status completed and are not counted',
  );
  expect(text).toContain('3 runs have the unknown status timed_out and are not counted');
  expect(text).toContain('1 run has the unknown status odd and is not counted');
});

test('the footer says whether the counts match the run list', async () => {
  const audited_at = '1970-01-01T00:30:00Z';
  const { text } = await footer(Promise.resolve({ ...STANDING, audited_at, drift: 0 }));
  expect(text).toMatch(/Counts match the run list \(checked 30\smin ago\)/);
  const drifted = await footer(Promise.resolve({ ...STANDING, audited_at, drift: 2 }));
  expect(drifted.text).toContain('2 counts differ from the run list');
});

test('without an answer the footer shows what it knows, and it waits for the first numbers', async () => {
  const { text } = await footer(Promise.reject(new Error('offline')));
  expect(text).toMatch(/Last run shown 250\sms after it finished/);
  expect(text).not.toContain('Counts');
  await footer(Promise.resolve(STANDING), null);
});
