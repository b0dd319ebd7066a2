import { fireEvent, render, screen } from '@testing-library/svelte';
import { expect, test, vi } from 'vitest';
import SilenceForm from '../src/lib/ui/alerts/rules/SilenceForm.svelte';
import { T0 } from './fixtures';

async function form(tz: string) {
  const silence = vi.fn(() => Promise.resolve());
  const props = { silence, now: T0, tz, done: () => undefined };
  const { rerender } = render(SilenceForm, props);
  const submit = () => fireEvent.submit(screen.getByRole('form', { name: 'Silence' }));
  const length = screen.getByLabelText<HTMLSelectElement>('For');
  const choose = async (name: string) => {
    const option = [...length.options].find((one) => one.text === name);
    await fireEvent.change(length, { target: { value: option?.value } });
  };
  const until = () => screen.getByLabelText<HTMLInputElement>('Until');
  const enter = (wall: string) => fireEvent.input(until(), { target: { value: wall } });
  const inZone = (other: string) => rerender({ ...props, tz: other });
  return { silence, submit, choose, until, enter, inZone };
}

test('a silence has a length from the moment that it is asked for', async () => {
  vi.useFakeTimers({ now: T0 + 90_000 });
  const { silence, submit, choose } = await form('UTC');
  expect(screen.queryByLabelText('Until')).toBeNull();
  await choose('1 day');
  await submit();
  expect(silence).toHaveBeenCalledWith(T0 + 90_000 + 86_400_000, null);
  vi.useRealTimers();
});

test('a silence ends at a clock time of the page, the later one where it comes twice', async () => {
  const { silence, submit, choose, until, enter } = await form('Europe/Berlin');
  await choose('until …');
  expect(until().value).not.toBe('');
  for (const [wall, at, said] of [
    ['2027-01-10T08:00', '2027-01-10T07:00Z', 'Europe/Berlin (GMT+1)'],
    ['2027-07-10T08:00', '2027-07-10T06:00Z', 'Europe/Berlin (GMT+2)'],
    ['2027-03-28T02:30', '2027-03-28T01:00Z', 'Clocks skip that time'],
    ['2027-10-31T02:30', '2027-10-31T01:30Z', 'That time comes twice'],
  ] as const) {
    await enter(wall);
    expect(screen.getByText(said, { exact: false })).toBeTruthy();
    await submit();
    expect(silence).toHaveBeenLastCalledWith(Date.parse(at), null);
  }
});

test('an end that is over, or none, is refused at its field', async () => {
  const { silence, submit, choose, until, enter } = await form('Asia/Kathmandu');
  await choose('until …');
  await enter('2026-11-23T17:44'); // now is 17:45 there
  expect(until().getAttribute('aria-invalid')).toBe('true');
  expect(screen.getByText('This takes a time to come.', { exact: false })).toBeTruthy();
  await submit();
  await enter('');
  expect(screen.getByText('This takes a date and a time.', { exact: false })).toBeTruthy();
  await submit();
  expect(silence).not.toHaveBeenCalled();
  await enter('2026-11-23T17:46');
  expect(until().getAttribute('aria-invalid')).toBeNull();
});

test('in another zone the end is asked for anew', async () => {
  const { choose, until, enter, inZone } = await form('UTC');
  await choose('until …');
  await enter('2099-01-10T08:00');
  await inZone('Asia/Kathmandu');
  expect(until().value).not.toBe('2099-01-10T08:00');
});
