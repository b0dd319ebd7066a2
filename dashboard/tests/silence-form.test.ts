import { fireEvent, render, screen } from '@testing-library/svelte';
import { expect, test, vi } from 'vitest';
import SilenceForm from '../src/lib/ui/alerts/rules/SilenceForm.svelte';
import { T0 } from './fixtures';

async function form(tz: string) {
  const silence = vi.fn(() => Promise.resolve());
  const props = { silence, now: T0, tz, done: () => undefined };
  const { rerender } = render(SilenceForm, props);
  const submit = () => fireEvent.submit(screen.getByRole('form', { name: 'Silence' }));
  const length = screen.getByLabelText<HTMLSelectElement>('Duration');
  const choose = async (name: string) => {
    const option = [...length.options].find((one) => one.text === name);
    await fireEvent.change(length, { target: { value: option?.value } });
  };
  const until = () => screen.getByLabelText<HTMLInputElement>('Until');
  const enter = (wall: string) => fireEvent.input(until(), { target: { value: wall } });
  const inZone = (other: string) => rerender({ ...props, tz: other });
  return { silence, submit, choose, until, enter, inZone };
}

test('a silence lasts for a duration from its submission', async () => {
  vi.useFakeTimers({ now: T0 + 90_000 });
  const { silence, submit, choose } = await form('UTC');
  expect(screen.queryByLabelText('Until')).toBeNull();
  await choose('1 day');
  await submit();
  expect(silence).toHaveBeenCalledWith(T0 + 90_000 + 86_400_000, null);
  vi.useRealTimers();
});

test('a silence ends at a local time, the later one if it occurs twice', async () => {
  const { silence, submit, choose, until, enter } = await form('Europe/Berlin');
  await choose('Until …');
  expect(until().value).not.toBe('');
  for (const [wall, at, hint] of [
    ['2027-01-10T08:00', '2027-01-10T07:00Z', 'Europe/Berlin (GMT+1)'],
    ['2027-07-10T08:00', '2027-07-10T06:00Z', 'Europe/Berlin (GMT+2)'],
    ['2027-03-28T02:30', '2027-03-28T01:00Z', 'Clocks skip this time'],
    ['2027-10-31T02:30', '2027-10-31T01:30Z', 'This time occurs twice'],
  ] as const) {
    await enter(wall);
    expect(screen.getByText(hint, { exact: false })).toBeTruthy();
    await submit();
    expect(silence).toHaveBeenLastCalledWith(Date.parse(at), null);
  }
});

test('an end in the past, or an empty one, is rejected at its field', async () => {
  const { silence, submit, choose, until, enter } = await form('Asia/Kathmandu');
  await choose('Until …');
  await enter('2026-11-23T17:44'); // now is 17:45 there
  expect(until().getAttribute('aria-invalid')).toBe('true');
  expect(screen.getByText('Enter a time in the future.', { exact: false })).toBeTruthy();
  await submit();
  await enter('');
  expect(screen.getByText('Enter a date and a time.', { exact: false })).toBeTruthy();
  await submit();
  expect(silence).not.toHaveBeenCalled();
  await enter('2026-11-23T17:46');
  expect(until().getAttribute('aria-invalid')).toBeNull();
});

test('a new time zone resets the end', async () => {
  const { choose, until, enter, inZone } = await form('UTC');
  await choose('Until …');
  await enter('2099-01-10T08:00');
  await inZone('Asia/Kathmandu');
  expect(until().value).not.toBe('2099-01-10T08:00');
});
