import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { supabaseChannels } from '../src/lib/live/channel';
import { localSession } from '../src/lib/session';
import { PROJECT, T0 } from './fixtures';

const CONFIG = { supabaseUrl: 'http://127.0.0.1:1', anonKey: 'key', runsUrl: null };
const user = (token: string, expiresAt: number, life = 3600) => ({
  id: 'ada',
  name: 'Ada',
  access_token: token,
  expires_at: expiresAt,
  expires_in: life,
});
const HOUR = 3600;
const START = T0 / 1000;

describe('the token of a local user', () => {
  const fetched = vi.fn();
  beforeEach(() => {
    vi.useFakeTimers({ now: T0 });
    fetched.mockReset();
    vi.stubGlobal('fetch', fetched);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });
  const answers = (...users: unknown[]) =>
    fetched.mockImplementation(() => Promise.resolve(Response.json({ users })));
  const later = (seconds: number) => vi.setSystemTime(T0 + seconds * 1000);

  test('is used while it is valid, and refreshed once before it expires', async () => {
    const { token } = localSession(CONFIG, user('first', START + HOUR));
    answers(user('second', START + 2 * HOUR));
    later(HOUR - 301);
    expect(await token()).toBe('first');
    expect(fetched).not.toHaveBeenCalled();
    later(HOUR - 299);
    expect(await Promise.all([token(), token()])).toEqual(['second', 'second']);
    expect(fetched).toHaveBeenCalledTimes(1);
  });

  test('is used until it expires if it cannot be refreshed', async () => {
    const { token } = localSession(CONFIG, user('first', START + HOUR));
    fetched.mockRejectedValue(new TypeError('no answer'));
    later(HOUR - 1);
    expect(await token()).toBe('first');
    later(HOUR);
    expect(await token()).toBeNull();
    answers(user('second', START + 2 * HOUR));
    expect(await token()).toBe('second');
  });

  test('with a short lifetime is refreshed after half of it', async () => {
    const { token, supabase } = localSession(CONFIG, user('first', START + 10, 10));
    // The client gets the token at every heartbeat, often enough to send a new one in time.
    expect(supabase.realtime.heartbeatIntervalMs).toBeLessThanOrEqual(2500);
    answers(user('second', START + 20, 10));
    later(4);
    expect(await token()).toBe('first');
    later(6);
    expect(await token()).toBe('second');
  });
});

test('a channel is joined with a new token, not with the last one of the client', async () => {
  const calls: string[] = [];
  const fresh = Promise.withResolvers<undefined>();
  const channel = { on: () => channel, subscribe: () => void calls.push('joined') };
  const supabase = {
    channel: () => channel,
    realtime: { setAuth: () => (calls.push('authenticated'), fresh.promise) },
    removeChannel: () => Promise.resolve('ok'),
  };
  const open = supabaseChannels(supabase as never)([PROJECT], {
    message: () => undefined,
    open: () => undefined,
    removed: () => undefined,
    alert: () => undefined,
    joined: () => undefined,
    lost: () => undefined,
  });
  expect(calls).toEqual(['authenticated']);
  fresh.resolve(undefined);
  await vi.waitFor(() => expect(calls).toEqual(['authenticated', 'joined']));
  open.close();
});
