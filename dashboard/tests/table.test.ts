import { fireEvent, render, screen } from '@testing-library/svelte';
import { describe, expect, test } from 'vitest';
import { defaults } from '../src/lib/metrics/filters';
import { NO_OPEN } from '../src/lib/metrics/open-runs';
import type { TableRow } from '../src/lib/ui/table/table-row';
import Cards from '../src/lib/ui/overview/Cards.svelte';
import Chart from '../src/lib/ui/chart/Chart.svelte';
import Table from '../src/lib/ui/table/Table.svelte';
import { counts, series, T0, tableRow } from './fixtures';

function props(rows: readonly TableRow[]) {
  return {
    rows,
    filters: defaults('UTC'),
    now: T0,
    change: () => undefined,
    workflowUrl: (one: TableRow) => `/workflow/${one.workflowId}`,
    runsUrl: '/runs/{workflow_id}',
    projectName: () => null,
  };
}

const names = () =>
  screen.getAllByRole('rowheader').map((one) => one.querySelector('a')?.textContent);

describe('the table', () => {
  const good = tableRow({ key: 'good', name: 'Good', counts: counts(100) });
  const bad = tableRow({ key: 'bad', name: 'Bad', counts: counts(50, 50) });

  test('shows the worst first, with links to failed runs', () => {
    render(Table, props([good, bad]));
    expect(names()).toEqual(['Bad', 'Good']);
    expect(screen.getByRole('link', { name: '50 failed runs of Bad' }).getAttribute('href')).toBe(
      `/runs/${bad.workflowId}`,
    );
  });

  test('keeps its order while the pointer is inside, and offers the new order', async () => {
    const { rerender, container } = render(Table, props([good, bad]));
    const inside = container.querySelector('table') as HTMLElement;
    await fireEvent(inside, Object.assign(new Event('pointerenter'), { pointerType: 'mouse' }));
    await rerender(props([{ ...good, counts: counts(100, 900) }, bad]));
    expect(names()).toEqual(['Bad', 'Good']);
    await fireEvent.click(screen.getByRole('button', { name: /2 rows move/ }));
    expect(names()).toEqual(['Good', 'Bad']);
    await rerender(props([good, bad]));
    expect(names()).toEqual(['Good', 'Bad']);
    await fireEvent(inside, new Event('pointerleave'));
    expect(names()).toEqual(['Bad', 'Good']);
  });

  test('applies a new sort order at once while the pointer is inside', async () => {
    const { rerender, container } = render(Table, props([good, bad]));
    const inside = container.querySelector('table') as HTMLElement;
    await fireEvent(inside, Object.assign(new Event('pointerenter'), { pointerType: 'mouse' }));
    const byRuns = { ...defaults('UTC'), sort: 'runs' as const };
    const more = { ...good, counts: counts(200) };
    await rerender({ ...props([more, bad]), filters: byRuns });
    expect(names()).toEqual(['Good', 'Bad']);
    await rerender({ ...props([more, { ...bad, counts: counts(900) }]), filters: byRuns });
    expect(names()).toEqual(['Good', 'Bad']);
    expect(screen.getByRole('button', { name: /2 rows move/ })).toBeTruthy();
  });

  test('says that runs are overdue, and sorts by open runs', () => {
    const open = { open: 4, overdue: 2, oldestAt: T0, abandoned: 1 };
    const stuck = tableRow({ key: 'stuck', name: 'Stuck', counts: counts(1, 1), open });
    render(Table, { ...props([good, bad, stuck]), filters: { ...defaults('UTC'), sort: 'open' } });
    expect(names()).toEqual(['Stuck', 'Bad', 'Good']);
    const line = screen.getByRole('row', { name: /Stuck/ });
    expect(line.querySelector('td.unended')?.textContent).toMatch(/4\s*▲ 2 overdue/);
    expect(line.querySelector('td.failed')?.textContent).toContain('including 1 abandoned');
  });

  test('renders the visible rows of a thousand, and exposes their number', () => {
    const many = Array.from({ length: 1000 }, (_, n) =>
      tableRow({ key: `k${n}`, name: `Flow ${n}` }),
    );
    render(Table, props(many));
    expect(screen.getAllByRole('rowheader').length).toBeLessThan(60);
    expect(screen.getByRole('table').getAttribute('aria-rowcount')).toBe('1001');
  });

  test('shows no consecutive failures of a single version, which are unknown', () => {
    render(Table, {
      ...props([good]),
      filters: { ...defaults('UTC'), versions: 'apart' as const },
    });
    const cell = screen.getByRole('row', { name: /Good/ }).querySelector('td.row');
    expect(cell?.textContent).toContain('–');
  });

  test('says "too few" instead of a percentage of three runs', () => {
    render(Table, props([tableRow({ counts: counts(2, 1) })]));
    expect(screen.getByText('too few')).toBeTruthy();
  });
});

