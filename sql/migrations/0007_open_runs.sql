-- No run unaccounted for: open, overdue and abandoned runs, and statuses that nobody mapped.

-- Functions take their place: a view on the engine's tables keeps it from altering them.
-- squawk-ignore ban-drop-view
drop view if exists meshmetrics.uncounted;
-- squawk-ignore ban-drop-view
drop view if exists meshmetrics.run_states;

-- A status without an outcome is open. One that has no row is unknown: `meshmetrics statuses`.
-- squawk-ignore ban-drop-not-null
alter table meshmetrics.status_outcomes alter column outcome drop not null;
insert into meshmetrics.status_outcomes (status, outcome)
values ('running', null), ('paused', null)
on conflict (status) do nothing;
comment on table meshmetrics.status_outcomes is
  'Which status of a run is which outcome; null: the run is open. A status without a row is unknown.';

-- The evidence that an open run will not go on. Counted as a failure while the row is there.
create table public.workflow_run_abandonments (
  run_id uuid primary key,
  workflow_id uuid not null,
  project_id uuid not null,
  abandoned_at timestamptz not null,
  evidence text not null check (evidence in ('step_failed', 'dead_letter')),
  found_at timestamptz not null default clock_timestamp()
);
create index workflow_run_abandonments_project_id
  on public.workflow_run_abandonments (project_id, workflow_id, abandoned_at);
comment on table public.workflow_run_abandonments is
  'Runs that the engine left open and that will not go on, with the time and kind of the last evidence.';
alter table public.workflow_run_abandonments enable row level security;

create table public.workflow_run_open_counts (
  workflow_id uuid primary key,
  project_id uuid not null,
  open_count integer not null,
  oldest_open_at timestamptz,
  overdue_count integer not null,
  abandoned_count integer not null,
  deadline_seconds integer not null,
  last_updated timestamptz not null default clock_timestamp()
) with (fillfactor = 70);
create index workflow_run_open_counts_project_id on public.workflow_run_open_counts (project_id);
comment on table public.workflow_run_open_counts is
  'Open runs of each workflow version as last looked through. overdue: open for longer than the deadline.';
alter table public.workflow_run_open_counts enable row level security;

-- How long a run of a workflow may be open: three times the 99th percentile of its durations.
create table meshmetrics.workflow_deadlines (
  project_id uuid not null,
  slug_hash text not null, -- md5: a slug may be as long as the engine's own index takes
  seconds double precision not null,
  computed_at timestamptz not null default clock_timestamp(),
  primary key (project_id, slug_hash)
);
alter table meshmetrics.workflow_deadlines enable row level security;

-- What a rule may set in place of the computed deadline; null: the computed one.
alter table public.workflow_alert_rules add column deadline_seconds integer
  check (deadline_seconds between 60 and 31536000);

-- Rules on open runs, and what their incidents are opened for.
alter table public.workflow_alert_rules
  -- squawk-ignore ban-drop-constraint
  drop constraint workflow_alert_rules_metric_check,
  -- squawk-ignore constraint-missing-not-valid
  add constraint workflow_alert_rules_metric_check check (
    metric in (
      'success_rate', 'failure_rate', 'failure_count', 'consecutive_failures', 'no_runs',
      'overdue_count', 'open_too_long'
    )
  );
alter table public.workflow_alert_incidents
  -- squawk-ignore ban-drop-constraint
  drop constraint workflow_alert_incidents_cause_check,
  -- squawk-ignore constraint-missing-not-valid
  add constraint workflow_alert_incidents_cause_check check (
    cause in ('rate', 'count', 'consecutive', 'no_data', 'overdue', 'open')
  );
-- squawk-ignore ban-drop-function
drop function if exists public.workflow_alert_judge(public.workflow_alert_rules, bigint, bigint, integer);
-- squawk-ignore ban-drop-function
drop function if exists meshmetrics.alert_measures(timestamptz, uuid[]);

-- What these return has more columns now, which no `create or replace` can change.
-- squawk-ignore ban-drop-function
drop function if exists public.workflow_metrics_totals(timestamptz, timestamptz, uuid[], uuid[], text, text);
-- squawk-ignore ban-drop-function
drop function if exists public.workflow_metrics_summary(
  timestamptz, timestamptz, uuid[], uuid[], text, text, text, boolean, bigint, text, boolean,
  integer, double precision, text, uuid
);
-- squawk-ignore ban-drop-function
drop function if exists public.workflow_metrics_versions(uuid[], uuid[], text);
-- squawk-ignore ban-drop-function
drop function if exists public.workflow_metrics_workflow(uuid, timestamptz, timestamptz, text);
