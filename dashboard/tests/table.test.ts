import { fireEvent, render, screen } from '@testing-library/svelte';
import { describe, expect, test } from 'vitest';
import { defaults } from '../src/lib/metrics/filters';
import { NO_OPEN } from '../src/lib/metrics/open-runs';
import type { Row } from '../src/lib/metrics/types';
import Cards from '../src/lib/ui/overview/Cards.svelte';
import Chart from '../src/lib/ui/chart/Chart.svelte';
import Table from '../src/lib/ui/table/Table.svelte';
import { counts, row, series, T0 } from './fixtures';

function props(rows: readonly Row[]) {
  return {
    rows,
    filters: defaults('UTC'),
    now: T0,
    change: () => undefined,
    workflowUrl: (one: Row) => `/workflow/${one.workflowId}`,
    runsUrl: '/runs/{workflow_id}',
    projectName: () => null,
  };
}

const names = () =>
  screen.getAllByRole('rowheader').map((one) => one.querySelector('a')?.textContent);

describe('the table', () => {
  const good = row({ key: 'good', name: 'Good', counts: counts(100) });
  const bad = row({ key: 'bad', name: 'Bad', counts: counts(50, 50) });

  test('has the worst first, with what is known of each', () => {
    render(Table, props([good, bad]));
    expect(names()).toEqual(['Bad', 'Good']);
    expect(screen.getByRole('link', { name: '50 failed runs of Bad' }).getAttribute('href')).toBe(
      `/runs/${bad.workflowId}`,
    );
  });

  test('keeps its order while the pointer is inside, and offers the changes', async () => {
    const { rerender, container } = render(Table, props([good, bad]));
    const inside = container.querySelector('table') as HTMLElement;
    await fireEvent(inside, Object.assign(new Event('pointerenter'), { pointerType: 'mouse' }));
    await rerender(props([{ ...good, counts: counts(100, 900) }, bad]));
    expect(names()).toEqual(['Bad', 'Good']);
    await fireEvent.click(screen.getByRole('button', { name: /2 changes/ }));
    expect(names()).toEqual(['Good', 'Bad']);
    await rerender(props([good, bad]));
    expect(names()).toEqual(['Good', 'Bad']);
    await fireEvent(inside, new Event('pointerleave'));
    expect(names()).toEqual(['Bad', 'Good']);
  });

  test('is sorted anew at once for whoever points into it, and stays so', async () => {
    const { rerender, container } = render(Table, props([good, bad]));
    const inside = container.querySelector('table') as HTMLElement;
    await fireEvent(inside, Object.assign(new Event('pointerenter'), { pointerType: 'mouse' }));
    const byRuns = { ...defaults('UTC'), sort: 'runs' as const };
    const more = { ...good, counts: counts(200) };
    await rerender({ ...props([more, bad]), filters: byRuns });
    expect(names()).toEqual(['Good', 'Bad']);
    await rerender({ ...props([more, { ...bad, counts: counts(900) }]), filters: byRuns });
    expect(names()).toEqual(['Good', 'Bad']);
    expect(screen.getByRole('button', { name: /2 changes/ })).toBeTruthy();
  });

  test('says in words that runs are overdue, and sorts by what is open', () => {
    const open = { open: 4, overdue: 2, oldestAt: T0, abandoned: 1 };
    const stuck = row({ key: 'stuck', name: 'Stuck', counts: counts(1, 1), open });
    render(Table, { ...props([good, bad, stuck]), filters: { ...defaults('UTC'), sort: 'open' } });
    expect(names()).toEqual(['Stuck', 'Bad', 'Good']);
    const line = screen.getByRole('row', { name: /Stuck/ });
    expect(line.querySelector('td.unended')?.textContent).toMatch(/4\s*▲ 2 overdue/);
    expect(line.querySelector('td.failed')?.textContent).toContain('of which 1 abandoned');
  });

  test('draws the rows in sight of a thousand, and tells how many there are', () => {
    const many = Array.from({ length: 1000 }, (_, n) => row({ key: `k${n}`, name: `Flow ${n}` }));
    render(Table, props(many));
    expect(screen.getAllByRole('rowheader').length).toBeLessThan(60);
    expect(screen.getByRole('table').getAttribute('aria-rowcount')).toBe('1001');
  });

  test('does not say how many failed in a row of one version: nobody knows', () => {
    render(Table, {
      ...props([good]),
      filters: { ...defaults('UTC'), versions: 'apart' as const },
    });
    const cell = screen.getByRole('row', { name: /Good/ }).querySelector('td.row');
    expect(cell?.textContent).toContain('–');
  });

  test('says too few instead of a percentage of three runs', () => {
    render(Table, props([row({ counts: counts(2, 1) })]));
    expect(screen.getByText('too few')).toBeTruthy();
  });
});

