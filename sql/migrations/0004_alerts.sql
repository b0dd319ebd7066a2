-- Alerts: what tenants write (rules, channels), and what the daemon writes for them to read.
--
-- Only rules and channels reference the engine's tables: the daemon writes neither while it
-- evaluates, so that deleting a project never waits for alerts. What is left behind by a deletion
-- is nobody's to see, and is cleared by meshmetrics.maintain_alerts.

create table public.workflow_alert_rules (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  name text not null check (length(name) between 1 and 200),
  enabled boolean not null default true,
  severity text not null default 'warning' check (severity in ('info', 'warning', 'critical')),
  -- scope project: all workflows together. Else the workflow named, or (null) each on its own.
  scope text not null default 'workflow' check (scope in ('workflow', 'project')),
  workflow_slug text check (length(workflow_slug) between 1 and 500),
  metric text not null default 'success_rate' check (
    metric in ('success_rate', 'failure_rate', 'failure_count', 'consecutive_failures', 'no_runs')
  ),
  comparison text not null default 'below' check (comparison in ('below', 'above')),
  threshold double precision not null default 0.95 check (threshold >= 0 and threshold <= 1000000),
  window_seconds integer not null default 86400 check (window_seconds between 300 and 2592000),
  window_min_runs integer not null default 20 check (window_min_runs between 0 and 100),
  min_runs integer not null default 5 check (min_runs between 1 and 10000),
  method text not null default 'wilson' check (method in ('wilson', 'plain')),
  consecutive integer not null default 3 check (consecutive between 0 and 100),
  recovery_threshold double precision check (recovery_threshold between 0 and 1000000),
  recovery_runs integer not null default 10 check (recovery_runs between 1 and 1000),
  reopen_within_seconds integer not null default 86400
    check (reopen_within_seconds between 0 and 2592000),
  repeat_every_seconds integer not null default 86400
    check (repeat_every_seconds = 0 or repeat_every_seconds between 300 and 2592000),
  no_data_after_seconds integer check (no_data_after_seconds between 60 and 31536000),
  silenced_until timestamptz,
  silence_reason text check (length(silence_reason) <= 500),
  notify_resolved boolean not null default true,
  channel_ids uuid[] check (cardinality(channel_ids) <= 50),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (scope = 'workflow' or workflow_slug is null),
  check (metric not in ('success_rate', 'failure_rate') or threshold <= 1),
  check (metric not in ('success_rate', 'failure_rate') or recovery_threshold <= 1),
  check (metric <> 'consecutive_failures' or consecutive >= 1),
  check ((metric = 'no_runs') = (no_data_after_seconds is not null))
);
create index workflow_alert_rules_project_id on public.workflow_alert_rules (project_id);
comment on table public.workflow_alert_rules is 'When tenants want to be told of a workflow.';

