/** The page that the daemon serves: signs in, and gives the dashboard what it needs. */
import { createClient } from '@supabase/supabase-js';
import { AlertsClient } from '../lib/api/alerts';
import { MetricsClient } from '../lib/metrics/snapshot';
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
  readonly client: MetricsClient;
  readonly alerts: Alerts;
}

/** Asked for as soon as this file is there, while others of the page are on their way still. */
const asked = readConfig().then(async (config) => ({ config, users: await localUsers(config) }));
asked.catch(() => undefined); // told in start()

const CHOSEN = 'meshmetrics.devstack-user';

export class App {
  config = $state.raw<Config | null>(null);
  /** Of the local stack only; elsewhere there are none. */
  users = $state.raw<readonly LocalUser[]>([]);
  mount = $state.raw<Mount | null>(null);
  /** Who is signed in. */
  who = $state('');
  ready = $state(false);
  problem = $state('');

  #supabase: ReturnType<typeof createClient> | null = null;

  async start() {
    try {
      const { config, users } = await asked;
      this.config = config;
      this.users = users;
    } catch {
      this.problem = 'The daemon does not answer. Is it running?';
      return;
    }
    const kept = remembered(this.users);
    if (kept) this.choose(kept);
    else if (this.users.length === 0 && this.config.anonKey) await this.#resume(this.config);
    this.ready = true;
  }

  /** Be one of the local users. */
  choose(user: LocalUser) {
    if (!this.config) return;
    localStorage.setItem(CHOSEN, JSON.stringify(user));
    this.who = user.name;
    this.#show(localSession(this.config, user));
  }

  async signIn(email: string, password: string) {
    if (!this.#supabase) return;
    const { error } = await this.#supabase.auth.signInWithPassword({ email, password });
    this.problem = error ? error.message : '';
  }

  async signOut() {
    localStorage.removeItem(CHOSEN);
    await this.#supabase?.auth.signOut();
    this.mount = null;
    this.who = '';
  }

  async #resume({ supabaseUrl, anonKey }: Config) {
    const supabase = (this.#supabase = createClient(supabaseUrl, anonKey ?? ''));
    supabase.auth.onAuthStateChange((_event, session) => {
      const who = session?.user.email ?? session?.user.id ?? '';
      if (who === this.who) return; // a fresh token of the same user
      this.who = who;
      if (session) this.#show(sessionOf(supabase));
      else this.mount = null;
    });
    await supabase.auth.getSession();
  }

  #show(session: Session) {
    const options = { baseUrl: '', token: () => session.token() };
    const client = new MetricsClient(options);
    const metrics = new Metrics(client, supabaseChannels(session.supabase));
    const alerts = new Alerts(new AlertsClient(options), metrics);
    this.mount = { client, metrics, alerts };
  }
}

/** Who was chosen before the reload: with a fresh token, or with the one of then if it is good still. */
function remembered(users: readonly LocalUser[]): LocalUser | null {
  try {
    const kept = JSON.parse(localStorage.getItem(CHOSEN) ?? 'null') as LocalUser | null;
    if (!kept) return null;
    const fresh = users.find((user) => user.id === kept.id);
    if (fresh || users.length > 0) return fresh ?? null;
    return kept.expires_at > Date.now() / 1000 ? kept : null;
  } catch {
    return null;
  }
}
