/** Who is looking: a Supabase client with a session, and the token for the REST API. */
import { createClient, type SupabaseClient } from '@supabase/supabase-js';

export interface Session {
  readonly supabase: SupabaseClient;
  /** A fresh access token; null when signed out. */
  token(): Promise<string | null>;
}

/** The session of a client that signs its users in itself, such as the one MeshHook has. */
export function sessionOf(supabase: SupabaseClient): Session {
  return {
    supabase,
    token: async () => (await supabase.auth.getSession()).data.session?.access_token ?? null,
  };
}

/** What the daemon says at /dashboard.json. */
export interface Config {
  readonly supabaseUrl: string;
  readonly anonKey: string | null;
  readonly runsUrl: string | null;
}

export async function readConfig(): Promise<Config> {
  const answer = await fetch('/dashboard.json');
  if (!answer.ok) throw new Error(`The daemon answered ${answer.status}.`);
  return (await answer.json()) as Config;
}

export interface LocalUser {
  readonly id: string;
  readonly name: string;
  readonly access_token: string;
  readonly expires_at: number;
  /** Seconds, when it was handed out. */
  readonly expires_in: number;
}

/**
 * The users that the local stack signs in without a password. Only a Supabase on this very machine
 * is asked, and none but the local stack's own answers.
 */
export async function localUsers(config: Config): Promise<LocalUser[]> {
  const { hostname } = new URL(config.supabaseUrl);
  if (!['127.0.0.1', 'localhost', '[::1]'].includes(hostname)) return [];
  try {
    const answer = await fetch(`${config.supabaseUrl}/local/users`);
    if (!answer.ok) return [];
    return ((await answer.json()) as { users: LocalUser[] }).users;
  } catch {
    return [];
  }
}

/** Seconds before its end that a token is fetched anew: half its life, if that is short. */
const EARLY = 300;
/** Seconds; at each heartbeat the channel asks for the token, and tells the server of a fresh one. */
const HEARTBEAT = 25;

/** The session of a local user; its token is fetched anew some minutes before it runs out. */
export function localSession(config: Config, user: LocalUser): Session {
  const early = Math.min(EARLY, user.expires_in / 2);
  let current = user;
  let fetching: Promise<void> | null = null;

  async function renew() {
    const fresh = (await localUsers(config)).find((one) => one.id === current.id);
    if (fresh) current = fresh;
  }

  async function token(): Promise<string | null> {
    const now = Date.now() / 1000;
    if (current.expires_at - now < early) {
      fetching ??= renew().finally(() => (fetching = null));
      await fetching;
    }
    return current.expires_at > now ? current.access_token : null;
  }

  const supabase = createClient(config.supabaseUrl, config.anonKey ?? 'local', {
    accessToken: token,
    realtime: { heartbeatIntervalMs: Math.min(HEARTBEAT, early / 2) * 1000 },
  });
  return { supabase, token };
}
