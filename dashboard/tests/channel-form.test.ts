import { fireEvent, render, screen } from '@testing-library/svelte';
import { expect, test, vi } from 'vitest';
import type { AlertsClient } from '../src/lib/api/alerts';
import { ApiError } from '../src/lib/api/http';
import type { Alerts } from '../src/lib/alerts/alerts.svelte';
import ChannelForm from '../src/lib/ui/alerts/channels/ChannelForm.svelte';
import { PROJECT } from './fixtures';

test('a channel is not sent before its project is known, and errors are shown at their fields', async () => {
  const refused = new ApiError(422, 'target: must be a public address', null, [
    { parameter: 'target', takes: 'a public address' },
  ]);
  const addChannel = vi.fn<AlertsClient['addChannel']>(() => Promise.reject(refused));
  const alerts = { client: { addChannel } } as unknown as Alerts;
  const props = { alerts, project: null, done: () => Promise.resolve(), cancel: () => undefined };
  const { rerender } = render(ChannelForm, { ...props, projects: [] });
  const button = screen.getByRole<HTMLButtonElement>('button', { name: 'Add channel' });
  expect(button.disabled).toBe(true);

  await rerender({ ...props, projects: [{ project_id: PROJECT, name: 'Shop', versions: [] }] });
  expect(button.disabled).toBe(false);
  await fireEvent.input(screen.getByLabelText('URL'), { target: { value: 'https://10.0.0.1/' } });
  await fireEvent.click(button);
  await vi.waitFor(() =>
    expect(screen.getByLabelText('URL').getAttribute('aria-invalid')).toBe('true'),
  );
  expect(addChannel.mock.calls[0]?.[0]).toMatchObject({ project_id: PROJECT });
});
