/** Joins the private Realtime channels of projects and rejoins them after failures. */
import type { RealtimeChannel, SupabaseClient } from '@supabase/supabase-js';
import { readMessage, readOpen, type OpenMessage, type RatesMessage } from './message';

export interface Listener {
  /** A broadcast, or null if it is unreadable, which counts as a missed one. */
  message(message: RatesMessage | null): void;
  /** The current open runs of some workflow versions. */
  open(message: OpenMessage): void;
  /** An incident opened, changed or closed. The details must be fetched. */
  alert(): void;
  /** Workflows moved out of a project: their numbers no longer belong to it. */
  removed(): void;
  /** All channels are joined or rejoined. Earlier broadcasts may be missing. */
  joined(): void;
  /** At least one channel is no longer joined. */
  lost(): void;
}

export interface Channels {
  /** Leaves and rejoins, in case the connection is dead. */
  renew(): void;
  close(): void;
}

export type Connect = (projects: readonly string[], listener: Listener) => Channels;

/** Realtime allows 100 channels per connection. The rest is for other users of the client. */
export const MAX_CHANNELS = 90;

const REJOIN_DELAYS = [500, 1000, 2000, 5000, 10_000, 30_000];
/** Milliseconds that the Supabase client has to join by its own retries before we rejoin. */
const JOIN_TIMEOUT = 12_000;

/** Joins through a Supabase client, with the session of that client: the first `MAX_CHANNELS` projects. */
export function supabaseChannels(supabase: SupabaseClient): Connect {
  return (projects, listener) => {
    const open = projects
      .slice(0, MAX_CHANNELS)
      .map((project) => new ProjectChannel(supabase, project, changed, listener));
    let allJoined = false;

    function changed() {
      const now = open.every((channel) => channel.joined);
      if (now && !allJoined) listener.joined();
      if (!now && allJoined) listener.lost();
      allJoined = now;
    }

    for (const channel of open) channel.open();
    return {
      renew: () => open.forEach((channel) => channel.renew()),
      close: () => open.forEach((channel) => channel.close()),
    };
  };
}

class ProjectChannel {
  joined = false;
  readonly #supabase: SupabaseClient;
  readonly #topic: string;
  readonly #changed: () => void;
  readonly #listener: Listener;
  #channel: RealtimeChannel | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attempts = 0;
  #closed = false;

  constructor(supabase: SupabaseClient, project: string, changed: () => void, listener: Listener) {
    this.#supabase = supabase;
    this.#topic = `metrics:${project}`;
    this.#changed = changed;
    this.#listener = listener;
  }

  open() {
    const channel = this.#supabase.channel(this.#topic, { config: { private: true } });
    this.#channel = channel;
    this.#scheduleRejoin(JOIN_TIMEOUT);
    channel
      .on('broadcast', { event: 'rates' }, ({ payload }) =>
        this.#listener.message(readMessage(payload)),
      )
      .on('broadcast', { event: 'open' }, ({ payload }) => {
        const message = readOpen(payload);
        if (message) this.#listener.open(message);
      })
      .on('broadcast', { event: 'removed' }, () => this.#listener.removed())
      .on('broadcast', { event: 'alert' }, () => this.#listener.alert());
    // A join sends the last token that the client has, which may have expired while asleep.
    void this.#supabase.realtime.setAuth().then(
      () => this.#subscribe(channel),
      () => undefined, // retried after JOIN_TIMEOUT
    );
  }

  #subscribe(channel: RealtimeChannel) {
    if (this.#closed || channel !== this.#channel) return;
    channel.subscribe((status) => {
      if (this.#closed || channel !== this.#channel) return;
      if (status === 'SUBSCRIBED') {
        this.#attempts = 0;
        clearTimeout(this.#timer);
        // Always report it: the client may have rejoined without reporting the loss.
        this.#set(false);
        this.#set(true);
        return;
      }
      this.#set(false);
      this.#scheduleRejoin(status === 'CLOSED' ? this.#rejoinDelay() : JOIN_TIMEOUT);
    });
  }

  renew() {
    if (this.#closed) return;
    this.#set(false);
    clearTimeout(this.#timer);
    const old = this.#channel;
    this.#channel = null;
    // The client has one channel per topic, so remove the old one first.
    const removed = old ? this.#supabase.removeChannel(old) : Promise.resolve();
    void Promise.race([removed, new Promise((done) => setTimeout(done, 1000))]).finally(() => {
      if (!this.#closed && this.#channel === null) this.open();
    });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    if (this.#channel) void this.#supabase.removeChannel(this.#channel);
  }

  #set(joined: boolean) {
    if (joined === this.joined) return;
    this.joined = joined;
    this.#changed();
  }

  #scheduleRejoin(after: number) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.renew(), after);
  }

  #rejoinDelay(): number {
    const cap = REJOIN_DELAYS[Math.min(this.#attempts, REJOIN_DELAYS.length - 1)] ?? 30_000;
    this.#attempts += 1;
    return cap * (0.5 + Math.random() / 2);
  }
}