test('the table says that its filters affect only itself, and can select its rows for the page', async () => {
  const changes: unknown[] = [];
  const one = tableRow({ key: '1', name: 'Orders', workflowId: 'a' });
  const two = tableRow({ key: '2', name: 'Bills', workflowId: 'b', counts: counts(1, 1) });
  const some = { ...props([one, two]), change: (part: unknown) => changes.push(part) };
  const { rerender } = render(Table, some);
  expect(screen.queryByText(/Cards and chart/)).toBeNull();
  const filters = { ...defaults('UTC'), failing: true, versions: 'apart' as const };
  await rerender({ ...some, filters });
  expect(screen.getByText(/1 version of 2, .*Cards and chart include all of them/)).toBeTruthy();
  await fireEvent.click(screen.getByRole('button', { name: 'Select this version' }));
  const rest = { search: '', failing: false, minRuns: 0 };
  expect(changes).toEqual([{ workflows: ['b'], versions: 'chosen', ...rest }]);
  const many = Array.from({ length: 201 }, (_, n) =>
    tableRow({ key: `k${n}`, counts: counts(0, 1) }),
  );
  await rerender({ ...some, rows: [...many, one], filters });
  expect(screen.queryByRole('button', { name: /^Select/ })).toBeNull();
});

test('the cards show no rate of too few runs', () => {
  const some = { filters: defaults('UTC'), change: () => undefined, open: NO_OPEN, now: T0 };
  render(Cards, { ...some, counts: counts(2, 1, 4), previous: counts() });
  expect(screen.getByTestId('card-rate').textContent).toContain('Not enough runs');
  expect(screen.getByTestId('card-canceled').textContent).toContain('4');
});

test('the cards show open, overdue and abandoned runs', async () => {
  const open = { open: 12, overdue: 2, oldestAt: T0 - 7_200_000, abandoned: 3 };
  const some = { filters: defaults('UTC'), change: () => undefined, previous: counts(), now: T0 };
  const { rerender } = render(Cards, { ...some, counts: counts(90, 10), open });
  const card = screen.getByTestId('card-open');
  expect(card.textContent).toMatch(/12\s*oldest: 2\u202fh\s*▲ 2 overdue/);
  expect(card.textContent).toContain('at least 15 minutes');
  expect(screen.getByTestId('card-failed').textContent).toContain('including 3 abandoned');
  await rerender({ ...some, counts: counts(90, 10), open: NO_OPEN });
  expect(card.textContent).toContain('no open runs');
  expect(card.textContent).not.toContain('▲');
  expect(screen.getByTestId('card-failed').textContent).not.toContain('abandoned');
});

test('the cards call more failures worse, but not without earlier failures', async () => {
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
  expect(screen.getByTestId('card-failed').textContent).toContain('previously none');
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

  test('has a table of all its buckets, including empty ones', async () => {
    render(Chart, some);
    screen.getByText<HTMLElement>('Show as table').click();
    expect(await screen.findAllByRole('rowheader')).toHaveLength(4);
  });

  test('is read and zoomed with the keyboard', async () => {
    render(Chart, some);
    const plot = screen.getByRole('application');
    await fireEvent.keyDown(plot, { key: 'Home' });
    expect(screen.getByText(/23 Nov, 12:00–12:15/, { selector: 'p' })).toBeTruthy();
    await fireEvent.keyDown(plot, { key: 'ArrowRight', shiftKey: true });
    await fireEvent.keyDown(plot, { key: 'Enter' });
    expect(zooms).toEqual([[T0, T0 + 1_800_000]]);
  });
});