-- Sealed columns hold what only the daemon can open: tenants write them and never read them.
create table public.workflow_alert_channels (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null references public.projects (id) on delete cascade,
  name text not null check (length(name) between 1 and 200),
  kind text not null check (kind in ('webhook', 'slack', 'email')),
  enabled boolean not null default true,
  disabled_reason text,
  hint text not null default '' check (length(hint) <= 300), -- the address, as far as it may be shown
  sealed_target text not null check (length(sealed_target) <= 8000),
  sealed_secret text check (length(sealed_secret) <= 2000),
  sealed_old_secret text,
  old_secret_until timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index workflow_alert_channels_project_id on public.workflow_alert_channels (project_id);
comment on table public.workflow_alert_channels is 'Where notices go.';

create table public.workflow_alert_states (
  rule_id uuid not null,
  workflow_slug text not null, -- empty: all workflows of the project together
  project_id uuid not null,
  state text not null check (
    state in ('ok', 'insufficient', 'pending', 'firing', 'recovering', 'flapping', 'no_data')
  ),
  version bigint not null default 1,
  since timestamptz not null,
  epoch timestamptz not null default '-infinity', -- runs that finished until then are in no window
  incident_id uuid, -- while one is open
  success_count bigint not null default 0,
  failure_count bigint not null default 0,
  window_from timestamptz,
  evaluated_at timestamptz not null,
  primary key (rule_id, workflow_slug)
) with (fillfactor = 70);
create index workflow_alert_states_project_id on public.workflow_alert_states (project_id);
comment on table public.workflow_alert_states is 'How each rule stands with each of its workflows.';

create table public.workflow_alert_incidents (
  id uuid primary key,
  project_id uuid not null,
  rule_id uuid not null,
  workflow_slug text not null,
  rule_name text not null,
  severity text not null,
  cause text not null check (cause in ('rate', 'count', 'consecutive', 'no_data')),
  opened_at timestamptz not null,
  closed_at timestamptz,
  close_reason text check (close_reason in ('recovered', 'corrected', 'ended')),
  -- What it was opened for: the runs that finished from opened_from to opened_until.
  opened_from timestamptz,
  opened_until timestamptz,
  opened_success bigint not null,
  opened_failure bigint not null,
  reopened_at timestamptz[] not null default '{}',
  flapping_since timestamptz,
  notified_at timestamptz not null,
  notice jsonb not null,
  acknowledged_at timestamptz,
  acknowledged_by uuid,
  acknowledge_note text check (length(acknowledge_note) <= 500)
);
create index workflow_alert_incidents_place
  on public.workflow_alert_incidents (rule_id, workflow_slug, closed_at);
create index workflow_alert_incidents_project_id
  on public.workflow_alert_incidents (project_id, opened_at, id);
comment on table public.workflow_alert_incidents is 'Trouble that began and, where closed_at is set, ended.';

create table public.workflow_alert_events (
  id bigint generated always as identity primary key,
  project_id uuid not null,
  rule_id uuid not null,
  workflow_slug text not null,
  incident_id uuid,
  at timestamptz not null,
  kind text not null,
  from_state text,
  to_state text not null,
  success_count bigint not null,
  failure_count bigint not null
);
create index workflow_alert_events_incident_id on public.workflow_alert_events (incident_id, id);
create index workflow_alert_events_at on public.workflow_alert_events (at);
comment on table public.workflow_alert_events is 'Every transition of a state, and every notice.';

create table public.workflow_alert_deliveries (
  id uuid primary key default gen_random_uuid(),
  project_id uuid not null,
  channel_id uuid not null,
  incident_id uuid,
  kind text not null check (
    kind in ('opened', 'reminder', 'reopened', 'resolved', 'flapping', 'no_data', 'test')
  ),
  notice jsonb not null default '{}',
  status text not null default 'pending'
    check (status in ('pending', 'held', 'sending', 'sent', 'dead', 'silenced')),
  held_for text check (held_for in ('digest', 'cap')),
  message_id uuid, -- what travels together shares it: the receiver's key against repeats
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  leased_until timestamptz,
  created_at timestamptz not null default now(),
  first_attempt_at timestamptz,
  finished_at timestamptz,
  http_status integer,
  latency_ms integer,
  error text,
  excerpt text, -- the beginning of what the receiver answered
  replay_requested_at timestamptz
);
create index workflow_alert_deliveries_due
  on public.workflow_alert_deliveries (next_attempt_at) where status in ('pending', 'held', 'sending');
create index workflow_alert_deliveries_replay
  on public.workflow_alert_deliveries (replay_requested_at) where replay_requested_at is not null;
create index workflow_alert_deliveries_channel
  on public.workflow_alert_deliveries (channel_id, first_attempt_at);
create index workflow_alert_deliveries_message
  on public.workflow_alert_deliveries (message_id);
create index workflow_alert_deliveries_project_id
  on public.workflow_alert_deliveries (project_id, created_at, id);
comment on table public.workflow_alert_deliveries is
  'One notice for one channel: the outbox, written with the transition that it tells of.';

alter table public.workflow_alert_rules enable row level security;
alter table public.workflow_alert_channels enable row level security;
alter table public.workflow_alert_states enable row level security;
alter table public.workflow_alert_incidents enable row level security;
alter table public.workflow_alert_events enable row level security;
alter table public.workflow_alert_deliveries enable row level security;
