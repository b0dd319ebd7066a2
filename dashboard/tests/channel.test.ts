import { createClient } from '@supabase/supabase-js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { MAX_CHANNELS, supabaseChannels, type Channels } from '../src/lib/live/channel';
import type { OpenMessage, RatesMessage } from '../src/lib/live/message';
import { message, opened as openMessage, PROJECT } from './fixtures';

type Frame = [join: string | null, ref: string | null, topic: string, event: string, body: unknown];

/** A socket to a server that accepts everything at once. */
class Socket {
  static last: Socket;
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: (() => void) | null = null;
  binaryType = 'arraybuffer';
  readonly sent: Frame[] = [];

  constructor(readonly url: string) {
    Socket.last = this;
    setTimeout(() => {
      this.readyState = 1;
      this.onopen?.();
    });
  }

  send(text: string) {
    const frame = JSON.parse(text) as Frame;
    this.sent.push(frame);
    const [join, ref, topic, event] = frame;
    if (!['phx_join', 'phx_leave', 'heartbeat'].includes(event)) return;
    this.receive([join, ref, topic, 'phx_reply', { status: 'ok', response: {} }]);
  }

  receive(frame: Frame) {
    setTimeout(() => this.onmessage?.({ data: JSON.stringify(frame) }));
  }

  close() {
    this.readyState = 3;
    this.onclose?.({ code: 1000 });
  }
}

let number = 0;
let joins = 0;
let losses = 0;
let alerts = 0;
let removals = 0;
let openHeard: OpenMessage[] = [];
let heard: (RatesMessage | null)[] = [];
let opened: Channels[] = [];

const listener = {
  joined: () => (joins += 1),
  lost: () => (losses += 1),
  message: (one: RatesMessage | null) => heard.push(one),
  alert: () => (alerts += 1),
  removed: () => (removals += 1),
  open: (one: OpenMessage) => openHeard.push(one),
};

function connector() {
  number += 1;
  const supabase = createClient('http://localhost:1', 'anon', {
    realtime: { transport: Socket as unknown as typeof WebSocket },
    auth: {
      storageKey: `client-${number}`,
      persistSession: false,
      autoRefreshToken: false,
      detectSessionInUrl: false,
    },
  });
  const connect = supabaseChannels(supabase);
  return (projects: readonly string[] = [PROJECT]) => {
    const channels = connect(projects, listener);
    opened.push(channels);
    return channels;
  };
}

async function soon() {
  await vi.advanceTimersByTimeAsync(50);
}

beforeEach(() => {
  vi.useFakeTimers();
  joins = losses = alerts = removals = 0;
  heard = [];
  openHeard = [];
  opened = [];
});
afterEach(() => {
  opened.forEach((channels) => channels.close());
  vi.useRealTimers();
});

test('a page that opens while the previous one closes joins the same channel and receives events', async () => {
  const open = connector();
  const first = open();
  await soon();
  expect(joins).toBe(1);
  first.close();
  open();
  await soon();
  expect(joins).toBe(2);
  const [join] = Socket.last.sent.filter((frame) => frame[3] === 'phx_join').at(-1) ?? [];
  Socket.last.receive([
    join ?? null,
    null,
    `realtime:metrics:${PROJECT}`,
    'broadcast',
    { type: 'broadcast', event: 'rates', payload: message() },
  ]);
  await soon();
  expect([heard.length, alerts]).toEqual([1, 0]);
  Socket.last.receive([
    join ?? null,
    null,
    `realtime:metrics:${PROJECT}`,
    'broadcast',
    { type: 'broadcast', event: 'alert', payload: { kind: 'opened' } },
  ]);
  await soon();
  expect([heard.length, alerts]).toEqual([1, 1]);
  for (const payload of [openMessage(), { v: 9 }]) {
    Socket.last.receive([
      join ?? null,
      null,
      `realtime:metrics:${PROJECT}`,
      'broadcast',
      { type: 'broadcast', event: 'open', payload },
    ]);
  }
  await soon();
  expect(openHeard).toEqual([openMessage()]);
});

test('a renewed channel is reported as lost and rejoined', async () => {
  const channels = connector()();
  await soon();
  channels.renew();
  expect(losses).toBe(1);
  await soon();
  expect(joins).toBe(2);
});

test('of 150 projects the first 90 are joined, once', async () => {
  const projects = Array.from({ length: 150 }, (_, index) => `project-${index}`);
  connector()(projects);
  await soon();
  expect(joins).toBe(1);
  await vi.advanceTimersByTimeAsync(120_000);
  const joined = Socket.last.sent.filter((frame) => frame[3] === 'phx_join');
  expect(joined.map((frame) => frame[2])).toEqual(
    projects.slice(0, MAX_CHANNELS).map((id) => `realtime:metrics:${id}`),
  );
  expect([MAX_CHANNELS, joins, losses]).toEqual([90, 1, 0]);
});

test('a workflow that moved out of the project is reported', async () => {
  connector()();
  await soon();
  const [join] = Socket.last.sent.filter((frame) => frame[3] === 'phx_join').at(-1) ?? [];
  Socket.last.receive([
    join ?? null,
    null,
    `realtime:metrics:${PROJECT}`,
    'broadcast',
    {
      type: 'broadcast',
      event: 'removed',
      payload: { v: 1, project_id: PROJECT, workflow_ids: ['1'] },
    },
  ]);
  await soon();
  expect([removals, heard.length]).toEqual([1, 0]);
});
