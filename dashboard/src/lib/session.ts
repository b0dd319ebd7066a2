/** Sessions: a Supabase client that is signed in, and the token for the REST API. */
import { createClient, type SupabaseClient } from '@supabase/supabase-js';

export interface Session {
  readonly supabase: SupabaseClient;
  /** A valid access token; null if signed out. */
  token(): Promise<string | null>;
}

/** The session of a Supabase client that signs its users in, such as MeshHook's. */
export function sessionOf(supabase: SupabaseClient): Session {
  return {
    supabase,
    token: async () => (await supabase.auth.getSession()).data.session?.access_token ?? null,
  };
}

/** The contents of /dashboard.json. */
export interface Config {
  readonly supabaseUrl: string;
  readonly anonKey: string | null;
  readonly runsUrl: string | null;
}

export async function readConfig(): Promise<Config> {
  const answer = await fetch('/dashboard.json');
  if (!answer.ok) throw new Error(`The daemon responded with status ${answer.status}.`);
  return answer.json();
}

export interface LocalUser {
  readonly id: string;
  readonly name: string;
  readonly access_token: string;
  readonly expires_at: number;
  /** Lifetime in seconds when it was issued. */
  readonly expires_in: number;
}

/**
 * The users that the local development stack signs in without a password. Requested only from this
 * machine; a real Supabase has no such endpoint.
 */
export async function localUsers(config: Config): Promise<LocalUser[]> {
  const { hostname } = new URL(config.supabaseUrl);
  if (!['127.0.0.1', 'localhost', '[::1]'].includes(hostname)) return [];
  try {
    const answer = await fetch(`${config.supabaseUrl}/local/users`);
    if (!answer.ok) return [];
    const { users }: { users: LocalUser[] } = await answer.json();
    return users;
  } catch {
    return [];
  }
}

/** Seconds before expiry at which a token is refreshed, at most half its lifetime. */
const REFRESH_MARGIN = 300;
/** Seconds. At each heartbeat the Realtime client gets the token and sends a new one to the server. */
const HEARTBEAT = 25;

/** The session of a local user. Its token is refreshed before it expires. */
export function localSession(config: Config, user: LocalUser): Session {
  const margin = Math.min(REFRESH_MARGIN, user.expires_in / 2);
  let current = user;
  let fetching: Promise<void> | null = null;

  async function renew() {
    const fresh = (await localUsers(config)).find((one) => one.id === current.id);
    if (fresh) current = fresh;
  }

  async function token(): Promise<string | null> {
    const now = Date.now() / 1000;
    if (current.expires_at - now < margin) {
      fetching ??= renew().finally(() => (fetching = null));
      await fetching;
    }
    return current.expires_at > now ? current.access_token : null;
  }

  const supabase = createClient(config.supabaseUrl, config.anonKey ?? 'local', {
    accessToken: token,
    realtime: { heartbeatIntervalMs: Math.min(HEARTBEAT, margin / 2) * 1000 },
  });
  return { supabase, token };
}
