/** The private channels of some projects, kept joined for as long as they are wanted. */
import type { RealtimeChannel, SupabaseClient } from '@supabase/supabase-js';
import { readMessage, readOpen, type OpenMessage, type RatesMessage } from './message';

export interface Listener {
  /** A broadcast; null where it could not be read, which is as good as a missed one. */
  message(message: RatesMessage | null): void;
  /** Open runs of some workflow versions, as they are now. */
  open(message: OpenMessage): void;
  /** An incident opened, changed or closed; what it says is asked for. */
  alert(): void;
  /** All channels are joined, again perhaps: what was sent before now may have been missed. */
  joined(): void;
  /** Not all channels are joined any more. */
  lost(): void;
}

export interface Channels {
  /** Leave and join anew: the connection may be dead without having said so. */
  renew(): void;
  close(): void;
}

export type Connect = (projects: readonly string[], listener: Listener) => Channels;

const REJOIN = [500, 1000, 2000, 5000, 10_000, 30_000];
/** How long a channel that is not joined is left to the client's own attempts. */
const PATIENCE = 12_000;

/** Joins through a Supabase client, with whatever session that client has. */
export function supabaseChannels(supabase: SupabaseClient): Connect {
  return (projects, listener) => {
    const open = projects.map((project) => new Joined(supabase, project, changed, listener));
    let whole = false;

    function changed() {
      const now = open.length === projects.length && open.every((channel) => channel.joined);
      if (now && !whole) listener.joined();
      if (!now && whole) listener.lost();
      whole = now;
    }

    for (const channel of open) channel.open();
    return {
      renew: () => open.forEach((channel) => channel.renew()),
      close: () => open.forEach((channel) => channel.close()),
    };
  };
}

class Joined {
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
    this.#again(PATIENCE);
    channel
      .on('broadcast', { event: 'rates' }, ({ payload }) =>
        this.#listener.message(readMessage(payload)),
      )
      .on('broadcast', { event: 'open' }, ({ payload }) => {
        const message = readOpen(payload);
        if (message) this.#listener.open(message);
      })
      .on('broadcast', { event: 'alert' }, () => this.#listener.alert());
    // A join says the token that the client last heard of: after a sleep, one that has run out.
    void this.#supabase.realtime.setAuth().then(
      () => this.#subscribe(channel),
      () => undefined, // tried again when patience is at its end
    );
  }

  #subscribe(channel: RealtimeChannel) {
    if (this.#closed || channel !== this.#channel) return;
    channel.subscribe((status) => {
      if (this.#closed || channel !== this.#channel) return;
      if (status === 'SUBSCRIBED') {
        this.#attempts = 0;
        clearTimeout(this.#timer);
        // Said again although nothing was lost in between: a rejoin may have been silent.
        this.#set(false);
        this.#set(true);
        return;
      }
      this.#set(false);
      this.#again(status === 'CLOSED' ? this.#pause() : PATIENCE);
    });
  }

  renew() {
    if (this.#closed) return;
    this.#set(false);
    clearTimeout(this.#timer);
    const old = this.#channel;
    this.#channel = null;
    // The client keeps one channel for each topic: the new one only after the old one is gone.
    const gone = old ? this.#supabase.removeChannel(old) : Promise.resolve();
    void Promise.race([gone, new Promise((done) => setTimeout(done, 1000))]).finally(() => {
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

  #again(after: number) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.renew(), after);
  }

  #pause(): number {
    const cap = REJOIN[Math.min(this.#attempts, REJOIN.length - 1)] ?? 30_000;
    this.#attempts += 1;
    return cap * (0.5 + Math.random() / 2);
  }
}
