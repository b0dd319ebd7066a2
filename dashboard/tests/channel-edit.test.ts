import { fireEvent, render, screen } from '@testing-library/svelte';
import { expect, test, vi } from 'vitest';
import type { Channel } from '../src/lib/api/alerts';
import { ApiError } from '../src/lib/api/http';
import type { Alerts } from '../src/lib/alerts/alerts.svelte';
import ChannelRow from '../src/lib/ui/alerts/channels/ChannelRow.svelte';
import { PROJECT, T0 } from './fixtures';

const CHANNEL: Channel = {
  id: '00000000-0000-4000-8000-0000000000c1',
  project_id: PROJECT,
  name: 'Operations',
  kind: 'webhook',
  enabled: true,
  disabled_reason: null,
  unconfirmed: false,
  hint: 'hooks.example/…',
  old_secret_until: null,
  created_at: '2026-11-01T00:00:00Z',
  updated_at: '2026-11-01T00:00:00Z',
};

async function edit(changeChannel = vi.fn(() => Promise.resolve(CHANNEL))) {
  const refetch = vi.fn(() => Promise.resolve());
  render(ChannelRow, {
    channel: CHANNEL,
    alerts: { client: { changeChannel } } as unknown as Alerts,
    now: T0,
    tz: 'UTC',
    project: null,
    deliveriesUrl: '/',
    refetch,
    showSecret: () => Promise.resolve(),
  });
  const opener = screen.getByRole('button', { name: 'Edit Operations' });
  await fireEvent.click(opener);
  return {
    changeChannel,
    refetch,
    opener,
    name: screen.getByLabelText<HTMLInputElement>('Name'),
    target: screen.getByLabelText<HTMLInputElement>('URL (optional)'),
    save: async () => {
      await fireEvent.submit(screen.getByRole('form', { name: 'Edit Operations' }));
      await vi.waitFor(() => expect(changeChannel).toHaveBeenCalled());
    },
  };
}

test('a new name is sent alone, and an empty target is not sent', async () => {
  const { changeChannel, refetch, opener, name, target, save } = await edit();
  expect(document.activeElement).toBe(name);
  expect([name.value, target.value]).toEqual(['Operations', '']);
  await fireEvent.input(name, { target: { value: ' On call ' } });
  await save();
  expect(changeChannel).toHaveBeenCalledWith(CHANNEL.id, { name: 'On call' });
  await vi.waitFor(() => expect(screen.queryByRole('form')).toBeNull());
  expect(refetch).toHaveBeenCalledOnce();
  expect(document.activeElement).toBe(opener);
});

test('a target is sent alone', async () => {
  const { changeChannel, target, save } = await edit();
  await fireEvent.input(target, { target: { value: 'https://b.example/2 ' } });
  await save();
  expect(changeChannel).toHaveBeenCalledWith(CHANNEL.id, { target: 'https://b.example/2' });
});

test('an invalid target is reported at its field, which keeps the input', async () => {
  const refused = new ApiError(422, 'wrong', null, [{ parameter: 'target', takes: 'a URL' }]);
  const { target, save } = await edit(vi.fn(() => Promise.reject(refused)));
  await fireEvent.input(target, { target: { value: 'ftp://b.example' } });
  await save();
  await vi.waitFor(() => expect(target.getAttribute('aria-invalid')).toBe('true'));
  expect(screen.getByText('Must be a URL.', { exact: false })).toBeTruthy();
  expect(target.value).toBe('ftp://b.example');
});

test('an unconfirmed channel says so, and asks its address again instead of testing', async () => {
  const askForConfirmation = vi.fn(() => Promise.resolve());
  render(ChannelRow, {
    channel: { ...CHANNEL, kind: 'email', unconfirmed: true },
    alerts: {
      client: { askForConfirmation },
      refetch: () => Promise.resolve(),
    } as unknown as Alerts,
    now: T0,
    tz: 'UTC',
    project: null,
    deliveriesUrl: '/',
    refetch: () => Promise.resolve(),
    showSecret: () => Promise.resolve(),
  });
  expect(screen.getByText('Waiting for confirmation')).toBeTruthy();
  expect(screen.queryByRole('button', { name: /Send test/ })).toBeNull();
  const again = screen.getByRole<HTMLButtonElement>('button', { name: /Send again/ });
  await fireEvent.click(again);
  await vi.waitFor(() => expect(screen.getByText(/on its way/)).toBeTruthy());
  expect(askForConfirmation).toHaveBeenCalledWith(CHANNEL.id);
  expect(again.disabled).toBe(true);
});

test('a limit on confirmation mails is reported', async () => {
  const detail = 'a channel asks its address for confirmation at most 3 times a day';
  render(ChannelRow, {
    channel: { ...CHANNEL, kind: 'email', unconfirmed: true },
    alerts: {
      client: { askForConfirmation: () => Promise.reject(new ApiError(409, detail)) },
    } as unknown as Alerts,
    now: T0,
    tz: 'UTC',
    project: null,
    deliveriesUrl: '/',
    refetch: () => Promise.resolve(),
    showSecret: () => Promise.resolve(),
  });
  await fireEvent.click(screen.getByRole('button', { name: /Send again/ }));
  const alert = await screen.findByRole('alert');
  expect(alert.textContent).toContain('at most 3 times a day');
});
