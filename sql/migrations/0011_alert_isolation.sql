-- One project's alerts cannot stop another's: slugs of any length fit the indexes, and a project that
-- cannot be evaluated is retried alone, with growing pauses.

-- An index entry holds 2.7 kB at most, and a slug may be almost as long: index its hash.
-- squawk-ignore ban-drop-constraint
alter table public.workflow_alert_states drop constraint workflow_alert_states_pkey;
create unique index workflow_alert_states_place
  on public.workflow_alert_states (rule_id, md5(workflow_slug));
-- squawk-ignore require-concurrent-index-deletion
drop index public.workflow_alert_incidents_place;
create index workflow_alert_incidents_place
  on public.workflow_alert_incidents (rule_id, md5(workflow_slug), closed_at);

create table public.workflow_alert_failures (
  project_id uuid primary key,
  reason text not null,
  failures integer not null default 1, -- in a row
  since timestamptz not null,
  failed_at timestamptz not null,
  retry_at timestamptz not null
);
comment on table public.workflow_alert_failures is
  'Projects whose alert rules cannot be evaluated, and why. A row goes with the next success.';
alter table public.workflow_alert_failures enable row level security;

-- The queue of each project, and what was not sent because its rule was silenced.
create index workflow_alert_deliveries_queue
  on public.workflow_alert_deliveries (project_id, next_attempt_at)
  where status in ('pending', 'held', 'sending');
create index workflow_alert_deliveries_silenced
  on public.workflow_alert_deliveries (project_id) where status = 'silenced' and finished_at is null;
-- What a channel was sent about an incident.
create index workflow_alert_deliveries_incident
  on public.workflow_alert_deliveries (incident_id, channel_id, created_at);

-- These take more parameters now.
-- squawk-ignore ban-drop-function
drop function if exists meshmetrics.evaluate_alerts(timestamptz, uuid[]);
-- squawk-ignore ban-drop-function
drop function if exists meshmetrics.alert_measures(timestamptz, uuid[]);
-- squawk-ignore ban-drop-function
drop function if exists meshmetrics.end_alerts(timestamptz);
-- squawk-ignore ban-drop-function
drop function if exists meshmetrics.alert_last_runs(uuid[], timestamptz, integer);
-- squawk-ignore ban-drop-function
drop function if exists meshmetrics.claim_alert_messages(interval, interval, integer, integer);
