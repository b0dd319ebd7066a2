/** The page that the daemon serves: signs users in and creates the clients of the dashboard. */
import { createClient } from '@supabase/supabase-js';
import { AlertsClient } from '../lib/api/alerts';
import { MetricsClient } from '../lib/api/metrics';
import { supabaseChannels } from '../lib/live/channel';
import { Alerts } from '../lib/alerts/alerts.svelte';
import { Metrics } from '../lib/metrics/metrics.svelte';
import {
  localSession,
  localUsers,
  readConfig,
  sessionOf,
  type Config,
  type LocalUser,
  type Session,
} from '../lib/session';

interface Mount {
  readonly metrics: Metrics;
  readonly alerts: Alerts;
}

/** Requested as soon as this file has loaded, in parallel with the rest of the page. */
const loading = readConfig().then(async (config) => ({ config, users: await localUsers(config) }));
loading.catch(() => undefined); // handled in start()

const STORAGE_KEY = 'meshmetrics.devstack-user';

export class App {
  config = $state.raw<Config | null>(null);
  /** The users of the local development stack; empty elsewhere. */
  users = $state.raw<readonly LocalUser[]>([]);
  mount = $state.raw<Mount | null>(null);
  /** The name of the signed-in user. */
  userName = $state('');
  ready = $state(false);
  problem = $state('');

  #supabase: ReturnType<typeof createClient> | null = null;

  async start() {
    try {
      const { config, users } = await loading;
      this.config = config;
      this.users = users;
    } catch {
      this.problem = 'The daemon does not respond. Is it running?';
      return;
    }
    const stored = storedUser(this.users);
    if (stored) this.signInAs(stored);
    else if (this.users.length === 0 && this.config.anonKey) await this.#resume(this.config);
    this.ready = true;
  }

  /** Signs in as one of the local users. */
  signInAs(user: LocalUser) {
    if (!this.config) return;
    localStorage.setItem(STORAGE_KEY, JSON.stringify(user));
    this.userName = user.name;
    this.#show(localSession(this.config, user));
  }

  async signIn(email: string, password: string) {
    if (!this.#supabase) return;
    const { error } = await this.#supabase.auth.signInWithPassword({ email, password });
    this.problem = error ? error.message : '';
  }

  async signOut() {
    localStorage.removeItem(STORAGE_KEY);
    await this.#supabase?.auth.signOut();
    this.mount = null;
    this.userName = '';
  }

  async #resume({ supabaseUrl, anonKey }: Config) {
    const supabase = (this.#supabase = createClient(supabaseUrl, anonKey ?? ''));
    supabase.auth.onAuthStateChange((_event, session) => {
      const name = session?.user.email ?? session?.user.id ?? '';
      if (name === this.userName) return; // a new token of the same user
      this.userName = name;
      if (session) this.#show(sessionOf(supabase));
      else this.mount = null;
    });
    await supabase.auth.getSession();
  }

  #show(session: Session) {
    const options = { baseUrl: '', token: () => session.token() };
    const metrics = new Metrics(new MetricsClient(options), supabaseChannels(session.supabase));
    const alerts = new Alerts(new AlertsClient(options), metrics);
    this.mount = { metrics, alerts };
  }
}

/** The local user of the last visit, with a new token, or with the stored one while it is valid. */
function storedUser(users: readonly LocalUser[]): LocalUser | null {
  try {
    const stored: LocalUser | null = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? 'null');
    if (!stored) return null;
    if (users.length > 0) return users.find((user) => user.id === stored.id) ?? null;
    return stored.expires_at > Date.now() / 1000 ? stored : null;
  } catch {
    return null;
  }
}