test('what narrows the table says that it narrows nothing else, and can be made to', async () => {
  const changes: unknown[] = [];
  const one = row({ key: '1', name: 'Orders', workflowId: 'a' });
  const two = row({ key: '2', name: 'Bills', workflowId: 'b', counts: counts(1, 1) });
  const some = { ...props([one, two]), change: (part: unknown) => changes.push(part) };
  const { rerender } = render(Table, some);
  expect(screen.queryByText(/Cards and chart/)).toBeNull();
  const filters = { ...defaults('UTC'), failing: true, versions: 'apart' as const };
  await rerender({ ...some, filters });
  expect(screen.getByText(/1 version of 2, .*Cards and chart are of all of them/)).toBeTruthy();
  await fireEvent.click(screen.getByRole('button', { name: 'Show this one only' }));
  const rest = { search: '', failing: false, minRuns: 0 };
  expect(changes).toEqual([{ workflows: ['b'], versions: 'chosen', ...rest }]);
  const many = Array.from({ length: 201 }, (_, n) => row({ key: `k${n}`, counts: counts(0, 1) }));
  await rerender({ ...some, rows: [...many, one], filters });
  expect(screen.queryByRole('button', { name: /^Show/ })).toBeNull();
});

test('the cards say nothing of a rate that nobody can know', () => {
  const some = { filters: defaults('UTC'), change: () => undefined, open: NO_OPEN, now: T0 };
  render(Cards, { ...some, counts: counts(2, 1, 4), previous: counts() });
  expect(screen.getByTestId('card-rate').textContent).toContain('Not enough runs');
  expect(screen.getByTestId('card-canceled').textContent).toContain('4');
});

test('the cards say what is open, how old and overdue it is, and which failures are abandoned', async () => {
  const open = { open: 12, overdue: 2, oldestAt: T0 - 7_200_000, abandoned: 3 };
  const some = { filters: defaults('UTC'), change: () => undefined, previous: counts(), now: T0 };
  const { rerender } = render(Cards, { ...some, counts: counts(90, 10), open });
  const card = screen.getByTestId('card-open');
  expect(card.textContent).toMatch(/12\s*oldest: 2\u202fh\s*▲ 2 overdue/);
  expect(card.textContent).toContain('at least 15 minutes');
  expect(screen.getByTestId('card-failed').textContent).toContain('of which 3 abandoned');
  await rerender({ ...some, counts: counts(90, 10), open: NO_OPEN });
  expect(card.textContent).toContain('no run is open');
  expect(card.textContent).not.toContain('▲');
  expect(screen.getByTestId('card-failed').textContent).not.toContain('abandoned');
});

test('the cards call more failures worse, but not than a time of which nothing is known', async () => {
  const some = {
    filters: defaults('UTC'),
    change: () => undefined,
    counts: counts(90, 10),
    open: NO_OPEN,
    now: T0,
  };
  const { rerender } = render(Cards, { ...some, previous: counts(95, 5) });
  expect(screen.getByTestId('card-failed').textContent).toMatch(/▲\s*worse:\s*\+100 %/);
  await rerender({ ...some, previous: counts() });
  expect(screen.getByTestId('card-failed').textContent).toContain('none before');
  expect(screen.getByTestId('card-failed').textContent).not.toContain('worse');
});

describe('the chart', () => {
  const zooms: [number, number][] = [];
  const some = {
    series: series(1, counts(3, 1)),
    kind: 'rate' as const,
    now: T0,
    zoom: (from: number, to: number) => zooms.push([from, to]),
    zoomed: false,
    unzoom: () => undefined,
  };

  test('has a table of all its buckets, empty ones too', async () => {
    render(Chart, some);
    screen.getByText<HTMLElement>('As a table').click();
    expect(await screen.findAllByRole('rowheader')).toHaveLength(4);
  });

  test('is read and zoomed with keys', async () => {
    render(Chart, some);
    const plot = screen.getByRole('application');
    await fireEvent.keyDown(plot, { key: 'Home' });
    expect(screen.getByText(/23 Nov, 12:00–12:15/, { selector: 'p' })).toBeTruthy();
    await fireEvent.keyDown(plot, { key: 'ArrowRight', shiftKey: true });
    await fireEvent.keyDown(plot, { key: 'Enter' });
    expect(zooms).toEqual([[T0, T0 + 1_800_000]]);
  });
});
