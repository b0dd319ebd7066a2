import { render } from '@testing-library/svelte';
import { expect, test } from 'vitest';
import type { Metrics } from '../src/lib/metrics/metrics.svelte';
import Footer from '../src/lib/ui/overview/Footer.svelte';

test('the footer names each status that counts as no outcome', () => {
  const standing = {
    audited_at: null,
    drift: null,
    backfilled: true,
    unknown_statuses: [
      { status: 'completed', runs: 1000 },
      { status: 'timed_out', runs: 3 },
      { status: 'odd', runs: 1 },
    ],
  };
  const metrics = { standing, lag: null, now: 0 } as unknown as Metrics;
  const { container } = render(Footer, { metrics });
  const said = container.textContent.replace(/\s+/g, ' ');
  expect(said).toContain(
    '1,000 or more runs have the status completed, which counts as no outcome',
  );
  expect(said).toContain('3 runs have the status timed_out, which counts as no outcome');
  expect(said).toContain('1 run has the status odd, which counts as no outcome');
});
